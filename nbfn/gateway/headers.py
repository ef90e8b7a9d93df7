"""The headers of requests and responses: the gateway removes its own keys, and rewrites redirects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from nbfn.gateway import cookies
from nbfn.gateway.auth import Headers, Wanted, is_bearer, value_of

#: Headers that only the gateway reads.
_PRIVATE = (b"modal-key", b"modal-secret")
#: Referrer policies that send other sites the whole URL of a page, with the key in it.
_OPEN_POLICIES = (b"unsafe-url", b"no-referrer-when-downgrade")


def without_key(value: bytes, key: str) -> bytes:
    """Return a header's value, or a query string, without the key and label of the endpoint's URL."""
    if key.encode() not in value:
        return value
    slash = rb"(?:/|%2F)"
    return re.sub(
        rb"%b?%b(?:%b[a-z0-9-]+)?" % (slash, re.escape(key.encode()), slash),
        b"",
        value,
        flags=re.IGNORECASE,
    )


def forwarded(headers: Headers, wanted: Wanted) -> Headers:
    """Return the request headers that the app gets: without the gateway's keys and cookies."""
    found = []
    for name, value in headers:
        if name in _PRIVATE or (name == b"authorization" and is_bearer(value, wanted.key)):
            continue
        if name == b"cookie":
            value = cookies.without_ours(value)
            if not value:
                continue
        found.append((name, without_key(value, wanted.key)))
    return found


def answered(headers: Any, wanted: Wanted, scope: dict[str, Any]) -> Headers:
    """Return the response headers that the client gets.

    A client that used the endpoint's URL may keep no cookies, so its redirects get the key and label in front; if
    it keeps them, those for a part of the app are valid there, too. And no page may tell other sites that URL.
    """
    found = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    if wanted.root:
        found = list(_below_url(found, wanted, scope))
    if not any(name == b"referrer-policy" for name, _ in found):
        found.append((b"referrer-policy", b"same-origin"))
    if wanted.cookie:
        found.append((b"set-cookie", wanted.cookie))
    return found


def _below_url(
    headers: Headers, wanted: Wanted, scope: dict[str, Any]
) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"location":
            yield name, _target(value, wanted, scope)
        elif name == b"set-cookie":
            yield from ((name, cookie) for cookie in _cookies(value, wanted.root))
        elif name != b"referrer-policy" or not _is_open(value):
            yield name, value


def _target(location: bytes, wanted: Wanted, scope: dict[str, Any]) -> bytes:
    """Return the target of a redirect, with key and label in front if it is a path of this endpoint."""
    text = location.decode("latin-1")
    origin = f"{scope['scheme']}://{value_of(scope['headers'], b'host').decode('latin-1')}"
    try:
        there = urljoin(origin + (wanted.path.decode("latin-1") or "/"), text)
        parts = urlsplit(there)
    except ValueError:  # not a URL
        return location
    if not text or f"{parts.scheme}://{parts.netloc}".lower() != origin.lower():
        return location
    if f"{parts.path}/".startswith(f"{wanted.root}/"):
        return location
    rest = there[len(origin) :]
    return f"{wanted.root}{rest if rest.startswith('/') else '/' + rest}".encode("latin-1")


def _cookies(cookie: bytes, root: str) -> Iterator[bytes]:
    """Yield a Set-Cookie header, and a second one if it is for a part of the app: for that part below the URL."""
    yield cookie
    first, *attributes = cookie.split(b";")
    paths = [a.strip()[5:].strip() for a in attributes if a.strip()[:5].lower() == b"path="]
    if paths and paths[-1].startswith(b"/") and paths[-1] != b"/":
        others = [a for a in attributes if a.strip()[:5].lower() != b"path="]
        yield b";".join([first, *others, b" Path=" + root.encode() + paths[-1]])


def _is_open(policy: bytes) -> bool:
    return any(one.strip().lower() in _OPEN_POLICIES for one in policy.split(b","))
