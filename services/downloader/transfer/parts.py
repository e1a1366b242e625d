"""The parts of an upload, filled from an origin: several connections at once, into few buffers that are used again.

Buffered, not passed through: a part that has to be sent again is not fetched again, and a slow origin never keeps S3
waiting. A part is fetched by one connection, or by several where the memory has room for fewer parts than there are
connections, as with small files and with large parts.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

from services.downloader.transfer.bucket import Bucket, Upload
from services.downloader.transfer.limits import MIB, Limits
from services.downloader.transfer.origin import Origin, OriginBusy
from services.downloader.transfer.reader import Reader

SMALLEST_SEGMENT = 2 * MIB  # below that a connection is more waiting than bytes
_PAUSES = 3  # that the last connection makes for an origin that is busy
_LONGEST_PAUSE_SECONDS = 30.0  # longer ones are the message's own to wait


@dataclass(kw_only=True)
class _Part:
    """A part in hand."""

    number: int
    offset: int  # in the file
    buffer: bytearray
    segments_left: int
    begun: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class _Segment:
    """What one connection fetches of a part: bytes from `first` up to `end` within it."""

    part: _Part
    first: int
    end: int


class PartsTransfer:
    """Stores the parts that an upload lacks."""

    def __init__(
        self,
        origin: Origin,
        bucket: Bucket,
        upload: Upload,
        *,
        limits: Limits,
        may_go_on: Callable[[float], bool],
        progress: Callable[[Upload], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._origin = origin
        self._bucket = bucket
        self._upload = upload
        self._connections = limits.connections
        self._most_in_hand = limits.parts_in_hand(upload.part_size)
        self._may_go_on = may_go_on
        self._progress = progress
        self._sleep = sleep
        self._changed = threading.Condition()  # guards all that follows
        self._missing = deque(n for n in range(1, upload.part_count + 1) if n not in upload.parts)
        self._segments: deque[_Segment] = deque()  # of the parts in hand, still to be fetched
        self._in_hand = 0
        self._buffers: list[bytearray] = []  # to be used again
        self._idle: list[Reader] = []
        self._reading = 0
        self._slowest = 0.0
        self._waits = 0
        self._ended = False  # whether no further segment is to be begun
        self._error: BaseException | None = None

    def run(self, reader: Reader) -> bool:
        """Works until nothing is missing (True) or `may_go_on` says no.

        `reader`: one that has begun at byte 0.
        """
        self._idle.append(reader)
        lengths = (self._upload.length_of(number) for number in self._missing)
        useful = sum(max(1, -(-length // SMALLEST_SEGMENT)) for length in lengths)
        self._connections = 1 if reader.ranges_ignored else min(self._connections, max(1, useful))
        # More than there are connections, for a worker that sends a part leaves its connection to another.
        most = min(useful, max(self._connections, self._most_in_hand))
        threads = []
        with suppress(RuntimeError):  # no room for more threads: then fewer do it
            for _ in range(most - 1):
                thread = threading.Thread(target=self._work, name="part", daemon=True)
                thread.start()
                threads.append(thread)
        self._work()
        for thread in threads:
            thread.join()
        self._buffers.clear()
        while self._idle:
            self._idle.pop().close()
        error, self._error = self._error, None
        try:
            if error:
                raise error
        finally:
            del error  # what the error's frames hold, such as buffers, goes with it
        return self._upload.is_filled

    def _work(self) -> None:
        try:
            while self._do_next():
                pass
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits for all
            with self._changed:
                self._error = self._error or error
                self._ended = True
                self._changed.notify_all()

    def _do_next(self) -> bool:
        """Fetches a segment, and sends its part if it was the last of it; False when there are no more."""
        taken = self._next()
        if taken is None:
            return False
        segment, reader = taken
        if self._fetched(segment, reader) and self._fills_its_part(segment):
            self._bucket.put_part(self._upload, segment.part.number, segment.part.buffer)
            self._stored(segment.part)
        return True

    def _next(self) -> tuple[_Segment, Reader] | None:
        """The segment to fetch next, and who does it; None when there are no more."""
        with self._changed:
            while not self._ended and (self._segments or self._missing):
                if self._reading < self._connections:
                    if self._segments:
                        self._reading += 1
                        return self._segments.popleft(), self._reader()
                    if self._in_hand < self._most_in_hand:
                        if self._may_go_on(self._slowest):
                            self._begin_part()
                        else:
                            self._ended = True
                        self._changed.notify_all()
                        continue
                self._changed.wait()
            return None

    def _begin_part(self) -> None:
        """Takes a part in hand and cuts it so that all connections have something to do."""
        number = self._missing.popleft()
        length = self._upload.length_of(number)
        at_once = min(self._most_in_hand, self._in_hand + 1 + len(self._missing))
        size = max(SMALLEST_SEGMENT, -(-length // -(-self._connections // at_once)))
        edges = [*range(0, max(1, length), size), length]
        part = _Part(
            number=number,
            offset=(number - 1) * self._upload.part_size,
            buffer=self._buffer(length),
            segments_left=len(edges) - 1,
        )
        self._in_hand += 1
        self._segments.extend(_Segment(part=part, first=first, end=end) for first, end in pairwise(edges))

    def _buffer(self, length: int) -> bytearray:
        """One that was used before, if there is one; its pages need not be brought in again."""
        used = self._buffers.pop() if self._buffers else None
        if used is not None and len(used) == length:
            return used
        del used  # before another takes its place
        return bytearray(length)

    def _fetched(self, segment: _Segment, reader: Reader) -> bool:
        """Whether the segment's bytes are in its part now; if not, it's to be done again or the transfer has ended."""
        target = memoryview(segment.part.buffer)[segment.first : segment.end]
        try:
            done = reader.fill(target, at=segment.part.offset + segment.first)
            self._ended = self._ended or not done
        except OriginBusy as busy:
            self._give_way(busy)
            self._segments.appendleft(segment)
            return False
        finally:
            self._put_back(reader)
        return done

    def _reader(self) -> Reader:
        if self._idle:
            return self._idle.pop()
        return Reader(self._origin, self._upload.version, may_go_on=self._go_on, sleep=self._sleep)

    def _put_back(self, reader: Reader) -> None:
        with self._changed:
            self._reading -= 1
            self._idle.append(reader)
            if reader.ranges_ignored:
                # Every other one would fetch the whole file for a part of it.
                self._connections = 1
            while len(self._idle) > max(0, self._connections - self._reading):
                self._idle.pop(0).close()
            self._changed.notify_all()

    def _go_on(self) -> bool:
        return not self._ended and self._may_go_on(0.0)

    def _give_way(self, busy: OriginBusy) -> None:
        """An origin that is busy gets one connection fewer; with the last one it's waited for."""
        with self._changed:
            if self._connections > 1 and self._reading > 1:
                self._connections -= 1
                return
            self._waits += 1
            pause = busy.retry_after if busy.retry_after is not None else 2.0**self._waits
            if self._waits > _PAUSES or pause > _LONGEST_PAUSE_SECONDS:
                raise busy
        self._sleep(pause)

    def _fills_its_part(self, segment: _Segment) -> bool:
        with self._changed:
            segment.part.segments_left -= 1
            return segment.part.segments_left == 0

    def _stored(self, part: _Part) -> None:
        with self._changed:
            self._slowest = max(self._slowest, time.monotonic() - part.begun)
            self._waits = 0
            self._in_hand -= 1
            self._buffers.append(part.buffer)
            self._progress(self._upload)
            self._changed.notify_all()
