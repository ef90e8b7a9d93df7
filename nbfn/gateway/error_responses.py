"""Responses of the gateway itself: refusals, errors and redirects."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from typing import Any

from nbfn import exception
from nbfn.gateway.auth import Refusal
from nbfn.gateway.request_call import AnswerInterrupted, RequestCall
from nbfn.protocol.messages import FunctionInfo
from nbfn.protocol.web_events import Event
from nbfn.types import InputStatus

Send = Callable[[Event], Awaitable[None]]

_BY_STATUS = {
    InputStatus.TIMEOUT: Refusal(504, "The function exceeded its timeout."),
    InputStatus.TERMINATED: Refusal(503, "The request was cancelled."),
    InputStatus.INTERNAL_FAILURE: Refusal(502, "The worker died while it handled the request."),
    InputStatus.SUCCESS: Refusal(500, "The app ended without a response."),
}
#: The pages of `redirect_page`, and of a refusal that the user can override.
_REDIRECT_PAGE = """<!doctype html><meta charset="utf-8"><title>nbfn</title>
<noscript><meta http-equiv="refresh" content="0;url={0}"></noscript>
<a href="{0}">Continue</a><script>location.replace(document.links[0].href + location.hash)</script>"""
_CONFIRM_PAGE = (
    """<!doctype html><meta charset="utf-8"><title>nbfn</title><p>{} <a href="">Continue</a></p>"""
)
#: Close codes of an accepted WebSocket (RFC 6455, 7.4): the app ended, it failed, or the connection to it was lost.
NORMAL, INTERNAL_ERROR, TRY_AGAIN_LATER = 1000, 1011, 1013
#: The largest number of bytes of the reason of a close frame.
LONGEST_REASON = 123


def refusal_of(call: RequestCall) -> Refusal:
    """Return the response for a call that ended without one."""
    if call.output is not None:
        status = InputStatus(call.output.status)
        if status == InputStatus.INIT_FAILURE:
            name = f"Function {call.function.name!r} of app {call.function.app!r}"
            return Refusal(
                500, f"{name} could not be loaded: {_logs_command(call.function)} shows why."
            )
        failed = f"Internal Server Error: {_logs_command(call.function)} shows the traceback."
        return _BY_STATUS.get(status, Refusal(500, failed))
    if isinstance(call.error, AnswerInterrupted):
        return _BY_STATUS[InputStatus.INTERNAL_FAILURE]
    return refusal_of_error(call.error)


def _logs_command(function: FunctionInfo) -> str:
    """Return the command that prints the logs of a Function's App, by id if the App is not deployed."""
    if not function.deployed:
        return f"'nbfn app logs {function.app_id}'"
    env = function.environment_name
    option = f" -e {env}" if env not in ("", "main") else ""
    return f"'nbfn app logs {function.app}{option}'"


def refusal_of_error(error: Exception | None) -> Refusal:
    """Return the response for an error of a request to the hub."""
    if isinstance(error, exception.NotFoundError):
        return Refusal(404, "Not found.")
    if isinstance(error, exception.InvalidError | TypeError | ValueError):
        return Refusal(422, str(error))
    return Refusal(503, "The nbfn hub does not respond. Try again.")


def close_event(call: RequestCall) -> Event:
    """Return the event that closes a WebSocket whose app ended without closing it."""
    if call.output is not None and call.output.status == InputStatus.SUCCESS:
        return {"type": "websocket.close", "code": NORMAL, "reason": ""}
    refusal = refusal_of(call)
    code = INTERNAL_ERROR if refusal.status == 500 else TRY_AGAIN_LATER
    reason = refusal.text.encode()[:LONGEST_REASON].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": reason}


async def refuse(scope: dict[str, Any], send: Send, refusal: Refusal) -> None:
    """Refuse a request by a response with the reason, or by not accepting a WebSocket."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
    kind_of_text = b"text/html" if refusal.needs_confirmation else b"text/plain"
    body = f"{_CONFIRM_PAGE.format(refusal.text) if refusal.needs_confirmation else refusal.text}\n".encode()
    headers = [
        (b"content-type", kind_of_text + b"; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if refusal.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


async def redirect_page(send: Send, location: str, cookie: bytes, *, by_page: bool) -> None:
    """Set the cookie and redirect a browser from the endpoint's URL to the path of its app.

    Args:
        send: The ``send`` of ASGI.
        location: The path of the app.
        cookie: The value of Set-Cookie; may be empty.
        by_page: Whether a page redirects, not an HTTP status. Links from other sites need that: browsers do not
            send a strict cookie after an HTTP redirect.
    """
    body = _REDIRECT_PAGE.format(html.escape(location)).encode() if by_page else b""
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
    """Redirect a client to another path of this gateway."""
    headers = [(b"location", location.encode("latin-1", "replace")), (b"content-length", b"0")]
    if cookie:
        headers.append((b"set-cookie", cookie))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
