"""Large bodies over kept connections, straight into the caller's buffer."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from services.downloader.wire import ConnectionLost, Pace, Wire


class Server:
    """Answers every request on every connection by `answer`, which gets the socket; counts what comes."""

    def __init__(self, answer: Callable[[socket.socket], bool]) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/file?Signature=secret"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # a client may hang up
            while request := self._request(connection):
                self.requests.append(request)
                if not self.answer(connection):
                    return

    def _request(self, connection: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            try:
                received = connection.recv(4096)
            except OSError:
                return b""
            if not received:
                return b""
            head += received
        return head

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket], bool]], Server]]:
    started: list[Server] = []

    def start(answer: Callable[[socket.socket], bool]) -> Server:
        started.append(Server(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


def whole(body: bytes, *headers: str, keep: bool = True) -> Callable[[socket.socket], bool]:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode()

    def answer(connection: socket.socket) -> bool:
        connection.sendall(head + body)
        return keep

    return answer


class Wires:
    """Makes wires, and closes them."""

    def __init__(self) -> None:
        self.made: list[Wire] = []

    def __call__(self, pace: Pace | None = None) -> Wire:
        self.made.append(Wire(pace))
        return self.made[-1]


@pytest.fixture
def wires() -> Iterator[Wires]:
    wires = Wires()
    yield wires
    for wire in wires.made:
        wire.close()


Start = Callable[[Callable[[socket.socket], bool]], Server]
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
    def cut(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + BODY[:12_345])
        return False

    assert read(wires(), server(cut).url) == BODY[:12_345]


def test_no_more_is_taken_than_the_length_that_was_said(server: Start, wires: Wires) -> None:
    def too_much(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY)
        return False

    assert read(wires(), server(too_much).url) == BODY[:10]


def test_a_source_that_stalls_is_given_up(server: Start, wires: Wires) -> None:
    def stall(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + BODY[:100])
        time.sleep(3)
        return False

    began = time.monotonic()
    assert len(read(wires(Pace(seconds=0.3)), server(stall).url)) == 100
    assert time.monotonic() - began < 2


def test_a_source_that_drips_is_given_up(server: Start, wires: Wires) -> None:
    def drip(connection: socket.socket) -> bool:
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
    def nonsense(connection: socket.socket) -> bool:
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
