"""Authentication: the Host header; the key in the URL, a header or a cookie; the headers of ``requires_proxy_auth``."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from nbfn.gateway import cookies
from nbfn.protocol.gateway_config import Address

#: Headers as they come, names in lower case.
Headers = list[tuple[bytes, bytes]]

#: Kinds of a frame within a page (Sec-Fetch-Dest).
_FRAMES = (b"iframe", b"frame")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served; with ``again`` the browser shows a link to the same page."""

    status: int
    text: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an authenticated request asks for.

    Attributes:
        label: Of the endpoint.
        key: The endpoint's key; its app never sees it.
        root: The part of the path that the app does not see: key and label, or empty.
        path: The app's own path, quoted as it came; empty for the URL without a trailing slash.
        cookie: The value of a Set-Cookie header to send; may be empty.
    """

    label: str
    key: str
    root: str
    path: bytes
    cookie: bytes = b""


class Guard:
    """Admits requests that know an endpoint's key, or have its cookie.

    Args:
        address: Makes the keys.
        hosts: Names, separated by commas, that are served besides this machine's own.
        labels: The endpoint's label by port.
    """

    def __init__(self, address: Address, hosts: str, labels: Mapping[int, str]) -> None:
        self._address = address
        self._labels = labels
        more = (host.strip().lower() for host in hosts.split(","))
        self._hosts = {"127.0.0.1", "localhost", *(host for host in more if host)}

    def admit(self, scope: dict[str, Any]) -> Wanted | Refusal:
        """Return what is asked for, or why it is refused.

        A page of somebody else's that makes its name mean 127.0.0.1 (DNS rebinding) sends its own
        name as Host. A client without the key learns nothing, not even which labels exist.
        """
        headers: Headers = scope["headers"]
        host = value_of(headers, b"host").decode("latin-1").lower()
        if host.rpartition(":")[0] not in self._hosts and host not in self._hosts:
            return Refusal(403, f"This gateway does not serve the host {host!r}.")
        port = scope["server"][1]
        label = self._labels.get(port, "")
        if not label:
            return _not_found(headers)
        key = self._address.key(label, port)
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        if (path := _below(raw, key, label)) is not None:
            return Wanted(label, key, f"/{key}/{label}", path, self._cookie(scope, label))
        if any(name == b"authorization" and is_bearer(value, key) for name, value in headers):
            return Wanted(label, key, "", raw)
        if _leads_here(scope):
            text = "A page of another site opened this one. If that is what you want:"
            return Refusal(403, text, again=True)
        if not cookies.left(self._address, label, port, headers):
            return _not_found(headers)
        if not _of_own_page(headers, host):
            return Refusal(403, "Pages of other sites cannot use this endpoint by its cookie.")
        return Wanted(label, key, "", raw, self._cookie(scope, label))

    def _cookie(self, scope: dict[str, Any], label: str) -> bytes:
        """Return a new cookie if the request has none, or one that expires soon."""
        headers, port = scope["headers"], scope["server"][1]
        if cookies.left(self._address, label, port, headers) > cookies.LIFETIME / 2:
            return b""
        return cookies.made(self._address, label, port, embedded=is_embedded(headers))

    def authorize(self, headers: Headers) -> Refusal | None:
        """Refuse who does not send the two headers of ``requires_proxy_auth``."""
        key = value_of(headers, b"modal-key").decode("latin-1")
        secret = value_of(headers, b"modal-secret").decode("latin-1")
        # Both are compared, so that the time does not tell which one is wrong.
        right = _same(key, self._address.proxy_key) & _same(secret, self._address.proxy_secret)
        if right:
            return None
        text = "Send the headers Modal-Key and Modal-Secret: proxy_key and proxy_secret of web.json in NBFN_HOME."
        return Refusal(401, text)


def value_of(headers: Headers, name: bytes) -> bytes:
    """Return the value of a header; empty when it is not there, or there twice."""
    found = [value for key, value in headers if key == name]
    return found[0] if len(found) == 1 else b""


def is_bearer(value: bytes, key: str) -> bool:
    """Whether an Authorization header's value is a key."""
    scheme, _, given = value.partition(b" ")
    return scheme.lower() == b"bearer" and _same(given.strip().decode("latin-1"), key)


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another site, or of another port, makes a browser ask."""
    return value_of(headers, b"sec-fetch-site") in (b"cross-site", b"same-site")


def is_embedded(headers: Headers) -> bool:
    """Whether the request is for a frame in another site's page, where browsers partition cookies."""
    site, kind = value_of(headers, b"sec-fetch-site"), value_of(headers, b"sec-fetch-dest")
    return site == b"cross-site" and kind != b"document"


def is_page(scope: dict[str, Any]) -> bool:
    """Whether a browser navigates to this, in a tab or in a frame."""
    return (
        scope.get("method") == "GET"
        and value_of(scope["headers"], b"sec-fetch-mode") == b"navigate"
        and value_of(scope["headers"], b"sec-fetch-dest") in (b"document", *_FRAMES)
    )


def _below(raw: bytes, key: str, label: str) -> bytes | None:
    """Return a path without key and label; None when it does not begin with them."""
    _, first, *rest = [*raw.split(b"/", 3), b""]
    given = unquote(rest[0].decode("latin-1")) if len(rest) > 1 else ""
    if not _same(unquote(first.decode("latin-1")), key) or given != label:
        return None
    return b"/" + rest[1] if raw.count(b"/") > 2 else b""


def _leads_here(scope: dict[str, Any]) -> bool:
    """Whether a link or a redirect of another site navigates a tab to this page.

    Its cookie is not sent then, or not trusted: opening the page may have effects that the other site wants. So the
    user is asked.
    """
    headers = scope["headers"]
    in_tab = is_page(scope) and value_of(headers, b"sec-fetch-dest") == b"document"
    return in_tab and is_foreign(headers)


def _of_own_page(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of this origin, or from no page at all."""
    site, origin = value_of(headers, b"sec-fetch-site"), value_of(headers, b"origin").lower()
    if site not in (b"", b"none", b"same-origin"):
        return False
    if origin in (b"", b"null"):  # pages with the policy no-referrer send null
        return site == b"same-origin" or not origin
    return origin.partition(b"://")[2].decode("latin-1") == host


def _not_found(headers: Headers) -> Refusal:
    text = "Not found."
    if value_of(headers, b"sec-fetch-mode") == b"navigate":
        text += " If this is a web endpoint of nbfn, open the URL that get_web_url() returns."
    return Refusal(404, text)


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())
