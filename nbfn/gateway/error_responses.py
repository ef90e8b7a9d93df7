"""What the gateway itself answers, for what never reached a worker or came to no good end there."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from typing import Any

from nbfn import exception
from nbfn.gateway.auth import Refusal
from nbfn.gateway.request_call import Torn, WebCall
from nbfn.protocol.messages import FunctionInfo
from nbfn.protocol.web_events import Event
from nbfn.types import InputStatus

Send = Callable[[Event], Awaitable[None]]

_BY_STATUS = {
    InputStatus.TIMEOUT: Refusal(504, "The function ran longer than its timeout."),
    InputStatus.TERMINATED: Refusal(503, "The request was cancelled."),
    InputStatus.INTERNAL_FAILURE: Refusal(502, "The worker died while it answered."),
    InputStatus.SUCCESS: Refusal(500, "The app ended without an answer."),
}
#: The pages of `move`, and of a refusal that the user can overrule.
_MOVE = """<!doctype html><meta charset="utf-8"><title>nbfn</title>
<noscript><meta http-equiv="refresh" content="0;url={0}"></noscript>
<a href="{0}">Continue</a><script>location.replace(document.links[0].href + location.hash)</script>"""
_AGAIN = (
    """<!doctype html><meta charset="utf-8"><title>nbfn</title><p>{} <a href="">Continue</a></p>"""
)
#: Why an accepted WebSocket ends: the app did, it failed, or it was not its fault (RFC 6455, 7.4).
NORMAL, INTERNAL_ERROR, TRY_AGAIN_LATER = 1000, 1011, 1013
#: Bytes of the reason that goes with it, at most.
LONGEST_REASON = 123


def reason_of(call: WebCall) -> Refusal:
    """Return what to say of a call that ended without an answer."""
    if call.output is not None:
        status = InputStatus(call.output.status)
        if status == InputStatus.INIT_FAILURE:
            named = f"Function {call.function.name!r} of app {call.function.app!r}"
            return Refusal(500, f"{named} could not be loaded: {_where(call.function)} says why.")
        failed = f"Internal Server Error: {_where(call.function)} shows the traceback."
        return _BY_STATUS.get(status, Refusal(500, failed))
    if isinstance(call.error, Torn):
        return _BY_STATUS[InputStatus.INTERNAL_FAILURE]
    return of_error(call.error)


def _where(function: FunctionInfo) -> str:
    """Return the command that prints a Function's logs; an App that is not deployed has only an id."""
    if not function.deployed:
        return f"'nbfn app logs {function.app_id}'"
    env = function.environment_name
    where = f" -e {env}" if env not in ("", "main") else ""
    return f"'nbfn app logs {function.app}{where}'"


def of_error(error: Exception | None) -> Refusal:
    """Return what to say where the hub could not be asked, or refused."""
    if isinstance(error, exception.NotFoundError):
        return Refusal(404, "Not found.")
    if isinstance(error, exception.InvalidError | TypeError | ValueError):
        return Refusal(422, str(error))
    return Refusal(503, "The nbfn hub does not answer. Try again.")


def closing(call: WebCall) -> Event:
    """Return what closes a WebSocket whose app ended without doing so."""
    if call.output is not None and call.output.status == InputStatus.SUCCESS:
        return {"type": "websocket.close", "code": NORMAL, "reason": ""}
    why = reason_of(call)
    code = INTERNAL_ERROR if why.status == 500 else TRY_AGAIN_LATER
    reason = why.text.encode()[:LONGEST_REASON].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": reason}


async def refuse(scope: dict[str, Any], send: Send, why: Refusal) -> None:
    """Answer in the gateway's own name: with a line of text, or by not accepting a WebSocket."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
    kind_of_text = b"text/html" if why.again else b"text/plain"
    body = f"{_AGAIN.format(why.text) if why.again else why.text}\n".encode()
    headers = [
        (b"content-type", kind_of_text + b"; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if why.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": f"{kind}.start", "status": why.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


async def move(send: Send, location: str, cookie: bytes, *, by_page: bool) -> None:
    """Set the cookie and send a browser from the endpoint's URL to the path that its app knows.

    Args:
        send: ASGI's.
        location: That path.
        cookie: The value of Set-Cookie; may be empty.
        by_page: Whether another site's link led here. After a redirect browsers would withhold a strict cookie, so a
            page of this origin does it.
    """
    body = _MOVE.format(html.escape(location)).encode() if by_page else b""
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if cookie:
        headers.append((b"set-cookie", cookie))
    if not by_page:
        headers.append((b"location", location.encode("latin-1")))
    status = 200 if by_page else 303
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def redirect(send: Send, status: int, location: str, cookie: bytes) -> None:
    """Send a client elsewhere on this gateway."""
    headers = [(b"location", location.encode("latin-1", "replace")), (b"content-length", b"0")]
    if cookie:
        headers.append((b"set-cookie", cookie))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
