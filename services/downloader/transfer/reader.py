"""Reads an origin over one connection, with as few requests as will do, and goes on where a connection broke."""

import random
import time
from collections.abc import Callable

from services.downloader.transfer.origin import Origin, OriginFailed, Stream, Version
from services.downloader.transfer.wire import ConnectionLost

_FRUITLESS_REQUESTS = 4  # in a row, before the origin is given up for this try
_LOOK_BYTES = 1 << 20  # between two looks at whether to go on, so that no slow source outlasts its slice of time


class Reader:
    """Not for several threads at once; to be closed."""

    def __init__(
        self,
        origin: Origin,
        version: Version | None = None,
        *,
        may_go_on: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`version`: what to insist on; without one, that of the first answer."""
        self._origin = origin
        self._version = version
        self._may_go_on = may_go_on
        self._sleep = sleep
        self._wire = origin.wires.take()
        self._stream: Stream | None = None
        self._fruitless = 0
        self._closed = False

    def begin(self, end: int) -> Version:
        """The origin's version, by opening it from its first byte up to `end`, which are read next."""
        stream = None
        while stream is None:
            stream = self._open(0, end)
        return stream.version

    @property
    def ranges_ignored(self) -> bool:
        """Whether the server sends the whole file whatever part of it is asked for."""
        return self._stream is not None and self._stream.ranges_ignored

    def fill(self, buffer: memoryview, *, at: int) -> bool:
        """Fills the whole buffer with the origin's bytes from `at` on; False when it may not go on before that.

        Raises `OriginChanged`, `OriginBusy` and other transient errors.
        """
        filled = 0
        while filled < len(buffer):
            if not self._may_go_on():
                return False
            filled += self._read(buffer[filled : filled + _LOOK_BYTES], at + filled, at + len(buffer))
        return True

    def _read(self, target: memoryview, offset: int, end: int) -> int:
        """How many bytes from `offset` on are in `target` now; the file is asked for up to `end` where it has to be."""
        stream = self._stream
        if stream is None or not stream.leads_to(offset):
            self._hang_up()
            stream = self._open(offset, end)
            if stream is None:
                return 0
        # A server that knows no ranges sends what is known already once more.
        known = offset - stream.position
        target = target[: min(known or len(target), stream.end - stream.position)]
        count = stream.fill(target)
        if count < len(target):
            fruitful = count and not known and not stream.stalled
            self._stumble(ConnectionLost("the origin's bytes kept stopping"), fruitless=not fruitful)
        elif not known and stream.position == stream.end:
            self._fruitless = 0
        return 0 if known else count

    def _open(self, first: int, end: int) -> Stream | None:
        """None when the origin failed, not for the last time."""
        try:
            self._stream = self._origin.open(self._wire, first, end, self._version)
        except (ConnectionLost, OriginFailed) as error:
            self._stumble(error)
            return None
        self._version = self._stream.version
        return self._stream

    def _stumble(self, error: Exception, *, fruitless: bool = True) -> None:
        """Ends the connection and waits a little before the next one; raises the error after too many in a row."""
        self._hang_up()
        self._fruitless = self._fruitless + 1 if fruitless else 0
        if self._fruitless >= _FRUITLESS_REQUESTS:
            raise error
        self._sleep(0.2 * 2**self._fruitless * (0.5 + random.random()))  # noqa: S311  # jitter

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Hands the connection on; it's kept where its last answer was read to the end. Again does nothing."""
        self._hang_up()
        if not self._closed:
            self._closed = True
            self._origin.wires.give_back(self._wire)
