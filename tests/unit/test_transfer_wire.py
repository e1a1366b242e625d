"""Large bodies over kept connections, straight into the caller's buffer."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from services.downloader.transfer import ConnectionLost, Limits, Origin, Pace, WirePool, copy
from services.downloader.transfer.bucket import StoredObject
from services.downloader.transfer.reader import Reader
from services.downloader.transfer.wire import Wire
from tests.unit.transfer_fakes import SocketServer

Answer = Callable[[socket.socket, bytes], bool]
Start = Callable[[Answer], SocketServer]


@pytest.fixture
def server() -> Iterator[Start]:
    started: list[SocketServer] = []

    def start(answer: Answer) -> SocketServer:
        started.append(SocketServer(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


def whole(body: bytes, *headers: str, keep: bool = True) -> Answer:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode()

    def answer(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(head + body)
        return keep

    return answer


class Wires:
    """Makes wires, and closes them."""

    def __init__(self) -> None:
        self.made: list[Wire] = []

    def __call__(self, pace: Pace | None = None) -> Wire:
        self.made.append(WirePool(pace).take())
        return self.made[-1]


@pytest.fixture
def wires() -> Iterator[Wires]:
    wires = Wires()
    yield wires
    for wire in wires.made:
        wire.close()


BODY = bytes(n * 31 % 256 for n in range(300_000))


def read(wire: Wire, url: str, size: int = len(BODY)) -> bytes:
    buffer = bytearray(size)
    count = wire.get(url, {"Range": "bytes=0-"}).fill(memoryview(buffer))
    return bytes(buffer[:count])


def test_a_body_arrives_whole_and_the_connection_is_kept(server: Start, wires: Wires) -> None:
    there, wire = server(whole(BODY)), wires()
    assert [read(wire, there.url) for _ in range(3)] == [BODY] * 3
    assert there.connections == 1


def test_a_body_can_be_read_in_pieces(server: Start, wires: Wires) -> None:
    there = server(whole(BODY))
    body, buffer = wires().get(there.url, {}), bytearray(len(BODY))
    at = 0
    for size in (1, 5_000, 100_000, len(BODY)):
        at += body.fill(memoryview(buffer)[at : at + size])
    assert bytes(buffer) == BODY


def test_an_answer_after_which_the_server_closes_arrives_whole_too(server: Start, wires: Wires) -> None:
    there, wire = server(whole(BODY, "Connection: close", keep=False)), wires()
    assert [read(wire, there.url) for _ in range(2)] == [BODY] * 2
    assert there.connections == 2


def test_an_answer_that_is_not_read_to_its_end_takes_its_connection_with_it(server: Start, wires: Wires) -> None:
    there, wire = server(whole(BODY)), wires()
    body = wire.get(there.url, {})
    body.fill(memoryview(bytearray(10)))
    body.close()
    assert read(wire, there.url) == BODY
    assert there.connections == 2


def test_a_kept_connection_that_the_server_has_closed_is_opened_anew(server: Start, wires: Wires) -> None:
    there, wire = server(whole(BODY, keep=False)), wires()
    assert [read(wire, there.url) for _ in range(3)] == [BODY] * 3


def test_a_body_that_breaks_off_gives_what_came(server: Start, wires: Wires) -> None:
    def cut(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + BODY[:12_345])
        return False

    assert read(wires(), server(cut).url) == BODY[:12_345]


def test_no_more_is_taken_than_the_length_that_was_said(server: Start, wires: Wires) -> None:
    def too_much(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY)
        return False

    assert read(wires(), server(too_much).url) == BODY[:10]


def test_a_source_that_stalls_is_given_up(server: Start, wires: Wires) -> None:
    def stall(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + BODY[:100])
        time.sleep(3)
        return False

    began = time.monotonic()
    assert len(read(wires(Pace(seconds=0.3)), server(stall).url)) == 100
    assert time.monotonic() - began < 2


def test_a_source_that_drips_is_given_up(server: Start, wires: Wires) -> None:
    def drip(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
        for n in range(100):
            connection.sendall(BODY[n : n + 1])
            time.sleep(0.05)
        return False

    began = time.monotonic()
    assert len(read(wires(Pace(seconds=0.3, bytes_per_second=1000)), server(drip).url)) < 20
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_no_answer_or_nonsense_is_a_lost_connection_and_tells_no_url(
    server: Start, wires: Wires, answer: bytes
) -> None:
    def nonsense(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(answer)
        return False

    with pytest.raises(ConnectionLost) as lost:
        wires().get(server(nonsense).url, {})
    assert "secret" not in repr(lost.value)
    assert lost.value.__suppress_context__


def test_nobody_there_is_a_lost_connection(wires: Wires) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionLost):
        wires().get(f"http://127.0.0.1:{port}/", {})


def test_it_sends_its_own_headers_only(server: Start, wires: Wires) -> None:
    there = server(whole(BODY))
    wires().get(there.url, {"Range": "bytes=0-9"}).fill(memoryview(bytearray(len(BODY))))
    (request,) = there.requests
    names = {line.split(b":")[0].lower() for line in request.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept-encoding", b"range"}
    assert b"identity" in request


# ── The pace ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def dripping(size: int, seconds: float, *, of: int = 300_000) -> Answer:
    """Sends so many bytes after each pause."""

    def drip(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {of}\r\n\r\n".encode())
        for at in range(0, of, size):
            time.sleep(seconds)
            connection.sendall(BODY[at : min(at + size, of)])
        return True

    return drip


def test_the_pace_is_kept_an_eye_on_across_several_reads(server: Start, wires: Wires) -> None:
    body = wires(Pace(seconds=0.3, bytes_per_second=1000)).get(server(dripping(1, 0.02)).url, {})
    reads = 0
    while body.fill(memoryview(bytearray(4))) == 4:
        reads += 1
        assert reads < 20
    assert body.stalled
    assert reads > 1


def test_the_time_between_two_reads_is_not_the_sources(server: Start, wires: Wires) -> None:
    body = wires(Pace(seconds=0.1, bytes_per_second=100_000)).get(server(whole(BODY)).url, {})
    read = 0
    for size in (1000, 1000, 1000, len(BODY)):
        read += body.fill(memoryview(bytearray(size)))
        time.sleep(0.15)
    assert (read, body.stalled) == (len(BODY), False)


def test_a_source_that_keeps_the_pace_that_was_set_is_read_to_its_end(server: Start, wires: Wires) -> None:
    there = server(dripping(1000, 0.05, of=40_000))
    assert read(wires(Pace(seconds=1.0, bytes_per_second=1_000)), there.url, 40_000) == BODY[:40_000]


def test_a_body_that_breaks_off_has_not_stalled(server: Start, wires: Wires) -> None:
    def cut(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + BODY[:100])
        return False

    body = wires(Pace(seconds=5)).get(server(cut).url, {})
    assert (body.fill(memoryview(bytearray(1000))), body.stalled) == (100, False)


def test_a_source_that_is_always_too_slow_is_given_up_though_each_connection_brought_some_bytes(server: Start) -> None:
    def slow(connection: socket.socket, request: bytes) -> bool:
        first, size = range_of(request)[0], 300_000
        head = f"Content-Range: bytes {first}-{size - 1}/{size}\r\nContent-Length: {size - first}"
        connection.sendall(f"HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n".encode())
        for n in range(first, first + 100):
            connection.sendall(BODY[n : n + 1])
            time.sleep(0.02)
        return False

    there, buffer = server(slow), bytearray(300_000)
    with WirePool(Pace(seconds=0.15, bytes_per_second=1000)) as pool:
        origin = Origin(there.url, lambda: there.url, wires=pool)
        with (
            closing(Reader(origin, may_go_on=lambda: True, sleep=lambda _: None)) as reader,
            pytest.raises(ConnectionLost),
        ):
            reader.fill(memoryview(buffer), at=0)
    starts = [range_of(request)[0] for request in there.requests]
    assert len(starts) == 4
    assert starts == sorted(set(starts)), "each went on where the one before had ended"


# ── The pool ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def range_of(request: bytes) -> tuple[int, int]:
    """From, up to."""
    found = re.search(rb"bytes=(\d+)-(\d+)", request)
    assert found
    return int(found[1]), int(found[2]) + 1


def ranges(connection: socket.socket, request: bytes) -> bool:
    first, end = range_of(request)
    body = BODY[first:end]
    head = f"Content-Range: bytes {first}-{first + len(body) - 1}/{len(BODY)}\r\nContent-Length: {len(body)}"
    connection.sendall(f"HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n".encode() + body)
    return True


def test_a_wire_that_was_given_back_is_used_again_with_its_connection(server: Start) -> None:
    there = server(whole(BODY))
    with WirePool() as pool:
        for _ in range(3):
            wire = pool.take()
            assert read(wire, there.url) == BODY
            pool.give_back(wire)
    assert (there.connections, len(there.requests)) == (1, 3)


def test_two_readers_at_once_never_share_a_wire() -> None:
    with WirePool() as pool:
        one, two = pool.take(), pool.take()
        assert one is not two
        pool.give_back(one)
        assert pool.take() is one


def test_a_closed_pool_keeps_no_connection(server: Start) -> None:
    there, pool = server(whole(BODY)), WirePool()
    wire = pool.take()
    read(wire, there.url)
    pool.give_back(wire)
    pool.close()
    again = pool.take()
    assert again is not wire
    read(again, there.url)
    again.close()
    assert there.connections == 2


def test_a_reader_that_is_closed_twice_gives_its_wire_back_once(server: Start) -> None:
    there = server(ranges)
    with WirePool() as pool:
        reader = Reader(Origin(there.url, lambda: there.url, wires=pool), may_go_on=lambda: True)
        reader.begin(100)
        reader.close()
        reader.close()
        assert pool.take() is not pool.take()


def test_a_reader_that_has_read_to_its_end_hands_its_connection_on_to_the_next_files(server: Start) -> None:
    there = server(ranges)
    with WirePool() as pool:
        for _ in range(3):
            origin = Origin(there.url, lambda: there.url, wires=pool)
            with closing(Reader(origin, may_go_on=lambda: True)) as reader:
                buffer = bytearray(1000)
                assert reader.begin(1000).size == len(BODY)
                assert reader.fill(memoryview(buffer), at=0)
                assert bytes(buffer) == BODY[:1000]
    assert (there.connections, len(there.requests)) == (1, 3)


def test_a_file_that_is_stored_already_costs_one_request(server: Start) -> None:
    there = server(ranges)
    known = StoredObject(key="k", size=len(BODY), etag="", checksum="", metadata={})
    with WirePool() as pool:
        copied = copy(Origin(there.url, lambda: there.url, wires=pool), None, lambda _: known, limits=Limits())  # type: ignore[arg-type]
    assert copied
    assert copied.object is known
    assert len(there.requests) == 1
