"""Authenticates requests: by the Host header, by a key, and by the headers of ``requires_proxy_auth``.

The key of an endpoint is in the URL, in the Authorization header, or in a cookie that was derived from it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from nbfn.gateway import cookies
from nbfn.protocol.gateway_config import GatewayConfig

#: Headers as in ASGI: pairs of lower-case name and value.
Headers = list[tuple[bytes, bytes]]

#: Values of Sec-Fetch-Dest for frames.
_FRAMES = (b"iframe", b"frame")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: The HTTP status.
        text: The reason, for people.
        needs_confirmation: Whether the page has a link by which the user can open it nevertheless.
    """

    status: int
    text: str
    needs_confirmation: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """The target of an authenticated request.

    Attributes:
        label: The label of the endpoint.
        key: The key of the endpoint, which is not passed to its app.
        root: The part of the path that is not passed to the app: key and label, or empty.
        path: The path that is passed to the app, quoted; empty for the endpoint's URL without a trailing slash.
        cookie: The value of the Set-Cookie header to send; may be empty.
    """

    label: str
    key: str
    root: str
    path: bytes
    cookie: bytes = b""


class Authenticator:
    """Admits requests that have the key or the cookie of an endpoint.

    Args:
        address: Computes the keys.
        hosts: Accepted host names besides 127.0.0.1 and localhost, separated by commas.
        labels: The labels of endpoints, by port.
    """

    def __init__(self, address: GatewayConfig, hosts: str, labels: Mapping[int, str]) -> None:
        self._address = address
        self._labels = labels
        more = (host.strip().lower() for host in hosts.split(","))
        self._hosts = {"127.0.0.1", "localhost", *(host for host in more if host)}

    def admit(self, scope: dict[str, Any]) -> Admitted | Refusal:
        """Return the target of a request, or why it is refused.

        The Host header is checked because a page that resolves its own name to 127.0.0.1 (DNS rebinding) sends that
        name. The response to a client without the key does not tell which labels exist.

        Args:
            scope: The ASGI scope of the request.
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
        if (path := _path_below_key(raw, key, label)) is not None:
            return Admitted(label, key, f"/{key}/{label}", path, self._cookie(scope, label))
        if any(name == b"authorization" and is_bearer(value, key) for name, value in headers):
            return Admitted(label, key, "", raw)
        if _is_cross_site_navigation(scope):
            text = "A page of another site opened this page. To open it nevertheless:"
            return Refusal(403, text, needs_confirmation=True)
        if not cookies.seconds_left(self._address, label, port, headers):
            return _not_found(headers)
        if not _is_same_origin(headers, host):
            return Refusal(
                403, "The cookie of this endpoint cannot be used by pages of other sites."
            )
        return Admitted(label, key, "", raw, self._cookie(scope, label))

    def _cookie(self, scope: dict[str, Any], label: str) -> bytes:
        """Return a new cookie if the request has none or its cookie expires soon; else an empty value."""
        headers, port = scope["headers"], scope["server"][1]
        if cookies.seconds_left(self._address, label, port, headers) > cookies.LIFETIME / 2:
            return b""
        return cookies.set_cookie(self._address, label, port, embedded=is_embedded(headers))

    def authorize(self, headers: Headers) -> Refusal | None:
        """Check the two headers of ``requires_proxy_auth``; return why the request is refused, or None."""
        key = value_of(headers, b"modal-key").decode("latin-1")
        secret = value_of(headers, b"modal-secret").decode("latin-1")
        # Both are compared, so that the response time does not tell which one is wrong.
        right = _is_equal(key, self._address.proxy_key) & _is_equal(
            secret, self._address.proxy_secret
        )
        if right:
            return None
        text = "Send the headers Modal-Key and Modal-Secret: proxy_key and proxy_secret of web.json in NBFN_HOME."
        return Refusal(401, text)


def value_of(headers: Headers, name: bytes) -> bytes:
    """Return the value of a header; empty if it is missing or occurs more than once."""
    found = [value for key, value in headers if key == name]
    return found[0] if len(found) == 1 else b""


def is_bearer(value: bytes, key: str) -> bool:
    """Return whether the value of an Authorization header is a key."""
    scheme, _, token = value.partition(b" ")
    return scheme.lower() == b"bearer" and _is_equal(token.strip().decode("latin-1"), key)


def is_cross_site(headers: Headers) -> bool:
    """Return whether a page of another site or another port made the request, according to the browser."""
    return value_of(headers, b"sec-fetch-site") in (b"cross-site", b"same-site")


def is_embedded(headers: Headers) -> bool:
    """Return whether the request is for a frame in a page of another site, where browsers partition cookies."""
    site, kind = value_of(headers, b"sec-fetch-site"), value_of(headers, b"sec-fetch-dest")
    return site == b"cross-site" and kind != b"document"


def is_page(scope: dict[str, Any]) -> bool:
    """Return whether the request is a navigation of a browser, in a tab or in a frame."""
    return (
        scope.get("method") == "GET"
        and value_of(scope["headers"], b"sec-fetch-mode") == b"navigate"
        and value_of(scope["headers"], b"sec-fetch-dest") in (b"document", *_FRAMES)
    )


def _path_below_key(raw: bytes, key: str, label: str) -> bytes | None:
    """Return a path without its key and label; None if it does not begin with them."""
    _, first, *rest = [*raw.split(b"/", 3), b""]
    found_label = unquote(rest[0].decode("latin-1")) if len(rest) > 1 else ""
    if not _is_equal(unquote(first.decode("latin-1")), key) or found_label != label:
        return None
    return b"/" + rest[1] if raw.count(b"/") > 2 else b""


def _is_cross_site_navigation(scope: dict[str, Any]) -> bool:
    """Return whether a link or a redirect of another site opens this page in a tab.

    The user then has to confirm, since opening the page may have effects that the other site intends. Browsers do not
    send the cookie with such a request, and where they do it is not accepted.
    """
    headers = scope["headers"]
    in_tab = is_page(scope) and value_of(headers, b"sec-fetch-dest") == b"document"
    return in_tab and is_cross_site(headers)


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Return whether a page of this origin, or no page, made the request."""
    site, origin = value_of(headers, b"sec-fetch-site"), value_of(headers, b"origin").lower()
    if site not in (b"", b"none", b"same-origin"):
        return False
    if origin in (b"", b"null"):  # pages with the referrer policy no-referrer send null
        return site == b"same-origin" or not origin
    return origin.partition(b"://")[2].decode("latin-1") == host


def _not_found(headers: Headers) -> Refusal:
    text = "Not found."
    if value_of(headers, b"sec-fetch-mode") == b"navigate":
        text += " If this is a web endpoint of nbfn, open the URL that get_web_url() returns."
    return Refusal(404, text)


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
