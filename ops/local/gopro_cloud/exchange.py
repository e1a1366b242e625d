"""A request as the parts of the cloud see it, and a reply as they leave it to the server to send."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from ops.local.gopro_cloud.contents import Piece
from ops.local.gopro_cloud.faults import Answer, Delay, Echo, Fault, FaultBook, Hangup, Redirect, SharedLimit, Throttle

BLOCKED_PAGE = (
    "<!DOCTYPE HTML><html><head><title>ERROR: The request could not be satisfied</title></head>"
    "<body><h1>403 ERROR</h1><h2>Request blocked.</h2></body></html>"
)


@dataclass(frozen=True)
class Request:
    """One request; `path` is still percent-encoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes = b""

    @classmethod
    def of(cls, method: str, target: str, headers: Message, body: bytes) -> "Request":
        parts = urlsplit(target)
        return cls(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)

    def header(self, name: str) -> str | None:
        value = self.headers.get(name)
        return None if value is None else str(value)


@dataclass(kw_only=True)
class Reply:
    """What to send, and how; status 0 sends nothing.

    `length` is the Content-Length, None for a chunked body. When the pieces end early, `cut` closes the connection as
    if the body were over, and `reset` resets it.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[Piece] = ()
    length: int | None = 0
    ending: Literal["whole", "cut", "reset"] = "whole"
    delay: float = 0.0  # seconds
    bytes_per_second: float | None = None
    part_bytes: int = 256 * 1024  # sent at a time
    is_throttled: Callable[[], bool] = lambda: True  # until the fault is disarmed
    share: Callable[[int], float] = lambda _: 0.0  # takes bytes of what all share; returns the seconds to wait for them


def text_reply(status: int, media_type: str, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with a body that is known as a whole."""
    body = text.encode()
    return Reply(
        status=status, headers={"Content-Type": media_type, **(headers or {})}, pieces=[body], length=len(body)
    )


def json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply in JSON."""
    return text_reply(status, "application/json; charset=utf-8", json.dumps(body), headers)


def slowed(reply: Reply, faults: Iterable[Fault], book: FaultBook) -> Reply:
    """Return the reply as late and as slow as the faults want it; slow as long as the book has one of them armed."""
    throttles = [fault for fault in faults if isinstance(fault, Throttle)]
    limits = [fault for fault in faults if isinstance(fault, SharedLimit)]
    reply.is_throttled = lambda: book.has_any(throttles)
    if limits:
        reply.part_bytes = max(1, int(min(limit.bytes_per_second for limit in limits) / 20))
        reply.share = lambda count: book.share(limits, count)
    for fault in faults:
        if isinstance(fault, Delay):
            reply.delay += fault.seconds
        elif isinstance(fault, Throttle):
            reply.part_bytes = min(reply.part_bytes, int(fault.bytes_per_second / 20) or 1)
            reply.bytes_per_second = min(fault.bytes_per_second, reply.bytes_per_second or fault.bytes_per_second)
    return reply


def answered_otherwise(faults: Iterable[Fault], request: Request, plain: Callable[[int], Reply]) -> Reply | None:
    """Return the reply of a fault that answers in place of the cloud; `plain` makes the usual one for a status."""
    for fault in faults:
        match fault:
            case Answer():
                return _answer(fault, plain)
            case Echo():
                return _echo(plain(fault.status), request)
            case Hangup():
                return Reply(status=0, ending="reset")
            case Redirect():
                return Reply(status=302, headers={"Location": fault.location})
    return None


def _answer(fault: Answer, plain: Callable[[int], Reply]) -> Reply:
    reply = text_reply(fault.status, "text/html", BLOCKED_PAGE) if fault.html else plain(fault.status)
    if fault.body is not None:
        reply = text_reply(fault.status, reply.headers.get("Content-Type", "text/plain"), fault.body)
    if fault.retry_after is not None:
        # The date is real time, like the Date header: a client waits in real time too.
        date = formatdate(time.time() + fault.retry_after, usegmt=True)
        reply.headers["Retry-After"] = str(fault.retry_after) if fault.retry_after_as == "seconds" else date
    return reply


def _echo(reply: Reply, request: Request) -> Reply:
    query = urlencode(request.query, quote_via=quote)
    headers = ", ".join(f"{name}: {value}" for name, value in request.headers.items())
    carried = f"{request.method} {request.path}?{query} with {headers} and {request.body.decode(errors='replace')}"
    more = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{carried}"'}
    if reply.status // 100 == 3:  # noqa: PLR2004  # redirects
        more["Location"] = f"https://elsewhere.example/?{query}&carried={quote(carried)}"
    media_type = reply.headers.get("Content-Type", "application/json")
    if "json" in media_type:
        return json_reply(reply.status, {"error": carried, "error_description": carried}, more)
    body = f"<Error><Code>Echo</Code><Message>{escape(carried)}</Message></Error>"
    return text_reply(reply.status, media_type, body, more)
