"""HTTP for large bodies: one kept connection a host, and bytes read straight into the caller's buffer.

The usual clients copy every byte once or twice more on its way, which for whole libraries is most of the work.
"""

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import certifi
from requests.structures import CaseInsensitiveDict

from services.shared.errors import TransientError

CONNECT_SECONDS = 10.0


class ConnectionLost(TransientError):
    """The bytes stopped before their end."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A source that gives fewer bytes than this for so long is given up."""

    bytes_per_second: float = 16_000.0
    seconds: float = 30.0


class Body:
    """An answer whose body is yet to be read."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, pace: Pace) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = CaseInsensitiveDict(answer.headers.items())
        self.stalled = False  # whether it was given up for its pace
        self._connection = connection
        self._answer = answer
        self._pace = pace
        self._window_seconds, self._window_bytes = 0.0, 0  # spent reading: the pauses of the reader don't count
        self._left = answer.length or 0
        # What came together with the headers lies in the answer's own buffer; the rest comes from the socket itself.
        # An answer after which the server closes has taken the socket for itself.
        self._socket: Any = connection.sock

    @property
    def is_redirect(self) -> bool:
        return HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST and "Location" in self.headers

    def fill(self, buffer: memoryview) -> int:
        """Fills the buffer; returns less than its length only when the connection broke, stalled or has no more."""
        wanted = min(len(buffer), self._left)
        filled = 0
        receive = self._socket.recv_into if self._socket else self._answer.fp.readinto
        looked = time.monotonic()
        window_ends = looked + self._pace.seconds - self._window_seconds
        try:
            if wanted and self._socket and (early := len(self._answer.fp.peek())):
                filled = self._answer.fp.readinto(buffer[: min(early, wanted)])
            while filled < wanted:
                count = receive(buffer[filled:wanted])
                if not count:
                    break
                filled += count
                if (now := time.monotonic()) > window_ends:
                    window_seconds = self._pace.seconds + now - window_ends
                    if self._window_bytes + filled < self._pace.bytes_per_second * window_seconds:
                        self.stalled = True
                        break
                    looked, window_ends = now, now + self._pace.seconds
                    self._window_seconds, self._window_bytes = 0.0, -filled
        except TimeoutError:
            self.stalled = True
        except (OSError, ValueError):  # ValueError: the socket was closed under it
            pass
        self._window_seconds += time.monotonic() - looked
        self._window_bytes += filled
        self._left -= filled
        if not self._left:
            self._answer.close()
        return filled

    def close(self) -> None:
        """Ends the answer. The connection is kept when the body was read to its end."""
        if self._left or not self._answer.isclosed():
            self._answer.close()
            self._connection.close()


class Wire:
    """Connections of one reader: not for several threads at once. Tells its own headers only: no cookies, no user."""

    def __init__(self, pace: Pace, context: ssl.SSLContext) -> None:
        self._pace = pace
        self._context = context
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def get(self, url: str, headers: Mapping[str, str]) -> Body:
        """Raises `ConnectionLost`; its text never holds the URL, which may be signed."""
        parts = urlsplit(url)
        connection = self._connection(parts)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        kept = connection.sock is not None
        while True:
            try:
                if connection.sock is None:
                    connection.connect()
                    opened: Any = connection.sock
                    opened.settimeout(self._pace.seconds)
                connection.request("GET", target, headers=dict(headers))
                return Body(connection, connection.getresponse(), self._pace)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not kept:
                    raise ConnectionLost(f"no answer from the origin: {type(error).__name__}") from None
                kept = False  # the server had closed a connection that was kept: a new one tells

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        key = parts.scheme, parts.netloc
        if key not in self._connections:
            host = parts.hostname or ""
            self._connections[key] = (
                http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_SECONDS, context=self._context)
                if parts.scheme == "https"
                else http.client.HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)
            )
        return self._connections[key]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


class WirePool:
    """Wires that go from one file to the next, so that only the first one pays for the handshakes."""

    def __init__(self, pace: Pace | None = None, *, cafile: str | None = None) -> None:
        """`cafile`: the authorities to trust; without it, certifi's."""
        self._pace = pace or Pace()
        self._context = _context(cafile or certifi.where())
        self._idle: list[Wire] = []

    def take(self) -> Wire:
        """A wire for one reader, until it gives it back."""
        try:
            return self._idle.pop()
        except IndexError:
            return Wire(self._pace, self._context)

    def give_back(self, wire: Wire) -> None:
        """Takes a wire whose last answer is closed."""
        self._idle.append(wire)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def _context(cafile: str) -> ssl.SSLContext:
    """Shared by all connections: to read the authorities takes longer than a handshake."""
    return ssl.create_default_context(cafile=cafile)
