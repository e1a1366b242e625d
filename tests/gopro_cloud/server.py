"""Serves a cloud over HTTP/1.1: connections, and the sending of replies with whatever is wrong with them."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.gopro_cloud.exchange import Reply, Request, json_reply
from tests.gopro_cloud.faults import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.gopro_cloud.cloud import FakeGoProCloud
    from tests.gopro_cloud.contents import Piece
    from tests.gopro_cloud.observations import Observations, Seen

_SEND_BYTES = 256 * 1024
_IDLE_SECONDS = 120.0
_MAX_BODY_BYTES = 64 << 20


class Listener:
    """Accepts connections on one port, a thread for each; can refuse them for a while and then listen again."""

    def __init__(self, cloud: FakeGoProCloud, host: str, port: int, *, is_control: bool = False) -> None:
        self.cloud = cloud
        self.is_control = is_control
        self._host = host
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._refused_until = 0.0
        self._listening = False
        self._socket = self._bound(port)
        self.port = int(self._socket.getsockname()[1])
        # Listening from the first: who knows the address may connect before the thread runs.
        self._listen(self._socket)
        self._thread = threading.Thread(target=self._accept, name=f"cloud:{self.port}", daemon=True)

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self._host, port))
        bound.settimeout(0.1)
        return bound

    def _listen(self, bound: socket.socket) -> None:
        bound.listen(512)
        self._listening = True

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            _quietly_shut(self._socket)
            self._socket.close()
        self._break_connections()
        if self._thread.is_alive():
            self._thread.join()

    def refuse(self, seconds: float) -> None:
        """Let nothing listen for `seconds`, and break the connections that are open; 0 listens again at once."""
        with self._lock:
            self._refused_until = time.monotonic() + seconds
            if seconds <= 0 and not self._listening:
                self._listen(self._socket)
            if seconds <= 0 or not self._listening:
                return
            self._listening = False
            # A socket that is bound but doesn't listen refuses connections, and keeps the port for us. Closing alone
            # would leave the port open as long as the accepting thread still waits on it.
            _quietly_shut(self._socket)
            self._socket.close()
            self._socket = self._bound(self.port)
        self._break_connections()

    def _break_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _quietly_shut(connection)

    def _accept(self) -> None:
        while not self.cloud.stopping.is_set():
            with self._lock:
                listener = self._socket
                left = self._refused_until - time.monotonic()
                if left <= 0 and not self._listening:
                    self._listen(listener)
            if left > 0:
                self.cloud.stopping.wait(min(left, 0.05))
                continue
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_IDLE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Handler(connection, connection.getpeername(), self)  # type: ignore[arg-type]
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class Note:
    """Keeps what was seen of one request up to date while its reply is sent."""

    def __init__(self, seen: Seen | None, observations: Observations) -> None:
        self.sent = 0
        self._seen = seen
        self._started = time.monotonic()
        is_download = seen is not None and seen.endpoint == Endpoint.CDN and seen.method == "GET"
        media_id = seen.media_id if seen is not None and is_download else None
        self._end_download = observations.begin_download(media_id) if media_id is not None else lambda: None

    def status(self, status: int) -> None:
        if self._seen is not None:
            self._seen.status = status

    def add(self, sent: int) -> None:
        """Count bytes of the body."""
        self.sent += sent
        if self._seen is not None:
            self._seen.bytes_sent = self.sent

    def end(self) -> None:
        """The request is over, but for what is being sent."""
        self._end_download()
        if self._seen is not None:
            self._seen.seconds = time.monotonic() - self._started
            self._seen.finished = True


class Handler(BaseHTTPRequestHandler):
    """One connection; `server` is the Listener that accepted it."""

    protocol_version = "HTTP/1.1"
    server_version = "FakeGoProCloud"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self._listener: Listener = self.server  # type: ignore[assignment]
        self._cloud = self._listener.cloud
        self._is_control = self._listener.is_control

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: what happens is in the observations."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _MAX_BODY_BYTES or "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            self.close_connection = True
            self._send(json_reply(413, {"error": "body_too_large"}), Note(None, self._cloud.observations))
            return
        body = self.rfile.read(length)
        path = urlsplit(self.path)
        request = Request.of(self.command, path._replace(scheme="", netloc="").geturl(), self.headers, body)
        reply, seen = self._cloud.answer(request, control=self._is_control)
        note = Note(seen, self._cloud.observations)
        try:
            self._send(reply, note)
        finally:
            note.end()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _send(self, reply: Reply, note: Note) -> None:
        if reply.delay:
            self._cloud.stopping.wait(reply.delay)
        if reply.silent:
            self._reset()
            return
        note.status(reply.status)
        pieces: Iterable[Piece] = [reply.body] if reply.stream is None else reply.stream
        parts = iter(() if self.command == "HEAD" else _parts(pieces, reply.bytes_per_second))
        following = next(parts, None)
        if following is None:
            note.end()
        self._send_head(reply)
        if following is not None:
            self._send_body(reply, note, following, parts)
        if reply.ending == "reset":
            self._reset()
        elif reply.announced is None and reply.ending == "whole" and self.command != "HEAD":
            self.connection.sendall(b"0\r\n\r\n")

    def _send_body(self, reply: Reply, note: Note, first: memoryview, parts: Iterator[memoryview]) -> None:
        following: memoryview | None = first
        started = time.monotonic()
        while (part := following) is not None:
            following = next(parts, None)
            if reply.bytes_per_second:
                ahead = started + (note.sent + len(part)) / reply.bytes_per_second - time.monotonic()
                if ahead > 0 and self._cloud.stopping.wait(ahead):
                    raise ConnectionAbortedError("the cloud was stopped")
            # Noted before it is sent: a client that has all its bytes, and asks for more, must not find itself counted
            # twice, nor a test the note of its request unfinished.
            note.add(len(part))
            if reply.sent is not None:
                reply.sent(len(part))
            if following is None:
                note.end()
            self._send_part(part, chunked=reply.announced is None)

    def _send_part(self, part: memoryview, *, chunked: bool) -> None:
        if chunked:
            self.connection.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
        else:
            self.connection.sendall(part)

    def _send_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            # Headers are bytes: a name in UTF-8 goes out as it is, and can't begin another header.
            clean = value.replace("\r", "").replace("\n", "").replace("\0", "")
            self.send_header(name, clean.encode(errors="surrogateescape").decode("latin-1"))
        if reply.announced is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(reply.announced))
        if reply.ending != "whole":
            self.close_connection = True
        self.end_headers()

    def _reset(self) -> None:
        """End the connection with a reset, once the client has all that was sent."""
        self.close_connection = True
        deadline = time.monotonic() + 2
        while _unsent(self.connection) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _parts(pieces: Iterable[Piece], bytes_per_second: float | None) -> Iterable[memoryview]:
    """The pieces in portions small enough to be counted, and paced, as they go."""
    portion = _SEND_BYTES
    if bytes_per_second:
        portion = max(1, min(portion, int(bytes_per_second / 20)))
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), portion):
            yield view[start : start + portion]


def _unsent(connection: socket.socket) -> int:
    """Bytes that the other side has not acknowledged yet; 0 where the system can't tell."""
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])


def _quietly_shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
