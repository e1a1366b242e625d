"""A request as the cloud's parts see it, and a reply as they leave it to the server to send."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from tests.gopro_cloud.faults import Answer, Delay, Echo, Fault, Hangup, HtmlPage, Redirect, Throttle, ZeroBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from email.message import Message

    from tests.gopro_cloud.contents import Piece

BLOCKED_PAGE = (
    "<!DOCTYPE HTML><html><head><title>ERROR: The request could not be satisfied</title></head>"
    "<body><h1>403 ERROR</h1><h2>Request blocked.</h2></body></html>"
)


@dataclass(frozen=True)
class Request:
    """`path` is still percent-encoded; of a query parameter given twice the last counts."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes = b""

    @classmethod
    def of(cls, method: str, target: str, headers: Message, body: bytes) -> Request:
        parts = urlsplit(target)
        return cls(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)

    def header(self, name: str) -> str | None:
        value = self.headers.get(name)
        return None if value is None else str(value)


@dataclass(kw_only=True)
class Reply:
    """What to send, and how.

    `stream` (instead of `body`) comes with its `length` in bytes, or None for a chunked body. A stream that ends early
    breaks the connection: `cut` closes it as if the body were over, `reset` resets it. `silent` sends nothing at all.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Iterable[Piece] | None = None
    length: int | None = None
    ending: Literal["whole", "cut", "reset"] = "whole"
    silent: bool = False
    delay: float = 0.0
    bytes_per_second: float | None = None
    sent: Callable[[int], None] | None = None

    @property
    def announced(self) -> int | None:
        """The Content-Length, in bytes; None for a chunked body."""
        return len(self.body) if self.stream is None else self.length


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
        body=json.dumps(body).encode(),
    )


def html_reply(status: int, page: str = BLOCKED_PAGE) -> Reply:
    return Reply(status=status, headers={"Content-Type": "text/html"}, body=page.encode())


def slowed(reply: Reply, faults: Iterable[Fault]) -> Reply:
    """The reply as late and as slow as the faults want it."""
    for fault in faults:
        if isinstance(fault, Delay):
            reply.delay += fault.seconds
        elif isinstance(fault, Throttle):
            reply.bytes_per_second = min(fault.bytes_per_second, reply.bytes_per_second or fault.bytes_per_second)
    return reply


def answered_otherwise(faults: Iterable[Fault], request: Request, plain: Callable[[int], Reply]) -> Reply | None:
    """The reply of a fault that takes the place of the true one; `plain` makes the usual one for a status."""
    for fault in faults:
        reply = None
        match fault:
            case Answer():
                reply = _answer(fault, plain)
            case Echo():
                reply = _echo(plain(fault.status), request)
            case Hangup():
                reply = Reply(status=0, silent=True, ending="reset")
            case Redirect():
                reply = Reply(status=fault.status, headers={"Location": fault.location})
            case HtmlPage():
                reply = html_reply(200, "<!DOCTYPE html><html><body><h1>We'll be right back</h1></body></html>")
            case ZeroBytes():
                reply = Reply(status=200, headers={"Content-Type": "application/octet-stream"})
        if reply is not None:
            return reply
    return None


def _answer(fault: Answer, plain: Callable[[int], Reply]) -> Reply:
    reply = html_reply(fault.status) if fault.html else plain(fault.status)
    if fault.body is not None:
        reply.body = fault.body.encode()
    if fault.retry_after is not None:
        seconds = str(fault.retry_after)
        # The date is real time, like the Date header: a client waits in real time too.
        reply.headers["Retry-After"] = seconds if fault.retry_after_as == "seconds" else _date_in(fault.retry_after)
    return reply


def _echo(reply: Reply, request: Request) -> Reply:
    query = urlencode(request.query, quote_via=quote)
    headers = ", ".join(f"{name}: {value}" for name, value in request.headers.items())
    carried = f"{request.method} {request.path}?{query} with {headers} and {request.body.decode(errors='replace')}"
    if "json" in reply.headers.get("Content-Type", ""):
        reply.body = json.dumps({"error": carried, "error_description": carried}).encode()
    else:
        reply.body = f"<Error><Code>Echo</Code><Message>{escape(carried)}</Message></Error>".encode()
    reply.headers["WWW-Authenticate"] = f'Bearer error="invalid_token", error_description="{carried}"'
    if reply.status // 100 == 3:
        reply.headers["Location"] = f"https://elsewhere.example/?{query}&carried={quote(carried)}"
    return reply


def _date_in(seconds: int) -> str:
    return formatdate(time.time() + seconds, usegmt=True)
