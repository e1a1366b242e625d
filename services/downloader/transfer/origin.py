"""The source of a file: an HTTP server that gives it by ranges, from a signed URL that runs out.

Nothing that the server says is believed unless it fits: a wrong status, length, range, type or ETag is an error and
never a few bytes more.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin

from services.downloader.transfer.wire import Body, Wire, WirePool
from services.shared.errors import TransientError
from services.shared.retry_after import retry_after

MAX_REDIRECTS = 3
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_WEAK = "W/"
_NOT_A_MEDIUM = ("text/html", "text/xml", "application/xml", "application/json")


class UrlExpired(TransientError):
    """The signed URL no longer opens (401, 403 or 410): a new one does."""


class OriginChanged(TransientError):
    """The file at the origin is no longer the version that was begun with."""


class OriginBroken(TransientError):
    """The origin's answer can't be what was asked for."""


class OriginBusy(OriginBroken):
    """The origin asks for fewer requests (429 or 503)."""


class OriginFailed(OriginBroken):
    """The origin has trouble of its own (another 5xx)."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What tells one state of a file from another.

    `etag` is without its quotes, empty where none was sent; a weak one keeps its `W/`.
    """

    size: int  # bytes
    etag: str

    @property
    def origin_parts(self) -> int:
        """Of how many parts the origin was made, as the ETag of a multipart upload tells; 0 for other ETags."""
        number = self.etag.rpartition("-")[2] if "-" in self.etag else ""
        return int(number) if number.isascii() and number.isdigit() else 0


class Origin:
    """One file that can be opened at any offset, with a URL resolved again whenever it has run out.

    For several readers at once: each brings its own `Wire`.
    """

    RENEWALS = 3  # URLs in a row that may fail to open

    def __init__(
        self, url: str, renew: Callable[[], str], *, wires: WirePool, check: Callable[[str], None] = lambda _: None
    ) -> None:
        """`url` is tried first; `renew` gives a freshly signed one.

        `check` is asked before each request, redirected ones too, and raises for a URL that must not be gone to.
        """
        self.wires = wires
        self._url = url
        self._renew = renew
        self._check = check
        self._renewing = threading.Lock()

    def open(self, wire: Wire, first: int, end: int, expected: Version | None = None) -> "Stream":
        """The bytes from `first` up to `end`, or to the file's own end if that comes before.

        From a server that knows no ranges it's the whole file. An empty file gives an empty stream.

        Raises `OriginChanged` when `expected` is given and the file is another by now, `UrlExpired` when new URLs
        don't open either, and other `TransientError`s.
        """
        for attempt in range(self.RENEWALS):
            url = self._url
            try:
                return self._open(wire, url, first, end, expected)
            except UrlExpired:
                if attempt == self.RENEWALS - 1:
                    raise
                self._replace(url)
        raise AssertionError("unreachable")

    def _replace(self, stale: str) -> None:
        """A new URL for all readers, asked for by the first of those that found the old one expired."""
        with self._renewing:
            if self._url == stale:
                self._url = self._renew()

    def _open(self, wire: Wire, url: str, first: int, end: int, expected: Version | None) -> "Stream":
        headers = {"Range": f"bytes={first}-{end - 1}"}
        if expected and expected.etag and not expected.etag.startswith(_WEAK):  # which `If-Match` never matches
            headers["If-Match"] = f'"{expected.etag}"'
        body = self._get(wire, url, headers)
        try:
            _refuse_errors(body)
            version, start, stop = _read_head(body, first, end)
            if expected and version != expected:
                raise OriginChanged(
                    f"the file has {version.size:,} bytes now, and had {expected.size:,}, or other ones"
                )
        except BaseException:
            body.close()
            raise
        return Stream(body, version, start, stop)

    def _get(self, wire: Wire, url: str, headers: Mapping[str, str]) -> Body:
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            body = wire.get(url, headers)
            if not body.is_redirect:
                return body
            body.close()
            url = urljoin(url, body.headers["Location"])
        raise OriginBroken(f"the origin redirects more than {MAX_REDIRECTS} times")


class Stream:
    """Bytes of one version of a file, from `position` to `end`."""

    def __init__(self, body: Body, version: Version, first: int, end: int) -> None:
        self.version = version
        self.position = first
        self.end = end
        self._body = body

    @property
    def ranges_ignored(self) -> bool:
        """Whether the server sends the whole file whatever part of it is asked for."""
        return self._body.status == HTTPStatus.OK

    @property
    def stalled(self) -> bool:
        """Whether it was given up because it came too slowly."""
        return self._body.stalled

    def leads_to(self, offset: int) -> bool:
        """Whether reading on gives the byte at `offset`: at once, or where ranges are ignored, sooner or later."""
        reached = self.position <= offset if self.ranges_ignored else self.position == offset
        return reached and offset < self.end

    def fill(self, buffer: memoryview) -> int:
        """Fills the buffer, or returns less than its length when the bytes stop before that."""
        count = self._body.fill(buffer[: self.end - self.position])
        self.position += count
        return count

    def close(self) -> None:
        self._body.close()


def _refuse_errors(body: Body) -> None:
    status = body.status
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.GONE):
        raise UrlExpired(f"the signed URL no longer opens ({status})")
    if _is_empty(body):
        return
    if status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        raise OriginChanged(f"the origin no longer has what was begun with ({status})")
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        raise OriginBusy(f"the origin is busy ({status})", retry_after=retry_after(body.headers))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise OriginFailed(f"the origin answered with {status}", retry_after=retry_after(body.headers))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise OriginBroken(f"the origin answered with {status}")


def _is_empty(body: Body) -> bool:
    """Whether the file has no bytes at all, of which no range can be had (RFC 9110, 14.1.2)."""
    range_said = body.headers.get("Content-Range", "")
    return body.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and range_said == "bytes */0"


def _read_head(body: Body, first: int, end: int) -> tuple[Version, int, int]:
    """The version that is being sent, and which bytes of it: from, up to."""
    headers = body.headers
    etag = headers.get("ETag", "").replace('"', "")
    if _is_empty(body):
        return Version(size=0, etag=etag), 0, 0
    media_type = headers.get("Content-Type", "").split(";")[0].strip().lower()
    if media_type in _NOT_A_MEDIUM:
        raise OriginBroken(f"the origin sent {media_type}, not a medium")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OriginBroken("the origin sent the file in an encoding that wasn't asked for")
    length = headers.get("Content-Length", "")
    if not length.isdigit():
        raise OriginBroken("the origin doesn't say how long the file is, so its end can't be proven")
    if body.status == HTTPStatus.OK:
        return Version(size=int(length), etag=etag), 0, int(length)
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        raise OriginBroken("the origin sent a part without saying which")
    begin, last, size = (int(group) for group in match.groups())
    if begin != first or last != min(end, size) - 1 or int(length) != last - begin + 1:
        raise OriginBroken(
            f"the origin sent bytes {begin:,} to {last:,} of {size:,}; asked for were {first:,} up to {end:,}"
        )
    return Version(size=size, etag=etag), begin, last + 1
