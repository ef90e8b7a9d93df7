"""Who is let in: by the Host header, the secret part of the path, and the two headers where they are asked for."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from nbfn.address import Address

#: Headers as they come, names in lower case.
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request that was let in asks for; ``root`` and ``rest`` make up its path."""

    label: str
    root: str
    rest: str


class Guard:
    """Lets in who knows the token.

    Args:
        address: Of this gateway.
        hosts: Names, by commas, that are served besides this machine's own.
    """

    def __init__(self, address: Address, hosts: str) -> None:
        self._address = address
        more = (host.strip().lower() for host in hosts.split(","))
        self._hosts = {"127.0.0.1", "localhost", *(host for host in more if host)}

    def admit(self, scope: dict[str, Any]) -> Wanted | Refusal:
        """Return what is asked for, or why it is refused.

        A page of somebody else's that makes its name mean 127.0.0.1 (DNS rebinding) sends its own
        name as Host. Who does not know the token learns nothing, not even which labels there are.
        """
        host = value_of(scope["headers"], b"host").decode("latin-1").lower()
        if host.rpartition(":")[0] not in self._hosts and host not in self._hosts:
            return Refusal(403, f"This gateway does not serve the host {host!r}.")
        _, token, *rest = [*scope["path"].split("/", 3), "", ""][:4]
        if not _same(token, self._address.token):
            return Refusal(404, "Not found.")
        label = rest[0]
        root = f"/{token}/{label}"
        return Wanted(label, root, scope["path"][len(root) :])

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


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())
