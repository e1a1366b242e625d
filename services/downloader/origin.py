"""The source of a file: an HTTP server that gives it by ranges, from a signed URL that runs out.

Nothing that the server says is believed unless it fits: a wrong status, length, range, type or ETag is an error and
never a few bytes more.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urljoin

import requests
import urllib3

from services.shared.errors import TransientError
from services.shared.gopro.client import retry_after
from services.shared.gopro.hosts import AllowedHosts

MAX_REDIRECTS = 3
TIMEOUT_SECONDS = (10, 60)  # to connect, and between two reads: the first byte of cold storage may be slow
# At once, as a read returns only when it has them all: what came before a connection broke in it is lost, and so is the
# time until then.
_READ_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_NOT_A_MEDIUM = ("text/html", "text/xml", "application/xml", "application/json")


class UrlExpired(TransientError):
    """The signed URL no longer opens (401, 403 or 410): a new one does."""


class OriginChanged(TransientError):
    """The file at the origin is no longer the version that was begun with."""


class OriginBroken(TransientError):
    """The origin's answer can't be what was asked for."""


class ConnectionLost(TransientError):
    """The bytes stopped before their end."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What tells one state of a file from another. `etag` is without its quotes, empty where none was sent."""

    size: int  # bytes
    etag: str


class ByteStream(Protocol):
    """The bytes of a version from some offset to its end."""

    version: Version

    def readinto(self, buffer: memoryview) -> int:
        """Fills some of the buffer and returns how much, at least 1. Raises `ConnectionLost`."""

    def close(self) -> None: ...


class Origin:
    """One file that can be opened at any offset, with a URL resolved again whenever it has run out."""

    RESOLUTIONS = 3  # URLs in a row that may fail to open

    def __init__(self, url: str, resolve: Callable[[], str], *, hosts: AllowedHosts, http: requests.Session) -> None:
        """`url` is tried first; `resolve` gives a freshly signed one."""
        self._url: str | None = url
        self._resolve = resolve
        self._hosts = hosts
        self._http = http

    def open(self, offset: int, expected: Version | None = None) -> ByteStream:
        """The bytes from `offset` on.

        Raises `OriginChanged` when `expected` is given and the file is another by now, `UrlExpired` when new URLs
        don't open either, and other `TransientError`s.
        """
        for attempt in range(self.RESOLUTIONS):
            if self._url is None:
                self._url = self._resolve()
            try:
                return self._open(self._url, offset, expected)
            except UrlExpired:
                self._url = None
                if attempt == self.RESOLUTIONS - 1:
                    raise
        raise AssertionError("unreachable")

    def _open(self, url: str, offset: int, expected: Version | None) -> ByteStream:
        headers = {"Range": f"bytes={offset}-", "Accept-Encoding": "identity"}
        if expected and expected.etag:
            headers["If-Match"] = f'"{expected.etag}"'
        response = self._get(url, headers)
        try:
            _refuse_errors(response)
            version, start = _read_head(response, offset)
            if expected and version != expected:
                raise OriginChanged(
                    f"the file has {version.size:,} bytes now, and had {expected.size:,}, or other ones"
                )
            stream = _ResponseStream(response, version, start)
            stream.skip(offset - start)
        except BaseException:
            response.close()
            raise
        return stream

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        for _ in range(MAX_REDIRECTS + 1):
            self._hosts.check(url)
            try:
                response = self._http.get(
                    url, headers=dict(headers), stream=True, timeout=TIMEOUT_SECONDS, allow_redirects=False
                )
            except requests.RequestException as error:
                # Without its cause: the texts of requests' exceptions hold whole, signed URLs.
                raise ConnectionLost(f"no answer from the origin: {type(error).__name__}") from None
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["Location"])
        raise OriginBroken(f"the origin redirects more than {MAX_REDIRECTS} times")


class _ResponseStream:
    def __init__(self, response: requests.Response, version: Version, offset: int) -> None:
        self.version = version
        self._response = response
        self._raw: Any = response.raw
        self._left = version.size - offset

    def readinto(self, buffer: memoryview) -> int:
        try:
            count = int(self._raw.readinto(buffer[: min(self._left, _READ_BYTES)]))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ConnectionLost(f"the origin's bytes stopped: {type(error).__name__}") from None
        if not count:
            raise ConnectionLost(f"the origin's bytes ended {self._left:,} bytes before their end")
        self._left -= count
        return count

    def skip(self, count: int) -> None:
        """Passes over bytes that a server that knows no ranges sends again."""
        scratch = memoryview(bytearray(min(count, _READ_BYTES)))
        while count > 0:
            count -= self.readinto(scratch[: min(count, len(scratch))])

    def close(self) -> None:
        self._response.close()


def _refuse_errors(response: requests.Response) -> None:
    status = response.status_code
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.GONE):
        raise UrlExpired(f"the signed URL no longer opens ({status})")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and response.headers.get("Content-Range") == "bytes */0":
        raise OriginBroken("the origin's file is empty")
    if status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        raise OriginChanged(f"the origin no longer has what was begun with ({status})")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise OriginBroken(f"the origin answered with {status}", retry_after=retry_after(response.headers))


def _read_head(response: requests.Response, offset: int) -> tuple[Version, int]:
    """The version that is being sent, and the offset of its first byte."""
    headers = response.headers
    media_type = headers.get("Content-Type", "").split(";")[0].strip().lower()
    if media_type in _NOT_A_MEDIUM:
        raise OriginBroken(f"the origin sent {media_type}, not a medium")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OriginBroken("the origin sent the file in an encoding that wasn't asked for")
    length = headers.get("Content-Length", "")
    if not length.isdigit():
        raise OriginBroken("the origin doesn't say how long the file is, so its end can't be proven")
    etag = headers.get("ETag", "").removeprefix("W/").strip('"')
    if response.status_code == HTTPStatus.OK:
        return Version(size=int(length), etag=etag), 0
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        raise OriginBroken("the origin sent a part without saying which")
    first, last, size = (int(group) for group in match.groups())
    if first != offset or last != size - 1 or int(length) != last - first + 1:
        raise OriginBroken(
            f"the origin sent bytes {first:,} to {last:,} of {size:,}; asked for was {offset:,} to the end"
        )
    return Version(size=size, etag=etag), first
