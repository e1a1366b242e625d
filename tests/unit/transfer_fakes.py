"""Both ends of a transfer: an origin's server, as connections reach it or behind a real socket, and a bucket."""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from services.downloader.transfer import ConnectionLost, ConnectionPool, Origin, Upload, Version
from services.downloader.transfer.bucket import Part


def body_of(size: int) -> bytes:
    return bytes(n * 7 % 256 for n in range(size))


class Body:
    """A response of `Server`, which breaks after so many bytes."""

    is_redirect = False

    def __init__(self, server: "Server", status: int, headers: Mapping[str, str], span: tuple[int, int]) -> None:
        self.status, self.headers = status, headers
        self.too_slow: float | None = None
        self._server = server
        self.position, self._end = span
        self._breaks_after = server.breaks.pop(0) if server.breaks and self.position < self._end else None
        self._counted = self.position < self._end
        if self._counted:
            server.open_now += 1
            server.most_open = max(server.most_open, server.open_now)

    def fill(self, buffer: memoryview) -> int:
        server = self._server
        with server.lock:
            server.reading += 1
        server.before(self.position)
        count = min(len(buffer), self._end - self.position)
        if self._breaks_after is not None:
            count = min(count, self._breaks_after)
            self._breaks_after -= count
        buffer[:count] = server.body[self.position : self.position + count]
        with server.lock:
            server.reading -= 1
            server.sent += count
            server.on_sent(self.position, self.position + count)
        self.too_slow = 8.0 if server.stalls and count < len(buffer) else None
        self.position += count
        if self.position == self._end:
            self.close()
        return count

    def close(self) -> None:
        with self._server.lock:
            self._server.open_now -= self._counted
            self._counted = False


@dataclass
class Server:
    """An origin's server, and each connection to it.

    `breaks`: after how many bytes responses break, in turn; later ones never do. `ignores_ranges`: whether responses
    do, in turn; the last value counts for all later ones. `errors`: (status, seconds of Retry-After) for the requests
    after the `spared` first ones; status 0 is no response.
    """

    body: bytes
    etag: str = "e"
    breaks: list[int] = field(default_factory=list)
    ignores_ranges: list[bool] = field(default_factory=lambda: [False])
    errors: list[tuple[int, float | None]] = field(default_factory=list)
    spared: int = 1
    refuses_beyond: int = 1000  # responses at once
    before_error: Callable[[], object] = lambda: None
    stalls: bool = False
    before: Callable[[int], None] = lambda _: None  # called with the offset at which bytes are read next
    on_sent: Callable[[int, int], None] = lambda *_: None  # called with the bytes that were read: from, up to
    asked: list[tuple[int, int]] = field(default_factory=list)  # from, up to
    open_now: int = 0
    most_open: int = 0  # responses whose bytes were not all read yet
    reading: int = 0
    sent: int = 0
    given_back: list[object] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def origin(self) -> Origin:
        return Origin("https://origin/file", lambda: "https://origin/again", connections=Pool(self))

    def version(self) -> Version:
        return Version(size=len(self.body), etag=self.etag)

    def get(self, url: str, headers: Mapping[str, str]) -> Body:
        first, last = (int(number) for number in headers["Range"].removeprefix("bytes=").split("-"))
        with self.lock:
            self.asked.append((first, last + 1))
            refused = len(self.asked) > self.spared
            if self.open_now >= self.refuses_beyond:
                raise ConnectionLost("refused")
        if refused and self.errors:
            self.before_error()
        with self.lock:
            if refused and self.errors:
                status, seconds = self.errors.pop(0)
                if not status:
                    raise ConnectionLost("no answer")
                return Body(self, status, {} if seconds is None else {"Retry-After": f"{seconds:g}"}, (0, 0))
            size = len(self.body)
            about = {"ETag": f'"{self.etag}"', "Content-Type": "video/mp4"}
            if self.ignores_ranges.pop(0) if len(self.ignores_ranges) > 1 else self.ignores_ranges[0]:
                return Body(self, 200, {**about, "Content-Length": str(size)}, (0, size))
            if first >= size:
                return Body(self, 416, {**about, "Content-Range": f"bytes */{size}"}, (0, 0))
            end = min(last + 1, size)
            span = {"Content-Range": f"bytes {first}-{end - 1}/{size}", "Content-Length": str(end - first)}
            return Body(self, 206, {**about, **span}, (first, end))


class Pool(ConnectionPool):
    """Connections to a server, by default as many as anybody wants."""

    def __init__(self, server: Server, *, connections: int = 64, memory_bytes: int = 256 << 20) -> None:
        super().__init__(connections=connections, begin=connections, memory_bytes=memory_bytes)
        self._server = server

    def _connect(self) -> Any:
        return self._server

    def give_back(self, connection: Any) -> None:
        super().give_back(connection)
        self._server.given_back.append(connection)


@dataclass
class Bucket:
    """Keeps parts, and the buffers that they came in."""

    before: Callable[[int], None] = lambda _: None
    parts: dict[int, bytes] = field(default_factory=dict)
    buffers: list[object] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
        assert number not in self.parts, "a part that is there is not sent again"
        self.before(number)
        with self.lock:
            if not any(body is known for known in self.buffers):
                self.buffers.append(body)
            self.parts[number] = bytes(body)  # the buffer is used again
            upload.parts[number] = Part(etag="", size=len(body), crc=0)

    def complete(self, upload: Upload) -> None:
        assert len(upload.parts) == upload.part_count

    @property
    def whole(self) -> bytes:
        return b"".join(part for _, part in sorted(self.parts.items()))


class Meeting:
    """Lets nobody pass until so many are there at the same time; afterwards everybody."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._present = 0
        self._met = False
        self._changed = threading.Condition()

    def __call__(self, *_: object) -> None:
        with self._changed:
            self._present += 1
            self._met = self._met or self._present == self._count
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._met, timeout=60), "the others never came"
            self._present -= 1


class SocketServer:
    """Answers every request on every connection by `answer`, which gets the socket; counts what comes."""

    def __init__(self, answer: Callable[[socket.socket, bytes], bool]) -> None:
        """`answer` also gets the request, and returns whether the connection stays open."""
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
                if not self.answer(connection, request):
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
