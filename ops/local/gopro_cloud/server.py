"""Serves a cloud over HTTP/1.1, and sends its replies with whatever is wrong with them."""

import contextlib
import fcntl
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from ops.local.gopro_cloud.exchange import Reply, Request
from ops.local.gopro_cloud.observations import Seen


class Server(ThreadingTCPServer):
    """Serves each connection in a thread of its own.

    `answer` returns the reply to a request and the note of it; `end` is called with the note once the request is over.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Request], tuple[Reply, Seen]],
        end: Callable[[Seen], None],
    ) -> None:
        self.answer = answer
        self.end = end
        self.stopping = threading.Event()
        self._open: set[Any] = set()
        super().__init__((host, port), _Handler)
        self.port = int(self.server_address[1])

    def stop(self) -> None:
        """End at once: downloads under way break off."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Unlike the base class's, no orderly end: a connection that is to be reset must not be closed first.
        self._open.discard(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):  # clients may go away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "FakeGoProCloud"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 120  # seconds that a connection may be idle

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Write nothing: the observations tell what happened."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply, seen = self.server.answer(Request.of(self.command, self.path, self.headers, body))
        try:
            self._send(reply, seen)
        finally:
            self.server.end(seen)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  # the base class's names

    def _send(self, reply: Reply, seen: Seen) -> None:
        self.server.stopping.wait(reply.delay)
        if not reply.status:
            self._reset()
            return
        seen.status = reply.status
        if self.command == "HEAD" or reply.length == 0:
            self.server.end(seen)
        self._send_head(reply)
        if self.command == "HEAD":
            return
        started = time.monotonic()
        for part in _parts(reply):
            ahead = reply.share(len(part))
            if reply.bytes_per_second and reply.is_throttled():
                paced = started + (seen.bytes_sent + len(part)) / reply.bytes_per_second - time.monotonic()
                ahead = max(ahead, paced)
            if ahead > 0 and self.server.stopping.wait(ahead):
                raise ConnectionAbortedError("the cloud was stopped")
            # Noted before it is sent: a client that has all its bytes, and asks for more, must not find itself counted
            # twice, nor a test the note of its request unfinished.
            seen.bytes_sent += len(part)
            if seen.bytes_sent == reply.length:
                self.server.end(seen)
            self.wfile.write(part if reply.length is not None else b"%x\r\n%b\r\n" % (len(part), bytes(part)))
        self.server.end(seen)
        if reply.ending == "reset":
            self._reset()
        elif reply.ending == "whole" and reply.length is None:
            self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            # Headers are bytes: a name in UTF-8 goes out as it is, and can't begin another header.
            clean = value.replace("\r", "").replace("\n", "").replace("\0", "")
            self.send_header(name, clean.encode(errors="surrogateescape").decode("latin-1"))
        if reply.length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(reply.length))
        self.close_connection = self.close_connection or reply.ending != "whole"
        self.end_headers()

    def _reset(self) -> None:
        """End the connection with a reset, once the client has all that was sent."""
        self.close_connection = True
        deadline = time.monotonic() + 2
        while _unsent(self.connection) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _parts(reply: Reply) -> Iterable[memoryview]:
    """Yield the body in parts small enough to be counted, and paced, as they go."""
    for piece in reply.pieces:
        view = memoryview(piece)
        for start in range(0, len(view), reply.part_bytes):
            yield view[start : start + reply.part_bytes]


def _unsent(connection: socket.socket) -> int:
    """Return how many bytes the other side has not acknowledged yet; 0 where the system can't tell."""
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
