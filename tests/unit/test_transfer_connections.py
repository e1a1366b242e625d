"""Large bodies over kept connections, straight into the caller's buffer."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from services.downloader.transfer import ConnectionLost, ConnectionPool, Origin, Pace
from services.downloader.transfer.connections import Body, Connection
from services.downloader.transfer.origin import Reader
from tests.unit.clocks import ManualClock
from tests.unit.transfer_fakes import SocketServer

Answer = Callable[[socket.socket, bytes], bool]
Start = Callable[[Answer], SocketServer]

BODY = bytes(n * 31 % 256 for n in range(300_000))


@pytest.fixture
def server() -> Iterator[Start]:
    started: list[SocketServer] = []

    def start(answer: Answer) -> SocketServer:
        started.append(SocketServer(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def pool() -> Iterator[ConnectionPool]:
    with ConnectionPool() as pool:
        yield pool


@pytest.fixture
def connection(pool: ConnectionPool) -> Iterator[Connection]:
    with closing(pool.take()) as connection:
        yield connection


def whole(*headers: str, keep: bool = True, length: int = len(BODY), sent: int = len(BODY)) -> Answer:
    """Answer every request with the body, or with its first bytes."""
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {length}", *headers, "", ""]).encode()

    def answer(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(head + BODY[:sent])
        return keep

    return answer


def read(connection: Connection, url: str) -> bytes:
    buffer = bytearray(len(BODY))
    body = connection.get(url, {"Range": "bytes=0-"})
    return bytes(buffer[: fill(lambda rest, _: body.fill(rest), buffer)])


def fill(read: Callable[[memoryview, int], int], buffer: bytearray) -> int:
    """Read until the buffer is full or no more bytes come. Returns how many have come."""
    at = 0
    while at < len(buffer) and (count := read(memoryview(buffer)[at:], at)):
        at += count
    return at


@pytest.mark.parametrize(
    ("answer", "connections"),
    [(whole(), 1), (whole("Connection: close", keep=False), 3), (whole(keep=False), 3)],
    ids=["kept", "closed as announced", "closed without a word"],
)
def test_a_body_arrives_whole_and_the_connection_is_kept_where_the_server_keeps_it(
    server: Start, connection: Connection, answer: Answer, connections: int
) -> None:
    there = server(answer)
    assert [read(connection, there.url) for _ in range(3)] == [BODY] * 3
    assert there.connections == connections


def test_a_body_can_be_read_in_pieces(server: Start, connection: Connection) -> None:
    body, buffer = connection.get(server(whole()).url, {}), bytearray(len(BODY))
    at = 0
    for size in (1, 5_000, 100_000, len(BODY)):
        at += body.fill(memoryview(buffer)[at : at + size])
    assert bytes(buffer) == BODY


def test_a_connection_is_closed_when_its_response_is_not_read_to_the_end(server: Start, connection: Connection) -> None:
    there = server(whole())
    body = connection.get(there.url, {})
    body.fill(memoryview(bytearray(10)))
    body.close()
    assert read(connection, there.url) == BODY
    assert there.connections == 2


def test_a_body_that_breaks_off_gives_the_bytes_that_came(server: Start, connection: Connection) -> None:
    body, buffer = connection.get(server(whole(sent=12_345, keep=False)).url, {}), bytearray(len(BODY))
    assert (fill(lambda rest, _: body.fill(rest), buffer), body.too_slow) == (12_345, None)
    assert buffer[:12_345] == BODY[:12_345]


def test_no_more_bytes_are_read_than_the_announced_length(server: Start, connection: Connection) -> None:
    assert read(connection, server(whole(length=10, keep=False)).url) == BODY[:10]


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_a_response_that_is_no_http_is_a_lost_connection_and_shows_no_url(
    server: Start, connection: Connection, answer: bytes
) -> None:
    def nonsense(there: socket.socket, _: bytes) -> bool:
        there.sendall(answer)
        return False

    with pytest.raises(ConnectionLost) as lost:
        connection.get(server(nonsense).url, {})
    assert "secret" not in repr(lost.value)
    assert lost.value.__suppress_context__


def test_a_server_that_is_not_there_is_a_lost_connection(connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionLost):
        connection.get(f"http://127.0.0.1:{port}/", {})


def test_only_the_wanted_headers_are_sent(server: Start, connection: Connection) -> None:
    there = server(whole())
    read(connection, there.url)
    (request,) = there.requests
    names = {line.split(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept-encoding", b"range"}
    assert b"identity" in request


# ── The pace ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(60)
def test_an_origin_that_sends_nothing_more_is_given_up(server: Start) -> None:
    given_up = threading.Event()

    def stall(connection: socket.socket, request: bytes) -> bool:
        whole(sent=100)(connection, request)
        given_up.wait()
        return False

    with ConnectionPool(Pace(seconds=0.3)) as pool, closing(pool.take()) as connection:
        body = connection.get(server(stall).url, {})
        assert fill(lambda rest, _: body.fill(rest), bytearray(1000)) == 100
        given_up.set()
    assert body.too_slow is not None


class Response:
    """A response and its socket: each read takes so many seconds, and brings so many bytes."""

    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    length = 300_000
    chunked = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, seconds: float, size: int) -> None:
        self.clock, self.seconds, self.size = ManualClock(), seconds, size
        self.began = self.clock.monotonic()
        self.slows: tuple[float, int] | None = None  # after how many seconds, to which size
        monkeypatch.setattr("services.downloader.transfer.connections.time.monotonic", self.clock.monotonic)
        self.sock = self.fp = self

    @property
    def elapsed(self) -> float:
        return self.clock.monotonic() - self.began

    def peek(self) -> bytes:
        return b""

    def recv_into(self, buffer: memoryview) -> int:
        self.clock.advance(self.seconds)
        if self.slows and self.elapsed > self.slows[0]:
            self.size = self.slows[1]
        return min(self.size, len(buffer))

    def close(self) -> None:
        pass

    def rate(self, pace: Pace, size: int, *, pause: float = 0.0) -> float | None:
        """Read so many bytes, with pauses between the reads. Returns the rate at which the origin is given up."""
        body = Body(cast("Any", self), cast("Any", self), pace)
        left = size
        while left > 0 and body.too_slow is None:
            left -= body.fill(memoryview(bytearray(left)))
            self.clock.advance(pause)
        return body.too_slow


PACE = Pace(seconds=30, kilobytes_per_second=1)


def test_an_origin_that_is_too_slow_is_given_up_after_the_paces_time(monkeypatch: pytest.MonkeyPatch) -> None:
    response = Response(monkeypatch, seconds=1, size=900)
    assert response.rate(PACE, 100_000) == 0.9
    assert response.elapsed == 31


def test_an_origin_that_keeps_the_pace_is_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Response(monkeypatch, seconds=1, size=1000).rate(PACE, 300_000) is None


def test_an_origin_that_is_slow_at_the_very_end_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Response(monkeypatch, seconds=31, size=300_000).rate(Pace(kilobytes_per_second=100), 300_000) is None


def test_a_slow_time_after_a_fast_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    response = Response(monkeypatch, seconds=1, size=2_000)
    response.slows = 31, 900
    assert response.rate(PACE, 300_000) == 0.9
    assert response.elapsed == 62


def test_the_time_between_two_reads_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Response(monkeypatch, seconds=1, size=1000).rate(PACE, 50_000, pause=100) is None


def test_bytes_are_shown_soon_however_few_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    response = cast("Any", Response(monkeypatch, seconds=0.01, size=100))
    body = Body(response, response, PACE)
    assert body.fill(memoryview(bytearray(100_000))) == 300


# ── The pool ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def ranges(connection: socket.socket, request: bytes) -> bool:
    found = re.search(rb"bytes=(\d+)-(\d+)", request)
    assert found
    body = BODY[int(found[1]) : int(found[2]) + 1]
    content_range = f"bytes {int(found[1])}-{int(found[1]) + len(body) - 1}/{len(BODY)}"
    head = f"HTTP/1.1 206 OK\r\nContent-Range: {content_range}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return True


def test_a_closed_pool_keeps_no_connection(server: Start, pool: ConnectionPool) -> None:
    there, connection = server(whole()), pool.take()
    read(connection, there.url)
    pool.give_back(connection)
    pool.close()
    with closing(pool.take()) as again:
        assert again is not connection
        read(again, there.url)
    assert there.connections == 2


def test_a_reader_that_is_closed_twice_gives_its_connection_back_once(server: Start, pool: ConnectionPool) -> None:
    there = server(ranges)
    reader = Reader(Origin(there.url, lambda: there.url, connections=pool), pool.take())
    reader.begin(100)
    reader.close()
    reader.close()
    assert pool.take() is not pool.take()


def test_the_next_file_uses_the_connection_of_a_reader_that_has_read_to_its_end(
    server: Start, pool: ConnectionPool
) -> None:
    there = server(ranges)
    for _ in range(3):
        with closing(Reader(Origin(there.url, lambda: there.url, connections=pool), pool.take())) as reader:
            buffer = bytearray(1000)
            assert reader.begin(1000).size == len(BODY)
            fill(lambda rest, at: reader.read(rest, at=at, end=1000), buffer)
            assert bytes(buffer) == BODY[:1000]
    assert (there.connections, len(there.requests)) == (1, 3)
