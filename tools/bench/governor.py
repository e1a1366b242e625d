"""Limits a process to the share of a processor that a small function has."""

import os
import signal
import time

PERIOD_SECONDS = 0.02  # Lambda's scheduling period for a function's share


class Governor:
    """Stops a process that has used up its share, and resumes it in a later period.

    Unused time is lost at the end of a period, as under the scheduler's quota. Overuse between two looks is deducted
    before the process resumes.
    """

    LOOK_SECONDS = 0.001

    def __init__(self, pid: int, share: float) -> None:
        """Take the process, which leads its own session and does all its work itself."""
        self._pid = pid
        self._clock = (~pid << 3) | 2  # the kernel's clock id for the CPU time of a process, all threads included
        self._allowance = share * PERIOD_SECONDS
        self._left = self._allowance
        self._used = 0.0
        self._stopped = False
        self._period_ends = time.monotonic() + PERIOD_SECONDS

    def look(self) -> None:
        """Stop or resume the process as needed. Call every millisecond, or as often as possible."""
        try:
            used = time.clock_gettime(self._clock)
        except OSError:
            return  # the process has ended
        self._left -= used - self._used
        self._used = used
        while time.monotonic() >= self._period_ends:
            self._period_ends += PERIOD_SECONDS
            self._left = min(self._left + self._allowance, self._allowance)
        if self._stopped != (self._left <= 0):
            self._stopped = not self._stopped
            os.killpg(self._pid, signal.SIGSTOP if self._stopped else signal.SIGCONT)
