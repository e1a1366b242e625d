"""The fake GoPro Cloud: API, CDN and control served over HTTP/1.1 on a loopback address."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from tests.gopro_cloud.api import Api, target_of
from tests.gopro_cloud.cdn import Cdn, Signer, digest_row, place_of
from tests.gopro_cloud.cdn import refusal as cdn_refusal
from tests.gopro_cloud.clock import Clock
from tests.gopro_cloud.contents import Digests, Piece
from tests.gopro_cloud.control import ControlDesk
from tests.gopro_cloud.exchange import Reply, Request, json_reply
from tests.gopro_cloud.faults import Endpoint, Fault, FaultBook, Outage, fault_name
from tests.gopro_cloud.library import Catalogue, Library, Medium
from tests.gopro_cloud.oauth import Account, TokenOffice
from tests.gopro_cloud.observations import Observations, Seen

_SEND_BYTES = 256 * 1024
_IDLE_SECONDS = 120.0
_MAX_BODY_BYTES = 64 << 20
_SECRET_PARAMETERS = {"Signature", "Key-Pair-Id", "access_token"}


class FakeGoProCloud:
    """A whole cloud. `with FakeGoProCloud(library) as cloud:` serves it in threads of this process.

    `url` is the API's (and the CDN's) address, `control_url` that of the control API, which an outage never touches.
    `url_lifetime` is how long a signed URL is good, in seconds.
    """

    def __init__(
        self,
        library: Library | None = None,
        *,
        account: Account | None = None,
        url_lifetime: float = 3600,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self._first_library = library or Library()
        self._first_account = account or Account()
        self._first_lifetime = url_lifetime
        self.url_lifetime = url_lifetime
        self.clock = Clock()
        self.observations = Observations()
        self.faults = FaultBook()
        self.digests = Digests()
        self.tokens = TokenOffice(self.clock, self._first_account)
        self._library = self._first_library
        self.catalogue = Catalogue(Library())
        self._signer = Signer(self.clock)
        self.cdn = Cdn(self.catalogue, self._signer, self.faults, self.digests)
        self.api = Api(
            self.catalogue,
            self.tokens,
            self._signer,
            self.faults,
            base_url=lambda: self.url,
            url_lifetime=lambda: self.url_lifetime,
        )
        self._desk = ControlDesk(self)
        self._outage: tuple[float, str, str] = (0.0, "503", "all")
        self.stopping = threading.Event()
        self._public = Listener(self, host, port)
        self._control = Listener(self, host, 0)
        self.url = f"http://{host}:{self._public.port}"
        self.control_url = f"http://{host}:{self._control.port}"
        self.replace_library(self._first_library)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self._public.start()
        self._control.start()
        return self

    def stop(self) -> None:
        """End at once: downloads under way break off."""
        self.stopping.set()
        self._public.stop()
        self._control.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # -- what a test scripts ------------------------------------------------------------------------------------------

    def replace_library(self, library: Library) -> None:
        """Serve another library, with its own faults and none of those before."""
        self.catalogue.replace(library)
        self._library = library
        self.faults.clear()
        self.faults.arm(library.faults)
        self.faults.arm(_own_faults(library.media))

    def add_media(self, *media: Medium) -> None:
        """New media with their faults; one with a known id takes that one's place."""
        self.catalogue.add(media)
        self.faults.arm(_own_faults(media))

    def remove_media(self, *media_ids: str) -> None:
        self.catalogue.remove(media_ids)

    def arm(self, *faults: Fault) -> None:
        self.faults.arm(faults)

    def advance(self, seconds: float) -> None:
        """Let time pass for signed URLs and tokens."""
        self.clock.advance(seconds)

    def outage(
        self,
        seconds: float,
        form: Literal["503", "reset", "refuse"] = "503",
        of: Literal["api", "cdn", "all"] = "all",
    ) -> None:
        """Be out from now on for `seconds` of real time (0 ends an outage); see `Outage` for its forms."""
        if form == "refuse":
            if of != "all":
                raise ValueError("the API and the CDN share a port: only both can refuse connections")
            self._public.refuse(seconds)
        else:
            self._public.refuse(0)
            self._outage = (time.monotonic() + seconds, form, of)

    def configure_account(self, **changes: Any) -> None:
        """Change fields of the account, as `expires_in=20` or `two_factor=True`; tokens that are out stay good."""
        self.tokens.change(replace(self.tokens.account, **changes))

    def reset(self) -> None:
        """Back to how it was made: library, account, clock; nothing observed, no fault, no session."""
        self.outage(0)
        self.url_lifetime = self._first_lifetime
        self.clock.reset()
        self._signer.reset()
        self.tokens.reset(self._first_account)
        self.replace_library(self._first_library)
        self.observations.clear()

    # -- what a test compares with ------------------------------------------------------------------------------------

    def originals(self, media_id: str) -> list[dict[str, Any]]:
        """A medium's originals in order: `item` (from 1), `label`, `filename`, `size`, `sha256`, `etag` (quoted)."""
        medium = self.catalogue.get(media_id)
        if medium is None:
            raise ValueError(f"no medium {media_id}")
        found = [rendition for rendition in medium.renditions() if rendition.original]
        return [digest_row(self.cdn, self.digests, medium, number, one) for number, one in enumerate(found, start=1)]

    def sha256(self, media_id: str, item: int = 1) -> str:
        """SHA-256, in hex, of a medium's original number `item`."""
        return str(self.originals(media_id)[item - 1]["sha256"])

    @property
    def library(self) -> Library:
        """The library as it was given last."""
        return self._library

    # -- answering ----------------------------------------------------------------------------------------------------

    def answer(self, request: Request, *, control: bool) -> tuple[Reply, Seen | None]:
        """The reply to any request, and the note of it that is to be filled while it is sent."""
        if request.path.startswith("/control/"):
            return self._desk.answer(request), None
        if control:
            return json_reply(404, {"error": "only /control/ is served here"}), None
        is_cdn = request.path.startswith("/cdn/")
        seen = Seen(
            at=time.time(),
            endpoint=Endpoint.CDN,
            method=request.method,
            range=request.header("Range"),
            query={name: value for name, value in request.query.items() if name not in _SECRET_PARAMETERS},
            authorized=request.header("Authorization") is not None,
        )
        if is_cdn:
            if place := place_of(request.path):
                seen.media_id, seen.label, seen.item = place
        else:
            target = target_of(request.method, request.path)
            seen.endpoint, seen.media_id = target.endpoint, target.media_id
        self.observations.add(seen)
        until, form, of = self._outage
        if time.monotonic() < until and of in ("all", "cdn" if is_cdn else "api"):
            seen.faults = ("outage",)
            return self._out(form, is_cdn), seen

        def struck(faults: list[Fault]) -> None:
            seen.faults = tuple(fault_name(type(fault)) for fault in faults)
            for fault in faults:
                if isinstance(fault, Outage):
                    self.outage(fault.seconds, fault.form, fault.of)

        reply = self.cdn.answer(request, struck) if is_cdn else self.api.answer(request, target, seen, struck)
        if "outage" in seen.faults:
            reply = self._out(self._outage[1], is_cdn)
        return reply, seen

    def _out(self, form: str, is_cdn: bool) -> Reply:
        if form == "503":
            return cdn_refusal(503) if is_cdn else json_reply(503, {"error": "service_unavailable"})
        return Reply(status=0, silent=True, ending="reset")


def _own_faults(media: Iterable[Medium]) -> list[Fault]:
    return [replace(fault, media_id=medium.media_id) for medium in media for fault in medium.faults]


class Listener:
    """Accepts connections on one port, a thread for each; can refuse them for a while and then listen again."""

    def __init__(self, cloud: FakeGoProCloud, host: str, port: int) -> None:
        self.cloud = cloud
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
            self._socket.close()
        self._break_connections()
        if self._thread.is_alive():
            self._thread.join()

    def refuse(self, seconds: float) -> None:
        """Let nothing listen for `seconds`, and break the connections that are open."""
        with self._lock:
            self._refused_until = time.monotonic() + seconds
            if seconds <= 0 or not self._listening:
                return
            self._listening = False
            # A socket that is bound but doesn't listen refuses connections, and keeps the port for us. Closing alone
            # would leave the port open as long as the accepting thread still waits on it.
            self._socket.shutdown(socket.SHUT_RDWR)
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


class Handler(BaseHTTPRequestHandler):
    """One connection; `server` is the Listener that accepted it."""

    protocol_version = "HTTP/1.1"
    server_version = "FakeGoProCloud"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self._listener: Listener = self.server  # type: ignore[assignment]
        self._cloud = self._listener.cloud
        self._is_control = self._listener is self._cloud._control

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what happens is in the observations."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _MAX_BODY_BYTES or "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            self.close_connection = True
            self._send(json_reply(413, {"error": "body_too_large"}), None)
            return
        body = self.rfile.read(length)
        path = urlsplit(self.path)
        request = Request.of(self.command, path._replace(scheme="", netloc="").geturl(), self.headers, body)
        reply, seen = self._cloud.answer(request, control=self._is_control)
        started = time.monotonic()
        try:
            if seen is not None and seen.endpoint == Endpoint.CDN and seen.method == "GET" and seen.media_id:
                with self._cloud.observations.downloading(seen.media_id):
                    self._send(reply, seen)
            else:
                self._send(reply, seen)
        finally:
            if seen is not None:
                seen.seconds = time.monotonic() - started
                seen.finished = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def _send(self, reply: Reply, seen: Seen | None) -> None:
        if reply.delay:
            self._cloud.stopping.wait(reply.delay)
        if reply.silent:
            self._reset()
            return
        if seen is not None:
            seen.status = reply.status
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            # Headers are bytes: a name in UTF-8 goes out as it is, and can't begin another header.
            clean = value.replace("\r", "").replace("\n", "").replace("\0", "")
            self.send_header(name, clean.encode(errors="surrogateescape").decode("latin-1"))
        length = len(reply.body) if reply.stream is None else reply.length
        chunked = length is None
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(length))))
        if reply.ending != "whole":
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        pieces: Iterable[Piece] = reply.stream if reply.stream is not None else [reply.body]
        started, total = time.monotonic(), 0
        for part in _parts(pieces, reply.bytes_per_second):
            if chunked:
                self.connection.sendall(b"%x\r\n" % len(part))
            self.connection.sendall(part)
            if chunked:
                self.connection.sendall(b"\r\n")
            total += len(part)
            if seen is not None:
                seen.bytes_sent = total
            if reply.sent is not None:
                reply.sent(len(part))
            if reply.bytes_per_second:
                ahead = started + total / reply.bytes_per_second - time.monotonic()
                if ahead > 0 and self._cloud.stopping.wait(ahead):
                    self.close_connection = True
                    return
        if reply.ending == "reset":
            self._reset()
        elif chunked and reply.ending == "whole":
            self.connection.sendall(b"0\r\n\r\n")

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
