"""Converts headers: removes the gateway's keys from requests, and rewrites redirects and cookies of responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from nbfn.gateway import cookies
from nbfn.gateway.auth import Admitted, Headers, is_bearer, value_of

#: Headers that are not passed to apps.
_PRIVATE = (b"modal-key", b"modal-secret")
#: Referrer policies by which browsers send the whole URL of a page, with its key, to other sites.
_LEAKING_POLICIES = (b"unsafe-url", b"no-referrer-when-downgrade")


def without_key(value: bytes, key: str) -> bytes:
    """Remove the key and label of the endpoint's URL from the value of a header or a query string."""
    if key.encode() not in value:
        return value
    slash = rb"(?:/|%2F)"
    return re.sub(
        rb"%b?%b(?:%b[a-z0-9-]+)?" % (slash, re.escape(key.encode()), slash),
        b"",
        value,
        flags=re.IGNORECASE,
    )


def request_headers(headers: Headers, admitted: Admitted) -> Headers:
    """Return the request headers that are passed to the app, without the gateway's keys and cookies."""
    found = []
    for name, value in headers:
        if name in _PRIVATE or (name == b"authorization" and is_bearer(value, admitted.key)):
            continue
        if name == b"cookie":
            value = cookies.without_gateway_cookies(value)
            if not value:
                continue
        found.append((name, without_key(value, admitted.key)))
    return found


def response_headers(headers: Any, admitted: Admitted, scope: dict[str, Any]) -> Headers:
    """Return the response headers that are sent to the client.

    For a client that used the endpoint's URL, redirects get the key and label as a prefix, since it may not store
    cookies, and cookies for a part of the app are also set below the URL. Referrer policies that would disclose the URL
    are removed.
    """
    found = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    if admitted.root:
        found = list(_below_url(found, admitted, scope))
    if not any(name == b"referrer-policy" for name, _ in found):
        found.append((b"referrer-policy", b"same-origin"))
    if admitted.cookie:
        found.append((b"set-cookie", admitted.cookie))
    return found


def _below_url(
    headers: Headers, admitted: Admitted, scope: dict[str, Any]
) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"location":
            yield name, _target(value, admitted, scope)
        elif name == b"set-cookie":
            yield from ((name, cookie) for cookie in _cookies(value, admitted.root))
        elif name != b"referrer-policy" or not _leaks_url(value):
            yield name, value


def _target(location: bytes, admitted: Admitted, scope: dict[str, Any]) -> bytes:
    """Return the target of a redirect, with key and label as a prefix if it is a path of this endpoint."""
    text = location.decode("latin-1")
    origin = f"{scope['scheme']}://{value_of(scope['headers'], b'host').decode('latin-1')}"
    try:
        target = urljoin(origin + (admitted.path.decode("latin-1") or "/"), text)
        parts = urlsplit(target)
    except ValueError:  # not a URL
        return location
    if not text or f"{parts.scheme}://{parts.netloc}".lower() != origin.lower():
        return location
    if f"{parts.path}/".startswith(f"{admitted.root}/"):
        return location
    rest = target[len(origin) :]
    return f"{admitted.root}{rest if rest.startswith('/') else '/' + rest}".encode("latin-1")


def _cookies(cookie: bytes, root: str) -> Iterator[bytes]:
    """Yield a Set-Cookie header, and, if it is for a part of the app, one for that part below the URL."""
    yield cookie
    first, *attributes = cookie.split(b";")
    paths = [a.strip()[5:].strip() for a in attributes if a.strip()[:5].lower() == b"path="]
    if paths and paths[-1].startswith(b"/") and paths[-1] != b"/":
        others = [a for a in attributes if a.strip()[:5].lower() != b"path="]
        yield b";".join([first, *others, b" Path=" + root.encode() + paths[-1]])


def _leaks_url(policy: bytes) -> bool:
    return any(one.strip().lower() in _LEAKING_POLICIES for one in policy.split(b","))
