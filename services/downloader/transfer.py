"""Bytes from an origin into an upload: several parts at once, each through one buffer that is used again.

Buffered, not passed through: a part that has to be sent again is not fetched again, and a slow origin never keeps S3
waiting.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from services.downloader.origin import Origin, OriginBusy, Stream
from services.downloader.upload import MediaBucket, Upload
from services.downloader.wire import ConnectionLost, Wire

# Connections in a row that bring not one byte before a part is given up for this try.
_FRUITLESS_CONNECTIONS = 4
_READ_BYTES = 1 << 20  # between two looks at whether to go on, so that no slow part outlasts its slice of time
_PAUSES = 3  # that the last connection makes for an origin that is busy
_LONGEST_PAUSE_SECONDS = 30.0  # longer ones are the message's own to wait


def transfer(
    origin: Origin,
    bucket: MediaBucket,
    upload: Upload,
    *,
    connections: int,
    opened: tuple[Wire, Stream] | None = None,
    may_go_on: Callable[[float], bool] = lambda _: True,
    progress: Callable[[int], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Stores the parts that `upload` lacks; True once it has them all, False when `may_go_on` said no before that.

    `connections`: to the origin, at most; each takes the memory of one part. `opened`: the origin, opened at byte 0
    already. `may_go_on` is asked before each part, with the seconds that the slowest one took so far, and all along
    within it, with 0; `progress` is told the bytes of the file that are stored, after each part. What they raise ends
    the transfer. A connection that breaks goes on where it broke; parts already stored stay.

    Raises `OriginChanged`, `UploadGone` and other transient errors.
    """
    return _Transfer(origin, bucket, upload, may_go_on, progress, sleep).run(connections, opened)


class _Transfer:
    def __init__(
        self,
        origin: Origin,
        bucket: MediaBucket,
        upload: Upload,
        may_go_on: Callable[[float], bool],
        progress: Callable[[int], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._origin = origin
        self._bucket = bucket
        self._upload = upload
        self._may_go_on = may_go_on
        self._progress = progress
        self._sleep = sleep
        self._missing = deque(n for n in range(1, upload.part_count + 1) if n not in upload.parts)
        self._slowest = 0.0
        self._lock = threading.Lock()
        self._active = 0  # workers that have not come to their end
        self._waits = 0
        self._ended = False  # whether no further part is to be begun
        self._error: BaseException | None = None
        self._alone: _Worker | None = None  # the one that goes on with a server that knows no ranges

    def run(self, connections: int, opened: tuple[Wire, Stream] | None) -> bool:
        """Works until nothing is missing, or something speaks against it."""
        self._active = max(1, min(connections, len(self._missing)))
        threads = [threading.Thread(target=self._work, name="part", daemon=True) for _ in range(self._active - 1)]
        for thread in threads:
            thread.start()
        self._work(*(opened or ()))
        for thread in threads:
            thread.join()
        if self._error:
            raise self._error
        return self._upload.next_missing() is None

    def _work(self, wire: Wire | None = None, stream: Stream | None = None) -> None:
        worker = _Worker(self._origin, self._upload, wire or Wire(), stream, self._go_on, self._sleep)
        buffer = bytearray()
        try:
            while (number := self._next(worker)) is not None:
                buffer = buffer or bytearray(self._upload.part_size)
                began = time.monotonic()
                part = memoryview(buffer)[: self._upload.length_of(number)]
                try:
                    if not worker.fill(part, at=(number - 1) * self._upload.part_size):
                        self._ended = True
                        return
                except OriginBusy as busy:
                    if self._made_way(number):
                        return
                    self._wait(busy)
                    continue
                self._bucket.put_part(self._upload, number, buffer if len(part) == len(buffer) else bytes(part))
                with self._lock:
                    self._slowest = max(self._slowest, time.monotonic() - began)
                    self._progress(self._upload.bytes_done)
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits for all
            with self._lock:
                self._error = self._error or error
                self._ended = True
        finally:
            worker.close()

    def _go_on(self) -> bool:
        return not self._ended and self._may_go_on(0.0)

    def _next(self, worker: "_Worker") -> int | None:
        """The part to do next; None when this worker is done."""
        with self._lock:
            if worker.ranges_ignored:
                # Every other one would fetch the whole file for a part of it.
                self._alone = self._alone or worker
            if not self._ended and self._missing and self._alone in (None, worker):
                if self._may_go_on(self._slowest):
                    return self._missing.popleft()
                self._ended = True
            self._active -= 1
            return None

    def _made_way(self, number: int) -> bool:
        """An origin that is busy gets one connection fewer, as long as another goes on."""
        with self._lock:
            self._missing.appendleft(number)
            if self._active == 1:
                return False
            self._active -= 1
            return True

    def _wait(self, busy: OriginBusy) -> None:
        self._waits += 1
        pause = busy.retry_after if busy.retry_after is not None else 2.0**self._waits
        if self._waits > _PAUSES or pause > _LONGEST_PAUSE_SECONDS:
            raise busy
        self._sleep(pause)


class _Worker:
    """Reads an origin over its own connection, and as few answers as will do."""

    def __init__(
        self,
        origin: Origin,
        upload: Upload,
        wire: Wire,
        stream: Stream | None,
        go_on: Callable[[], bool],
        sleep: Callable[[float], None],
    ) -> None:
        self._origin = origin
        self._version = upload.version
        self._wire = wire
        self._go_on = go_on
        self._sleep = sleep
        self._stream = stream

    @property
    def ranges_ignored(self) -> bool:
        return self._stream is not None and self._stream.ranges_ignored

    def fill(self, buffer: memoryview, *, at: int) -> bool:
        """Fills the whole buffer with the bytes from `at` on; False when it may not go on before that."""
        filled = fruitless = 0
        while filled < len(buffer):
            if not self._go_on():
                return False
            wanted = min(len(buffer) - filled, _READ_BYTES)
            count = self._read(buffer[filled:], wanted, at + filled)
            filled += count
            fruitless = 0 if count else fruitless + 1
            if count < wanted:
                self._hang_up()
                if fruitless == _FRUITLESS_CONNECTIONS:
                    raise ConnectionLost("the origin's bytes stopped, and new connections brought none")
                self._sleep(0.2 * 2**fruitless * (0.5 + random.random()))  # noqa: S311  # jitter
        return True

    def _read(self, buffer: memoryview, wanted: int, offset: int) -> int:
        """Bytes from `offset` on, fewer than wanted when the connection broke; what is opened goes on for the rest."""
        if self._stream is None or self._stream.position != offset or offset == self._stream.end:
            self._hang_up()
            try:
                self._stream = self._origin.open(self._wire, offset, offset + len(buffer), self._version)
            except ConnectionLost:
                return 0
        return self._stream.fill(buffer[:wanted])

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Ends the connection."""
        self._hang_up()
        self._wire.close()
