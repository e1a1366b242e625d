"""The origin of a file: an HTTP server that sends the file in ranges, from a signed URL that expires.

A response that doesn't fit the request (its status, length, range, type or ETag) is an error, and none of its bytes is
used. A reader resumes where its connection broke.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from services.downloader.transfer.connections import Body, Connection, ConnectionPool
from services.downloader.transfer.errors import (
    ConnectionLost,
    OriginBroken,
    OriginBusy,
    OriginChanged,
    OriginFailed,
    OriginSlow,
    UrlExpired,
)

MAX_REDIRECTS = 3
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d+)\s*-\s*(\d+)\s*/\s*(\d+)\s*", re.IGNORECASE)
WEAK = "W/"
_NOT_A_MEDIUM = ("text/html", "text/xml", "application/xml", "application/json")
_FRUITLESS_REQUESTS = 4  # in a row, before the origin is given up


@dataclass(frozen=True, kw_only=True)
class Version:
    """The version of a file at its origin.

    `etag` has no quotes. A weak ETag keeps its `W/`. If the origin sends none, or contradictory ones, `etag` is empty,
    and only the size identifies the version.
    """

    size: int  # bytes
    etag: str

    @property
    def origin_parts(self) -> int:
        """The number of parts in which the origin's file was uploaded, as its ETag says; 0 if the ETag doesn't."""
        number = self.etag.rpartition("-")[2] if "-" in self.etag else ""
        return int(number) if number.isascii() and number.isdigit() else 0


class Origin:
    """One file that can be opened at any offset. Its URL is renewed when it has expired.

    Thread-safe: several readers may share it, each with its own `Connection`.
    """

    RENEWALS = 3  # the most URLs in a row that are tried

    def __init__(
        self,
        url: str,
        renew: Callable[[], str],
        *,
        connections: ConnectionPool,
        check_url: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`url` is tried first. `renew` returns a freshly signed one.

        `check_url` is called before each request, redirects included, and raises for a URL that may not be fetched.
        """
        self.connections = connections
        self._url = url
        self._renew = renew
        self._check_url = check_url
        self._renewing = threading.Lock()
        self._etags: set[str] = set()  # in all answers so far
        self._contradicted = False  # whether answers to the current copy had different ETags
        self._contradictions = 0  # number of copies that ended for this reason

    def begin(self) -> None:
        """Note that a copy begins."""
        self._contradictions += self._contradicted
        self._contradicted = False

    @property
    def contradicts_itself(self) -> bool:
        """Whether the ETags are useless: two copies have ended because answers had different ETags.

        This happens when each edge of a CDN has its own ETag for the same file.
        """
        return self._contradictions > 1

    def open(self, connection: Connection, first: int, end: int, expected: Version | None = None) -> "Stream":
        """Open the bytes from `first` up to `end` (exclusive), or up to the end of the file if that comes first.

        A server without ranges sends the whole file. An empty file gives an empty stream.

        Raises `OriginChanged` when the file is no longer the `expected` version, `UrlExpired` when new URLs don't open
        either, other `TransferError`s, and what `renew` and `check_url` raise.
        """
        for attempt in range(self.RENEWALS):
            url = self._url
            try:
                return self._open(connection, url, first, end, expected)
            except UrlExpired:
                if attempt == self.RENEWALS - 1:
                    raise  # a new URL does not help
                self._replace(url)
        raise AssertionError("unreachable")

    def _replace(self, stale: str) -> None:
        """Renew the URL for all readers, unless another reader has done so already."""
        with self._renewing:
            if self._url == stale:
                self._url = self._renew()

    def _open(self, connection: Connection, url: str, first: int, end: int, expected: Version | None) -> "Stream":
        headers = {"Range": f"bytes={first}-{end - 1}"}
        # `If-Match` never matches a weak ETag. After a contradiction it is left out, to learn the other ETags.
        if expected and expected.etag and not expected.etag.startswith(WEAK) and not self._contradictions:
            headers["If-Match"] = f'"{expected.etag}"'
        body = self._get(connection, url, headers)
        try:
            _refuse_errors(body)
            version, start, stop = _read_head(body, first, end)
            if expected and version.size != expected.size:
                raise OriginChanged(
                    f"the file changed at its origin: it has {version.size:,} bytes now, and had {expected.size:,}"
                )
            version = self._known(version, expected)
        except BaseException:
            self._contradicted = self._contradicted or body.status == HTTPStatus.PRECONDITION_FAILED
            body.close()
            raise
        return Stream(body, version, start, stop)

    def _known(self, version: Version, expected: Version | None) -> Version:
        """Return the version of an answer of the right size. Raises `OriginChanged` unless it is the expected one."""
        if self.contradicts_itself:
            if expected and version.etag not in self._etags:
                raise OriginChanged(
                    "the file changed at its origin: it has an ETag that none of its answers had before"
                )
            self._etags.add(version.etag)
            return Version(size=version.size, etag="")
        self._etags.add(version.etag)
        if expected and version.etag.removeprefix(WEAK) != expected.etag.removeprefix(WEAK):
            self._contradicted = True
            raise OriginChanged("the file changed at its origin: it has another ETag now")
        return expected or version

    def _get(self, connection: Connection, url: str, headers: Mapping[str, str]) -> Body:
        for _ in range(MAX_REDIRECTS + 1):
            self._check_url(url)
            body = connection.get(url, headers)
            if not body.is_redirect:
                return body
            body.close()
            url = urljoin(url, body.headers["Location"])
        raise OriginBroken(f"the origin redirects more than {MAX_REDIRECTS} times")


class Stream:
    """The bytes of one version of a file, from `position` up to `end`."""

    def __init__(self, body: Body, version: Version, first: int, end: int) -> None:
        self.version = version
        self.position = first
        self.end = end
        self._body = body

    @property
    def ranges_ignored(self) -> bool:
        """Whether the server sends the whole file for every range."""
        return self._body.status == HTTPStatus.OK

    @property
    def too_slow(self) -> float | None:
        """The kilobytes per second at which the connection was given up; None if it was not."""
        return self._body.too_slow

    def leads_to(self, offset: int) -> bool:
        """Return whether this stream has the byte at `offset` next or, if the server ignores ranges, later."""
        reached = self.position <= offset if self.ranges_ignored else self.position == offset
        return reached and offset < self.end

    def fill(self, buffer: memoryview) -> int:
        """Read what arrives in a moment into the buffer. Returns the number of bytes; 0 when no more will come."""
        count = self._body.fill(buffer[: self.end - self.position])
        self.position += count
        return count

    def close(self) -> None:
        """End the response."""
        self._body.close()


class Reader:
    """Reads any spans of a file over one connection. Closing the reader gives the connection back to the pool.

    Not thread-safe.
    """

    def __init__(
        self,
        origin: Origin,
        connection: Connection,
        version: Version | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`version`: the version that every response must have, by default that of the first one."""
        self._origin = origin
        self._connection = connection
        self._version = version
        self._sleep = sleep
        self._stream: Stream | None = None
        self._fruitful = False  # whether the current response has brought new bytes
        self._fruitless = 0  # requests in a row without new bytes
        self.closed = False

    def begin(self, end: int) -> Version:
        """Open the file from its first byte up to `end`. Returns the file's version. Raises `TransferError`."""
        stream = None
        while stream is None:
            stream = self._open(0, end)
        return stream.version

    @property
    def ranges_ignored(self) -> bool:
        """Whether the server sends the whole file for every range."""
        return self._stream is not None and self._stream.ranges_ignored

    def read(self, buffer: memoryview, *, at: int, end: int) -> int:
        """Read what arrives in a moment, from offset `at`, into the buffer. Returns the number of bytes.

        Often returns fewer bytes than fit. Returns 0 when the caller has to call again. If a new request is needed, it
        asks for the bytes up to `end`. Raises `TransferError`.
        """
        stream = self._stream
        if stream is not None and stream.too_slow is not None:
            self._stumble(_slow(stream.too_slow))
            return 0
        if stream is None or not stream.leads_to(at):
            self._hang_up()
            stream = self._open(at, end)
            if stream is None:
                return 0
        # Positive if a server without ranges sends the bytes before `at` again. They must not get into the caller's
        # buffer, whose end may by now be another connection's to fill.
        known = at - stream.position
        most = min(known or len(buffer), len(buffer), stream.end - stream.position)
        count = stream.fill(memoryview(bytearray(most)) if known else buffer[:most])
        self._fruitful = self._fruitful or bool(count and not known)
        if not count and stream.too_slow is None:
            self._stumble(ConnectionLost("the connection to the origin kept breaking"), fruitless=not self._fruitful)
        elif not known and stream.position == stream.end:
            self._fruitless = 0
        return 0 if known else count

    def _open(self, first: int, end: int) -> Stream | None:
        """Return an open stream; None when the origin failed and may be asked again."""
        self._fruitful = False
        try:
            self._stream = self._origin.open(self._connection, first, end, self._version)
        except (ConnectionLost, OriginFailed) as error:
            self._stumble(error)
            return None
        self._version = self._stream.version
        return self._stream

    def _stumble(self, error: Exception, *, fruitless: bool = True) -> None:
        """End the response, and wait before the next request. Raises the error after too many fruitless requests.

        Raises `OriginSlow` at once if several connections are in use: they may only share the rate of one.
        """
        self._hang_up()
        self._fruitless = self._fruitless + 1 if fruitless else 0
        shares = isinstance(error, OriginSlow) and self._origin.connections.in_use > 1
        if shares or self._fruitless >= _FRUITLESS_REQUESTS:
            self._fruitless = 0
            raise error
        self._sleep(0.2 * 2**self._fruitless * (0.5 + random.random()))  # noqa: S311  # jitter

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Give the connection back. It stays open if its last response was read to the end. May be called twice."""
        self._hang_up()
        if not self.closed:
            self.closed = True
            self._origin.connections.give_back(self._connection)


def _slow(rate: float) -> OriginSlow:
    """Return the error for a connection with this rate, in kilobytes per second."""
    return OriginSlow(f"the origin is slow: {rate:.2g} kB/s" if rate else "the origin stopped sending")


def _refuse_errors(body: Body) -> None:
    status = body.status
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise UrlExpired(f"the origin refuses the file, with new URLs too ({status})")
    if _is_empty(body):
        return
    if status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        raise OriginChanged(f"the origin no longer has the version that the copy began with ({status})")
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        raise OriginBusy(f"the origin is busy ({status})", retry_after=_retry_after(body))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise OriginFailed(f"the origin answered with {status}", retry_after=_retry_after(body))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise OriginBroken(f"the origin answered with {status}")


def _is_empty(body: Body) -> bool:
    """Return whether the file is empty. No range of an empty file is valid (RFC 9110, 14.1.2)."""
    if body.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return body.headers.get("Content-Range") == "bytes */0"
    return body.status == HTTPStatus.OK and body.headers.get("Content-Length") == "0"


def _read_head(body: Body, first: int, end: int) -> tuple[Version, int, int]:
    """Return the version that is sent, and its bytes that are sent: from, up to (exclusive). Raises `OriginBroken`."""
    headers = body.headers
    etag = headers.get("ETag", "").replace('"', "")
    if _is_empty(body):
        return Version(size=0, etag=etag), 0, 0
    media_type = headers.get("Content-Type", "").split(";")[0].strip().lower()
    if media_type in _NOT_A_MEDIUM:
        raise OriginBroken(f"the origin sent {media_type} instead of the file")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OriginBroken("the origin sent the file encoded")
    length = headers.get("Content-Length", "")
    if body.status == HTTPStatus.OK:
        if not length.isdigit():
            raise OriginBroken("the origin doesn't say how long the file is, so nothing proves its end")
        return Version(size=int(length), etag=etag), 0, int(length)
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        raise OriginBroken("the origin sent a range without saying which")
    begin, last, size = (int(group) for group in match.groups())
    if not length:
        body.expect(last - begin + 1)  # the range says how long the body is
    # The range may be shorter or longer than requested: only its own bounds count.
    if begin != first or not begin <= last < size or (length and length != str(last - begin + 1)):
        raise OriginBroken(
            f"the origin sent bytes {begin:,} to {last:,} of {size:,} instead of {first:,} up to {end:,}"
        )
    return Version(size=size, etag=etag), begin, last + 1


def _retry_after(body: Body) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, given as a number or a date; else None."""
    with suppress(InvalidHeader, KeyError, OverflowError, ValueError):
        return Retry().parse_retry_after(body.headers["Retry-After"])
    return None
