"""How far a download is, reported while its bytes arrive so that people can watch."""

import threading
from collections.abc import Callable

from aws_lambda_powertools import Logger

from services.shared.clock import Clock
from services.shared.library.records import LaneProgress
from services.shared.logs import why

logger = Logger(child=True)

INTERVAL_SECONDS = 1.0  # the least time between two reports of a lane
_AFTER_FAILURE_SECONDS = 30.0  # the least time before the next report, when one could not be written


class ProgressReport:
    """Writes a lane's progress, at most once a second, and only when bytes have arrived since the last time.

    The transfer calls `look` when bytes have arrived, from all of its threads. One of them makes the write, while the
    others go on. A failed write is logged and costs the download nothing.
    """

    def __init__(
        self, measure: Callable[[], LaneProgress], write: Callable[[LaneProgress], None], clock: Clock
    ) -> None:
        """`measure` returns the progress now. `write` may raise anything."""
        self._measure = measure
        self._write = write
        self._clock = clock
        self._busy = threading.Lock()
        self._due = clock.monotonic() + INTERVAL_SECONDS  # a medium that takes less is not worth a write
        self._bytes: int | None = None  # in the last report
        self._waits_for = ""  # in the last report

    def look(self) -> None:
        """Write the progress if that is due and something has moved."""
        if self._clock.monotonic() >= self._due and self._busy.acquire(blocking=False):
            try:
                self._report("")
            finally:
                self._busy.release()

    def wait_for(self, what: str) -> None:
        """Write that the lane waits for something, unless the last report says so already."""
        with self._busy:
            self._report(what)

    def _report(self, waits_for: str) -> None:
        now = self._measure()
        if (now.bytes, waits_for) == (self._bytes, self._waits_for):
            return
        self._due = self._clock.monotonic() + INTERVAL_SECONDS
        self._bytes, self._waits_for = now.bytes, waits_for
        try:
            self._write(now.waiting_for(waits_for))
        except Exception as error:  # noqa: BLE001  # progress is for people: no error of it may end a download
            self._due += _AFTER_FAILURE_SECONDS
            logger.info("progress_not_written", why=why(error))
