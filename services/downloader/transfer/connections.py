"""Persistent HTTP connections for large bodies, and how many of them are used at once.

Bytes are read straight into the caller's buffer. The usual HTTP clients copy every byte once or twice more, which is
most of the work for large files.
"""

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import certifi
from requests.structures import CaseInsensitiveDict

from services.downloader.transfer.errors import ConnectionLost, OriginBroken

CONNECT_SECONDS = 10.0
_CHUNKED_BYTES = 16 << 10  # of a chunked body, read at once
_LOOK_SECONDS = 0.025  # after this time, `fill` returns what it has
_WINDOW_SECONDS = 0.05  # between two judgements of the rate
_CAREFUL_WINDOW_SECONDS = 0.4  # the same, for a single connection more: its effect is harder to see
_LEAST_BYTES = 64 << 10  # per connection, before the rate is judged …
_LONGEST_WINDOW_SECONDS = 2.0  # … or after this time with fewer bytes
_SETTLE_SECONDS = 0.5  # for new connections to start delivering
_WORTH, _WORTH_IF_SLOW = 0.5, 0.2  # connections are kept if they bring this share of a proportional gain
_GROWS = 1.05  # a rate that rises by this factor between two judgements is still growing
_FAST = 25_000_000  # bytes per second and connection; above this, each connection costs processor time
_HOLD_SECONDS, _LONGEST_HOLD_SECONDS = 2.0, 60.0  # before more connections are tried again; doubles with each failure
_GIVEN_WAY_SECONDS = 10.0  # the least such time after the origin was busy or slow
_WAIT_SECONDS = 1.0  # between two calls of `check`, while a file waits for its first connection
_HUNGER_SECONDS = 0.5  # how long a file that got no memory for its first part keeps others from taking more


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The slowest pace that is accepted. A connection that is slower over this time is given up."""

    kilobytes_per_second: float = 16.0
    seconds: float = 30.0


class Body:
    """An HTTP response whose body is still to be read."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, pace: Pace) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = CaseInsensitiveDict(answer.headers.items())
        self.too_slow: float | None = None  # kilobytes per second at which it was given up; None if it was not
        self._connection = connection
        self._answer = answer
        self._pace = pace
        self._window_seconds, self._window_bytes = 0.0, 0  # the time counts only while reading
        self._left = answer.length or 0
        # Bytes that arrived together with the headers are in the response's buffer; the rest is read from the socket.
        # None if the connection ends with the response: http.client has then moved the socket into the response.
        self._socket: Any = connection.sock

    def expect(self, size: int) -> None:
        """Set the length of the body in bytes, for a response without a `Content-Length`."""
        self._left = size

    @property
    def is_redirect(self) -> bool:
        """Whether the response points to another URL."""
        return HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST and "Location" in self.headers

    def fill(self, buffer: memoryview) -> int:
        """Read what arrives in a moment into the buffer. Returns the number of bytes.

        Returns 0 only when the connection broke or was too slow, or the body has ended. Raises `OriginBroken` when a
        chunked body is longer than expected.
        """
        wanted = min(len(buffer), self._left)
        filled = 0
        receive, most = self._socket.recv_into if self._socket else self._answer.fp.readinto, wanted
        if self._answer.chunked:  # reading chunks returns only when the buffer is full
            receive, most = self._answer.readinto, _CHUNKED_BYTES
        began, silent = time.monotonic(), False
        try:
            if wanted and self._socket and not self._answer.chunked and (early := len(self._answer.fp.peek())):
                filled = self._answer.fp.readinto(buffer[: min(early, wanted)])
            while filled < wanted:
                count = receive(buffer[filled : min(wanted, filled + most)])
                if not count:
                    break
                filled += count
                if time.monotonic() - began > _LOOK_SECONDS:
                    break
        except TimeoutError:
            silent = True
        except http.client.IncompleteRead as broken:
            filled += len(broken.partial)
        except (OSError, ValueError):  # ValueError: the socket was closed meanwhile
            pass
        self._left -= filled
        if self._left:
            self._note_pace(time.monotonic() - began, filled, silent=silent)
        else:
            self._end()
        return filled

    def _end(self) -> None:
        """End a response that has delivered all its bytes. Raises `OriginBroken` if a chunked body has more."""
        if self._answer.chunked:
            with suppress(OSError, http.client.HTTPException):
                if self._answer.read(1):
                    self._connection.close()
                    raise OriginBroken("the origin sent more bytes than it said")
            if not self._answer.isclosed():
                self._connection.close()
        self._answer.close()

    def _note_pace(self, seconds: float, size: int, *, silent: bool) -> None:
        """Set `too_slow` if the connection was too slow over the pace's time, or silent for as long."""
        self._window_seconds += seconds
        self._window_bytes += size
        if self._window_seconds > self._pace.seconds or silent:
            rate = self._window_bytes / self._window_seconds / 1000
            if silent or rate < self._pace.kilobytes_per_second:
                self.too_slow = rate
            self._window_seconds, self._window_bytes = 0.0, 0

    def close(self) -> None:
        """End the response. The connection stays open if the body was read to its end."""
        if self._left or not self._answer.isclosed():
            self._answer.close()
            self._connection.close()


class Connection:
    """The connections of one reader, one per host. Keeps no cookies. Not thread-safe."""

    def __init__(self, pace: Pace, context: ssl.SSLContext) -> None:
        self._pace = pace
        self._context = context
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def get(self, url: str, headers: Mapping[str, str]) -> Body:
        """Send a GET request. Returns the response with its body unread.

        Raises `ConnectionLost`. Its text never has the URL, which may be signed.
        """
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
                kept = False  # the server may have closed the kept connection: try once more, with a new one

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
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


class Controller:
    """Finds how many connections to use: the fewest that reach about the full rate of the origin.

    It begins with two, and tries more while that raises the total rate. Connections that bring much less than they
    should are given up again. After a while it tries again, at first with one connection more. So an origin that limits
    each connection gets as many as may be used. An origin that is as fast as this machine, or that limits all
    connections together, gets few.
    """

    def __init__(self, most: int, *, begin: int = 2) -> None:
        self.count = min(begin, most)
        self._most = most
        self._step = 0  # how many more to try next; 0 before the first try
        self._hold = _HOLD_SECONDS  # seconds to wait after the next failed try
        self._hold_until = 0.0
        self._before: tuple[int, float] | None = None  # while more are tried: the count and the rate without them
        self._latest = 0.0  # the latest rate, while more are tried
        self._looks = 0  # judgements of the rate since more are tried
        self._settles_until = 0.0
        self._in_use, self._noted = 0, 0.0
        self._since: float | None = None  # when the measurement began; None while connections settle
        self._bytes, self._seconds = 0, 0.0  # of the measurement; seconds are summed over the connections in use
        self._judged = 0.0

    def note(self, now: float, size: int, *, in_use: int, flowing: int) -> None:
        """Note new bytes, the connections in use, and how many of these deliver. `now`: monotonic, in seconds."""
        if self._before is None and self.count == self._most:
            return
        self._seconds += self._in_use * (now - self._noted)
        self._bytes += size
        self._in_use, self._noted = in_use, now
        if self._since is None:
            if self._before is None or flowing >= self.count or now >= self._settles_until:
                self._measure(now)
            return
        seconds = _CAREFUL_WINDOW_SECONDS if self._step == 1 else _WINDOW_SECONDS
        enough = self._bytes >= self.count * _LEAST_BYTES or now - self._since >= _LONGEST_WINDOW_SECONDS
        if now - self._judged >= seconds and enough and self._seconds > 0:
            # The rate if all were in use: small files may leave some unused.
            self._judge(now, self.count * self._bytes / self._seconds)

    def _measure(self, now: float) -> None:
        self._since = self._judged = now
        self._bytes, self._seconds = 0, 0.0

    def _judge(self, now: float, rate: float) -> None:
        self._judged = now
        if self._before is None:
            self._measure(now)
        else:
            count, before = self._before
            self._looks += 1
            # Slow connections cost little processor time, so a smaller gain is worth them, and is looked for longer.
            worth, looks = (_WORTH, 2) if before > count * _FAST else (_WORTH_IF_SLOW, 6)
            if rate >= before * (1 + worth * (self.count / count - 1)):
                self._step *= 2
                self._hold = _HOLD_SECONDS
                self._before = None
            elif self._looks < looks or rate > self._latest * _GROWS:
                self._latest = rate  # connections get faster at first
            else:
                as_before = round(count * rate / before)  # as many would have brought this rate before
                self._use(max(count, min(as_before, self.count)), now, hold=self._hold)
        if self._before is None and self.count < self._most and now >= self._hold_until:
            self._step = self._step or (2 if rate > self.count * _FAST else self._most)
            fewer = self.count
            self._use(min(self._most, fewer + self._step), now)
            self._before, self._latest, self._looks = (fewer, rate), rate, 0

    def _use(self, count: int, now: float, *, hold: float = 0.0) -> None:
        self.count = count
        self._before = self._since = None
        self._settles_until = now + _SETTLE_SECONDS
        if hold:
            self._step = 1
            self._hold_until = now + hold
            self._hold = min(2 * hold, _LONGEST_HOLD_SECONDS)

    def give_way(self, now: float, in_use: int) -> bool:
        """Use one connection fewer from now on. Returns False when there was only one."""
        used = min(self.count, in_use)
        self._use(max(1, used - 1), now, hold=max(self._hold, _GIVEN_WAY_SECONDS))
        return used > 1


class ConnectionPool:
    """The connections and the memory of a lane. All files that are copied at the same time share them.

    A `Controller` finds how many connections to use, at most `connections`. Connections stay open from one file to the
    next, so that only the first file needs the handshakes. Thread-safe. To copy several files at once, give each file a
    thread, and all of them the same pool. Here `copy` is the caller's own function:

        with ConnectionPool(connections=8, memory_bytes=200_000_000) as pool, ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda url: copy(Origin(url, lambda: url, connections=pool)), urls))

    `open_source` waits until the lane has a connection for the file. The copy then waits for memory for its first part.
    A file takes further connections and memory only while no other file waits, and hands them back when one does. So
    more threads than connections do no harm, and large and small files may be mixed.
    """

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        cafile: str | None = None,
        connections: int = 8,
        begin: int = 2,
        memory_bytes: int = 256 << 20,
    ) -> None:
        """Limit what all files together may use to so many `connections` and `memory_bytes`.

        `begin`: connections to begin with. `cafile`: the authorities to trust, certifi's by default.
        """
        self._pace = pace or Pace()
        self._cafile = cafile or certifi.where()
        self._memory_bytes = memory_bytes
        self._changed = threading.Condition()  # guards the attributes below
        self._controller = Controller(connections, begin=begin)
        self._flowing = 0
        self._idle: list[Connection] = []
        self._in_use = 0
        self._most_in_use = 0
        self._waiting = 0  # files without a connection
        self._reserved = 0  # bytes
        self._hungry_until = 0.0

    def take(self, check: Callable[[], None] = lambda: None) -> Connection:
        """Return the first connection of a file. Calls `check` while it waits for one, which may raise."""
        with self._changed:
            self._waiting += 1
            try:
                while self._in_use >= self.count:
                    check()
                    self._changed.wait(_WAIT_SECONDS)
            finally:
                self._waiting -= 1
            return self._taken()

    def take_another(self, *, first: bool = False) -> Connection | None:
        """Return a further connection, or None if the lane has none left.

        Leaves free connections to the files that wait, unless it is to be the `first` that this file has now.
        """
        with self._changed:
            return self._taken() if self._in_use + (0 if first else self._waiting) < self.count else None

    def _taken(self) -> Connection:
        connection = self._idle.pop() if self._idle else self._connect()
        self._in_use += 1
        self._most_in_use = max(self._most_in_use, self._in_use)
        return connection

    def _connect(self) -> Connection:
        return Connection(self._pace, _context(self._cafile))

    def give_back(self, connection: Connection) -> None:
        """Take back a connection whose last response is closed."""
        with self._changed:
            self._in_use -= 1
            self._idle.append(connection)
            self._changed.notify()

    @property
    def count(self) -> int:
        """The number of connections that may be used now."""
        return self._controller.count

    def note(self, size: int = 0, *, flowing: int = 0) -> None:
        """Note new bytes, or a change in how many connections deliver: `flowing` more, or fewer if negative."""
        with self._changed:
            before = self.count
            self._flowing += flowing
            self._controller.note(time.monotonic(), size, in_use=self._in_use, flowing=self._flowing)
            if self.count > before:
                self._changed.notify_all()

    def give_way(self) -> bool:
        """Use one connection fewer from now on. Returns False when there was only one."""
        with self._changed:
            return self._controller.give_way(time.monotonic(), self._in_use)

    @property
    def in_use(self) -> int:
        """The number of connections that files have."""
        return self._in_use

    @property
    def most_in_use(self) -> int:
        """The most connections that files have had at once."""
        return self._most_in_use

    @property
    def is_short(self) -> bool:
        """Whether more connections are in use or waited for than allowed. If so, a file with several hands one back."""
        return self._in_use + self._waiting > self.count

    def reserve(self, size: int, *, first: bool) -> bool:
        """Reserve memory for a part, in bytes. Returns False when there is too little now.

        `first`: whether it is the first part of its file. A part that is larger than the lane's memory gets it when no
        other part has any.
        """
        with self._changed:
            if not first and self.is_hungry:
                return False
            if self._reserved and self._reserved + size > self._memory_bytes:
                if first:
                    self._hungry_until = time.monotonic() + _HUNGER_SECONDS
                return False
            self._reserved += size
            return True

    def release(self, size: int) -> None:
        """Take back reserved memory, in bytes."""
        with self._changed:
            self._reserved -= size

    @property
    def is_hungry(self) -> bool:
        """Whether a file waits for memory for its first part. If so, others hand theirs back after each part."""
        return time.monotonic() < self._hungry_until

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def _context(cafile: str) -> ssl.SSLContext:
    """Return the one TLS context of all connections. Reading the authorities takes longer than a handshake."""
    return ssl.create_default_context(cafile=cafile)
