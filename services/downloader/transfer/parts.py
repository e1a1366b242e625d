"""The copy of one file: fetches its parts from the origin, and uploads them to S3.

The parts are fetched over several connections at once into a few buffers, and uploaded from there. Buffering has two
advantages over streaming: a part that has to be uploaded again is not fetched again, and a slow origin never keeps S3
waiting. If there are fewer parts in memory than connections, as with small files or large parts, several connections
fetch a part together.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from services.downloader.transfer.bucket import MIB, Bucket, Limits, StoredObject, Upload
from services.downloader.transfer.errors import ConnectionLost, OriginBusy
from services.downloader.transfer.origin import Origin, Reader, Version

SMALLEST_SEGMENT = 2 * MIB  # bytes; a connection that fetches less spends most of its time waiting
_LOOK_BYTES = 1 << 20  # between two calls of `check`, so that a slow origin cannot outlast the caller's time
_WHOLE_FILE = 1 << 62  # bytes: no file is longer
_SPLIT_SECONDS = 1.0  # a segment that takes longer than this is worth splitting
_RETRY_SECONDS = 0.1  # between two looks, while the file waits for a connection or memory of the lane
_PAUSES = 3  # of the lane's last connection, while the origin is busy
_MOST_LOST = 4  # failures in a row of the file's only connection, while other files have connections
_LONGEST_PAUSE_SECONDS = 30.0  # if the origin asks for a longer one, the error is raised


@dataclass(kw_only=True)
class _Part:
    """A part that is being fetched or uploaded."""

    number: int
    offset: int  # in the file
    buffer: bytearray
    segments_left: int  # not fetched completely yet
    begun: float = field(default_factory=time.monotonic)


@dataclass(kw_only=True)
class _Segment:
    """The bytes of a part that one connection still has to fetch: from `first` up to `end` within the part."""

    part: _Part
    first: int
    end: int
    begun: tuple[float, int] = (0.0, 0)  # when the current connection began with it, and at which byte

    @property
    def left(self) -> int:
        """The bytes that are still to be fetched."""
        return self.end - self.first

    @property
    def seconds_left(self) -> float:
        """The seconds that the rest will take at the current rate."""
        since, first = self.begun
        return self.left * (time.monotonic() - since) / max(1, self.first - first)


class _Stopped(Exception):
    """Another thread has met an error that ends the transfer."""


class PartsTransfer:
    """Fetches and uploads the parts that an upload lacks."""

    def __init__(
        self,
        origin: Origin,
        bucket: Bucket,
        upload: Upload,
        *,
        limits: Limits,
        check: Callable[[float], None],
        sleep: Callable[[float], None],
        on_bytes: Callable[[], None] = lambda: None,
    ) -> None:
        self._origin = origin
        self._pool = origin.connections
        self._bucket = bucket
        self._upload = upload
        self._limits = limits
        self._buffer_size = min(upload.part_size, upload.version.size)
        self._connections = limits.connections  # the most that this file may use
        self._check = check
        self._sleep = sleep
        self._on_bytes = on_bytes
        self._changed = threading.Condition()  # guards the attributes below
        self._missing = deque(n for n in range(1, upload.part_count + 1) if n not in upload.parts)
        self._segments: deque[_Segment] = deque()  # of the parts in hand; no connection fetches them now
        self._fetching: list[_Segment] = []
        self._in_hand = 0
        self._buffers: list[bytearray] = []  # used ones, for the next parts
        self._reserved = 0  # number of buffers for which memory of the lane is reserved
        self._idle: list[Reader] = []
        self._threads: list[threading.Thread] = []  # besides the caller's
        self._useful_threads = 0
        self._seen_count = self._pool.count
        self._slowest = 0.0
        self._waits = 0
        self._lost = 0  # failures in a row of the file's only connection
        self._error: BaseException | None = None  # ends the transfer

    def run(self, reader: Reader) -> None:
        """Fetch and upload all missing parts. `reader`: a reader that was opened at byte 0.

        Raises the first error of any thread, once all threads have ended.
        """
        self._idle.append(reader)
        self._upload.lacking = self._lacking
        lengths = (self._upload.length_of(number) for number in self._missing)
        useful = sum(max(1, -(-length // SMALLEST_SEGMENT)) for length in lengths)
        self._connections = min(self._connections, max(1, useful))
        if reader.ranges_ignored or not self._upload.version.etag:
            self._connections = 1  # without ETags, several answers may be of different versions
        self._useful_threads = useful
        self._start_threads()
        self._work()
        for thread in self._threads:  # a running thread may still add others
            thread.join()
        self._threads.clear()
        self._upload.lacking = None  # the upload outlives the transfer, whose buffers are large
        self._buffers.clear()
        self._pool.release(self._reserved * self._buffer_size)
        while self._idle:
            self._idle.pop().close()
        error, self._error = self._error, None
        try:
            if error:
                raise error
        finally:
            del error  # the error's frames keep the buffers alive

    def _lacking(self) -> int:
        """Return the bytes that have not arrived yet."""
        with self._changed:
            parts = sum(self._upload.length_of(number) for number in self._missing)
            return parts + sum(segment.left for segment in (*self._segments, *self._fetching))

    def _start_threads(self) -> None:
        """Start as many threads as the current number of connections needs.

        There are more threads than connections, because a thread that uploads a part leaves its connection to another.
        Idle threads would cost time.
        """
        connections = min(self._pool.count, self._connections)
        needed = max(connections, self._limits.parts_in_hand(self._upload.part_size, connections=connections))
        with suppress(RuntimeError):  # no memory for more threads: work with fewer
            while len(self._threads) < min(needed, self._useful_threads) - 1:
                thread = threading.Thread(target=self._work, name="part", daemon=True)
                thread.start()
                self._threads.append(thread)

    def _work(self) -> None:
        try:
            while self._do_next():
                pass
        except BaseException as error:  # noqa: BLE001  # raised again by `run`
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _do_next(self) -> bool:
        """Fetch a segment, and upload its part if that is complete. Returns False when nothing is left to do."""
        taken = self._next()
        if taken is None:
            return False
        segment, reader = taken
        if self._fetch(segment, reader) and self._completes_its_part(segment):
            self._bucket.put_part(self._upload, segment.part.number, segment.part.buffer)
            self._note_stored(segment.part)
        return True

    # ── What to fetch, and over which connection ─────────────────────────────────────────────────────────────────────

    def _next(self) -> tuple[_Segment, Reader] | None:
        """Return the next segment and a reader for it. Returns None when none is left, or after an error."""
        with self._changed:
            while self._error is None and (self._segments or self._missing or self._fetching):
                if len(self._fetching) < self._connections and self._has_reader() and self._has_segment():
                    segment = self._segments.popleft()
                    segment.begun = time.monotonic(), segment.first
                    self._fetching.append(segment)
                    return segment, self._idle.pop()
                self._close_idle()
                # Nothing signals that another file gave something back, or that a connection became slow: look again.
                if not self._changed.wait(_SPLIT_SECONDS if self._fetching else _RETRY_SECONDS):
                    self._look()
            return None

    def _has_reader(self) -> bool:
        """Return whether there is an idle reader. Makes one if the lane has a connection for it."""
        if not self._idle and (connection := self._pool.take_another(first=not self._fetching)):
            self._idle.append(Reader(self._origin, connection, self._upload.version, sleep=self._sleep))
        return bool(self._idle)

    def _close_idle(self) -> None:
        """Close idle readers if nothing is left to fetch, or if other files need their connections."""
        while self._idle and (
            self._own > self._connections
            or not (self._segments or self._missing or self._fetching)
            or (self._pool.is_short and (self._own > 1 or self._pool.in_use > self._pool.count))
        ):
            self._idle.pop(0).close()

    @property
    def _own(self) -> int:
        """The number of connections that the file has."""
        return len(self._fetching) + len(self._idle)

    def _has_segment(self) -> bool:
        """Return whether there is a segment to fetch. If needed and possible, begins a part or splits a segment."""
        if self._segments:
            return True
        allowed = self._limits.parts_in_hand(self._upload.part_size, connections=self._pool.count)
        if self._missing and self._in_hand < allowed and (self._buffers or self._reserve()):
            self._check(self._slowest)
            self._begin_part()
            self._changed.notify_all()
        elif not self._missing:
            self._split()
        return bool(self._segments)

    def _reserve(self) -> bool:
        reserved = self._pool.reserve(self._buffer_size, first=not self._reserved)
        self._reserved += reserved
        return reserved

    def _begin_part(self) -> None:
        """Begin the next part, cut into enough segments that all connections have work."""
        number = self._missing.popleft()
        length = self._upload.length_of(number)
        most_in_hand = self._limits.parts_in_hand(self._upload.part_size)
        at_once = min(most_in_hand, self._in_hand + 1 + len(self._missing))
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
        """Return a buffer. Prefers a used one, whose pages the system has mapped already."""
        used = self._buffers.pop() if self._buffers else None
        if used is not None and len(used) == length:
            return used
        del used  # frees its memory before the next one is allocated
        return bytearray(length)

    def _split(self) -> None:
        """Split the segment that will take longest, so that a slow connection doesn't keep the others waiting.

        Bytes of the second half that are already on their way are lost. So a segment is split only if that saves much
        time.
        """
        large = [segment for segment in self._fetching if segment.left >= 2 * SMALLEST_SEGMENT]
        longest = max(large, key=lambda segment: segment.seconds_left, default=None)
        if longest is None or longest.seconds_left < _SPLIT_SECONDS:
            return
        middle = longest.end - longest.left // 2
        self._segments.append(_Segment(part=longest.part, first=middle, end=longest.end))
        longest.end = middle
        longest.part.segments_left += 1

    # ── Fetching ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fetch(self, segment: _Segment, reader: Reader) -> bool:
        """Fetch a segment. Returns False if it ended early: another connection has to fetch the rest."""
        part, flows = segment.part, False
        try:
            while segment.left > 0:
                self._look()
                if self._hands_back(reader):
                    break
                end = min(segment.end, segment.first + _LOOK_BYTES)
                target = memoryview(part.buffer)[segment.first : end]
                until = part.offset + segment.end if self._upload.version.etag else self._upload.version.size
                count = reader.read(target, at=part.offset + segment.first, end=until)
                segment.first += count
                if count:
                    self._pool.note(count, flowing=0 if flows else 1)
                    flows = True
                    self._use_more()
                    self._on_bytes()
        except (OriginBusy, ConnectionLost) as error:
            self._give_way(error)
        finally:
            if flows:
                self._pool.note(flowing=-1)
            self._put_back(segment, reader)
        return segment.left <= 0

    def _use_more(self) -> None:
        """Start more threads if more connections may be used than before."""
        if self._pool.count != self._seen_count:
            with self._changed:
                self._seen_count = self._pool.count
                self._start_threads()
                self._changed.notify_all()

    def _look(self) -> None:
        if self._error is not None:
            raise _Stopped
        self._check(0.0)

    def _hands_back(self, reader: Reader) -> bool:
        """Give back a reader's connection if the lane needs it and the file has another. Returns whether it did."""
        if not self._pool.is_short:
            return False
        with self._changed:
            if self._own == 1 or not self._pool.is_short:
                return False
            reader.close()
            return True

    def _put_back(self, segment: _Segment, reader: Reader) -> None:
        with self._changed:
            self._fetching.remove(segment)
            if segment.left > 0:
                self._segments.appendleft(segment)
            if reader.ranges_ignored:
                # Every other connection would fetch the whole file for each segment.
                self._connections = 1
            if not reader.closed:
                self._idle.append(reader)
            self._close_idle()
            self._changed.notify_all()

    def _give_way(self, error: OriginBusy | ConnectionLost) -> None:
        """Use one connection fewer for an origin that is busy or slow.

        The lane's last connection waits for a busy origin instead. Raises the error when waiting has not helped, or
        when no other connection is left.
        """
        if not isinstance(error, OriginBusy):
            self._lost += self._own == 1
            if self._pool.in_use == 1 or self._lost == _MOST_LOST:
                raise error
            self._pool.give_way()
        elif not self._pool.give_way():
            self._waits += 1
            pause = error.retry_after if error.retry_after is not None else 2.0**self._waits
            if self._waits > _PAUSES or pause > _LONGEST_PAUSE_SECONDS:
                raise error
            self._sleep(pause)

    # ── Uploading ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _completes_its_part(self, segment: _Segment) -> bool:
        with self._changed:
            segment.part.segments_left -= 1
            return segment.part.segments_left == 0

    def _note_stored(self, part: _Part) -> None:
        with self._changed:
            self._slowest = max(self._slowest, time.monotonic() - part.begun)
            self._waits = self._lost = 0
            self._in_hand -= 1
            if self._pool.is_hungry:
                self._reserved -= 1
                self._pool.release(self._buffer_size)
            else:
                self._buffers.append(part.buffer)
            self._changed.notify_all()


@dataclass(frozen=True, kw_only=True)
class Source:
    """An open origin. Its version is known before anything is uploaded."""

    origin: Origin
    version: Version
    reader: Reader
    check: Callable[[float], None]
    sleep: Callable[[float], None]
    on_bytes: Callable[[], None]

    def copy(self, bucket: Bucket, upload: Upload, *, limits: Limits) -> StoredObject:
        """Store the parts that an upload lacks, and complete it. Returns the stored object.

        A broken connection resumes at the byte where it broke. If the copy ends early, S3 keeps the parts stored so
        far. Raises `TransferError`, botocore's errors, and what `check` or the origin's callables raise.
        """
        transfer = PartsTransfer(
            self.origin, bucket, upload, limits=limits, check=self.check, sleep=self.sleep, on_bytes=self.on_bytes
        )
        transfer.run(self.reader)
        if upload.stored is None:
            self.check(0.0)  # is there time? S3 may take minutes to complete the upload
        return bucket.complete(upload)


def read_version(
    origin: Origin,
    *,
    check: Callable[[float], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Version:
    """Return the version of a file at its origin, from a request for its first byte. Raises `TransferError`."""
    connection = origin.connections.take(partial(check, 0.0))
    with closing(Reader(origin, connection, sleep=sleep)) as reader:
        version = reader.begin(1)
        reader.read(memoryview(bytearray(1)), at=0, end=1)  # reading the answer to its end keeps the connection open
        return version


@contextmanager
def open_source(
    origin: Origin,
    *,
    check: Callable[[float], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    on_bytes: Callable[[], None] = lambda: None,
) -> Iterator[Source]:
    """Open an origin in order to copy it at once. Raises `TransferError`.

    `check` is called before each part, with the seconds that the slowest part took so far, and with 0 while a part is
    fetched. It may raise to end the copy, for example when time is nearly over. `on_bytes` is called from any thread
    when bytes have arrived, without a lock held, and must not raise.
    """
    origin.begin()
    connection = origin.connections.take(partial(check, 0.0))
    with closing(Reader(origin, connection, sleep=sleep)) as reader:
        # The first request also finds the version. It asks for no more than the first connection has to fetch. If the
        # ETags are useless, it asks for the whole file, because a single answer has a single version.
        version = reader.begin(_WHOLE_FILE if origin.contradicts_itself else SMALLEST_SEGMENT)
        yield Source(origin=origin, version=version, reader=reader, check=check, sleep=sleep, on_bytes=on_bytes)
