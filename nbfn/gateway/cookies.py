"""Creates and checks the cookie that authenticates a browser after it has opened the URL of an endpoint.

Browsers send the cookies of 127.0.0.1 to all ports, so other servers on this machine may receive them. Such a server
gets access to one endpoint for at most a day: the cookie has an expiry time, and a key for this endpoint and that time.
The key of the URL, and the keys of other endpoints, cannot be derived from it.
"""

from __future__ import annotations

import hmac
import re
import time

from nbfn.protocol.gateway_config import GatewayConfig

#: Seconds until a cookie expires.
LIFETIME = 86400
#: The largest number of digits of an expiry time.
DIGITS = 12
#: Matches the gateway's cookies, which are not passed to apps.
_OURS = re.compile(rb"nbfn-\d+=")


def name_of(port: int) -> str:
    """Return the name of the cookie of the endpoint on a port."""
    return f"nbfn-{port}"


def set_cookie(address: GatewayConfig, label: str, port: int, *, embedded: bool) -> bytes:
    """Return the value of a ``Set-Cookie`` header.

    Args:
        address: Computes the key.
        label: The label of the endpoint.
        port: The port of the endpoint.
        embedded: Whether it is for a frame in a page of another site, where browsers reject strict cookies.
    """
    end = int(time.time()) + LIFETIME
    value = f"{end}.{address.key(label, port, str(end))}"
    kind = "SameSite=None; Secure; Partitioned" if embedded else "SameSite=Strict"
    return f"{name_of(port)}={value}; Path=/; Max-Age={LIFETIME}; HttpOnly; {kind}".encode()


def seconds_left(
    address: GatewayConfig, label: str, port: int, headers: list[tuple[bytes, bytes]]
) -> float:
    """Return for how many seconds the cookie of a request is valid; 0 if there is none."""
    prefix = f"{name_of(port)}=".encode()
    now = time.time()
    best = 0.0
    for pair in _pairs(headers):
        if not pair.startswith(prefix):
            continue
        end, _, key = pair[len(prefix) :].decode("latin-1").partition(".")
        if not end.isdecimal() or len(end) > DIGITS:
            continue
        expected = address.key(label, port, end)
        if hmac.compare_digest(key.encode(), expected.encode()):
            best = max(best, int(end) - now)
    return best


def without_gateway_cookies(value: bytes) -> bytes:
    """Remove the gateway's cookies from the value of a ``Cookie`` header."""
    if b"nbfn-" not in value:
        return value
    return b"; ".join(pair for pair in _split(value) if not _OURS.match(pair))


def _pairs(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [pair for name, value in headers if name == b"cookie" for pair in _split(value)]


def _split(value: bytes) -> list[bytes]:
    return [pair.strip() for pair in value.split(b";")]
