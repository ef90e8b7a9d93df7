"""The gateway's cookie: it authenticates a browser at the root of an endpoint after it has opened the URL once.

Browsers send the cookies of 127.0.0.1 to all ports, so other servers on this machine may see them. Such a server
gets access to this endpoint for a day at most: the cookie contains its expiry time and a key made for this
endpoint and that time. The key of the URL, and the keys of other endpoints, cannot be derived from it.
"""

from __future__ import annotations

import hmac
import re
import time

from nbfn.protocol.gateway_config import Address

#: Seconds until a cookie expires.
LIFETIME = 86400
#: Most digits of a time.
DIGITS = 12
#: The cookies of all endpoints; apps see none of them.
_OURS = re.compile(rb"nbfn-\d+=")


def name_of(port: int) -> str:
    """Return the name of an endpoint's cookie: each has its own."""
    return f"nbfn-{port}"


def made(address: Address, label: str, port: int, *, embedded: bool) -> bytes:
    """Return a ``Set-Cookie`` header's value.

    Args:
        address: Makes the key.
        label: Of the endpoint.
        port: Of the endpoint.
        embedded: Whether it is for a frame in another site's page, where browsers reject a strict cookie.
    """
    end = int(time.time()) + LIFETIME
    value = f"{end}.{address.key(label, port, str(end))}"
    kind = "SameSite=None; Secure; Partitioned" if embedded else "SameSite=Strict"
    return f"{name_of(port)}={value}; Path=/; Max-Age={LIFETIME}; HttpOnly; {kind}".encode()


def left(address: Address, label: str, port: int, headers: list[tuple[bytes, bytes]]) -> float:
    """Return how many seconds the request's cookie stays valid; 0 when there is none."""
    before = f"{name_of(port)}=".encode()
    now = time.time()
    best = 0.0
    for pair in _pairs(headers):
        if not pair.startswith(before):
            continue
        end, _, key = pair[len(before) :].decode("latin-1").partition(".")
        if not end.isdecimal() or len(end) > DIGITS:
            continue
        right = address.key(label, port, end)
        if hmac.compare_digest(key.encode(), right.encode()):
            best = max(best, int(end) - now)
    return best


def without_ours(value: bytes) -> bytes:
    """Return a ``Cookie`` header's value without the gateway's cookies."""
    if b"nbfn-" not in value:
        return value
    return b"; ".join(pair for pair in _split(value) if not _OURS.match(pair))


def _pairs(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [pair for name, value in headers if name == b"cookie" for pair in _split(value)]


def _split(value: bytes) -> list[bytes]:
    return [pair.strip() for pair in value.split(b";")]
