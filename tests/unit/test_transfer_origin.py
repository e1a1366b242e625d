"""An origin's answers: whatever HTTP lets one verify is enough, and nothing less."""

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from services.downloader.transfer import ConnectionPool, Origin, OriginBroken, OriginChanged, Version
from services.downloader.transfer.origin import Reader
from tests.unit.transfer_fakes import SocketServer, body_of

BODY = body_of(200_000)
Head = Callable[[int, int], str]  # the header lines for a range: from, up to


class There:
    """A server, and what it says."""

    def __init__(self, head: Head, *, chunks: int | None = None, closes: bool = False, more: bytes = b"") -> None:
        self.head, self.chunks, self.closes, self.more = head, chunks, closes, more
        self.asked: list[tuple[int, int]] = []
        self.server = SocketServer(self.answer)

    def answer(self, connection: socket.socket, request: bytes) -> bool:
        first, last = map(int, re.findall(rb"bytes=(\d+)-(\d+)", request)[0])
        end = min(last + 1, len(BODY))
        self.asked.append((first, end))
        chunked = "Transfer-Encoding: chunked\r\n" if self.chunks else ""
        connection.sendall(f"HTTP/1.1 206 Partial Content\r\n{chunked}{self.head(first, end)}\r\n\r\n".encode())
        body = BODY[first:end] + self.more
        for at in range(0, len(body), self.chunks or len(body)):
            piece = body[at : at + (self.chunks or len(body))]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunks else piece)
        if self.chunks:
            connection.sendall(b"0\r\n\r\n")
        return not self.closes


@pytest.fixture
def pool() -> Iterator[ConnectionPool]:
    with ConnectionPool() as pool:
        yield pool


def read(there: There, pool: ConnectionPool, *, spans: int = 2) -> bytes:
    """Read the file in so many requests."""
    reader = Reader(Origin(there.server.url, lambda: there.server.url, connections=pool), pool.take(), sleep=_no_wait)
    buffer = bytearray(len(BODY))
    try:
        for number in range(spans):
            at, end = number * len(BODY) // spans, (number + 1) * len(BODY) // spans
            while at < end:
                at += reader.read(memoryview(buffer)[at:end], at=at, end=end)
    finally:
        reader.close()
        there.server.close()
    return bytes(buffer)


def _no_wait(_: float) -> None:
    pass


def content_range(first: int, end: int) -> str:
    return f"Content-Range: bytes {first}-{end - 1}/{len(BODY)}"


@pytest.mark.parametrize("size", [1_000, 16_384, 150_000])
def test_a_body_in_chunks_is_as_long_as_its_range_says_and_its_connection_is_kept(
    pool: ConnectionPool, size: int
) -> None:
    there = There(content_range, chunks=size)
    assert read(there, pool) == BODY
    assert (there.server.connections, len(there.asked)) == (1, 2)


def test_a_body_that_ends_with_its_connection_is_as_long_as_its_range_says(pool: ConnectionPool) -> None:
    there = There(lambda *span: f"Connection: close\r\n{content_range(*span)}", closes=True)
    assert read(there, pool) == BODY
    assert there.server.connections == 2


def test_more_chunks_than_the_range_says_are_refused(pool: ConnectionPool) -> None:
    with pytest.raises(OriginBroken, match="more bytes than it said"):
        read(There(content_range, chunks=1_000, more=b"more"), pool)


@pytest.mark.parametrize(
    "head",
    [
        lambda first, end: f"content-range: Bytes {first} - {end - 1} / {len(BODY)}\r\nContent-Length: {end - first}",
        lambda first, end: f"{content_range(first, end)}\r\nContent-Length: {end - first}\r\nETag: abc",
    ],
    ids=["spaces and case", "an ETag without quotes"],
)
def test_unusual_headers_that_say_enough_are_understood(pool: ConnectionPool, head: Head) -> None:
    assert read(There(head), pool) == BODY


@pytest.mark.parametrize(
    "head",
    [
        lambda first, end: f"{content_range(first + 1, end + 1)}\r\nContent-Length: {end - first}",
        lambda first, end: f"{content_range(first, end)}\r\nContent-Length: {end - first - 1}",
        lambda first, end: f"Content-Range: bytes {first}-{end - 1}/*\r\nContent-Length: {end - first}",
        lambda first, end: f"Content-Range: bytes {first}-{len(BODY)}/{len(BODY)}",
        lambda first, end: f"Content-Length: {end - first}",
    ],
    ids=["another range", "another length", "no size", "beyond the end", "no range"],
)
def test_headers_that_contradict_each_other_or_say_too_little_are_refused(pool: ConnectionPool, head: Head) -> None:
    with pytest.raises(OriginBroken):
        read(There(head), pool)


def test_a_shorter_range_than_asked_for_is_taken_and_the_rest_is_asked_for(pool: ConnectionPool) -> None:
    there = There(content_range)
    whole = there.answer

    def shorter(connection: socket.socket, request: bytes) -> bool:
        return whole(
            connection, re.sub(rb"-(\d+)\r", lambda last: b"-%d\r" % min(int(last[1]), last_of(request)), request)
        )

    def last_of(request: bytes) -> int:
        return int(re.findall(rb"bytes=(\d+)-", request)[0]) + 59_999

    there.head = lambda first, end: f"{content_range(first, end)}\r\nContent-Length: {end - first}"
    there.server.answer = shorter
    assert read(there, pool, spans=1) == BODY
    assert [end - first for first, end in there.asked] == [60_000, 60_000, 60_000, 20_000]


# ── ETags ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def versions(there: There, pool: ConnectionPool, copies: int) -> list[Version | type[Exception]]:
    """Open the file and read on in another answer, so often. Returns the versions, or why a copy ended."""
    origin = Origin(there.server.url, lambda: there.server.url, connections=pool)
    found: list[Version | type[Exception]] = []
    for _ in range(copies):
        connection = pool.take()
        origin.begin()
        try:
            first = origin.open(connection, 0, 10)
            first.close()
            second = origin.open(connection, 10, 20, first.version)
            second.close()
        except OriginChanged:
            found.append(OriginChanged)
        else:
            found.append(second.version)
        pool.give_back(connection)
    there.server.close()
    return found


def tagged(*etags: str) -> Head:
    """Answer with these ETags in turn, and with the last one from then on."""
    left = list(etags)

    def head(first: int, end: int) -> str:
        etag = left.pop(0) if len(left) > 1 else left[0]
        return f"{content_range(first, end)}\r\nContent-Length: {end - first}\r\n" + (
            f"ETag: {etag}" if etag else "X: y"
        )

    return head


def test_a_weak_etag_that_stays_the_same_is_trusted(pool: ConnectionPool) -> None:
    assert versions(There(tagged('W/"a"')), pool, 1) == [Version(size=len(BODY), etag="W/a")]


def test_an_edge_that_makes_the_same_etag_weak_sends_the_same_version(pool: ConnectionPool) -> None:
    assert versions(There(tagged('"a"', 'W/"a"')), pool, 1) == [Version(size=len(BODY), etag="a")]


def test_a_file_that_is_replaced_once_is_copied_anew_with_its_etag(pool: ConnectionPool) -> None:
    assert versions(There(tagged('"a"', '"b"')), pool, 2) == [OriginChanged, Version(size=len(BODY), etag="b")]


def test_etags_that_contradict_each_other_twice_say_nothing_any_more(pool: ConnectionPool) -> None:
    found = versions(There(tagged('"a"', '"b"', '"a"', "", '"b"', '"a"')), pool, 3)
    assert found == [OriginChanged, OriginChanged, Version(size=len(BODY), etag="")]


def test_an_etag_that_no_answer_had_before_is_another_version_even_then(pool: ConnectionPool) -> None:
    found = versions(There(tagged('"a"', '"b"', '"a"', '"b"', '"b"', '"c"')), pool, 3)
    assert found == [OriginChanged] * 3
