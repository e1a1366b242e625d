"""Gives a process the share of a processor that a small function has."""

import os
import signal
import time

PERIOD_SECONDS = 0.02  # over which Lambda hands out a function's share


class Governor:
    """Stops a process that has used up its share, and lets it go on in a later period.

    What is left at the end of a period is lost, as it is under the scheduler's quota. What was used beyond the share,
    between two looks, is paid back before the process goes on.
    """

    LOOK_SECONDS = 0.001

    def __init__(self, pid: int, share: float) -> None:
        """`pid`: leads a session of its own, and does all its work itself."""
        self._pid = pid
        self._clock = (~pid << 3) | 2  # the kernel's id for the time that a process of this id has used, in all threads
        self._allowance = share * PERIOD_SECONDS
        self._left = self._allowance
        self._used = 0.0
        self._stopped = False
        self._period_ends = time.monotonic() + PERIOD_SECONDS

    def look(self) -> None:
        """To be called every millisecond, or as soon as can be."""
        try:
            used = time.clock_gettime(self._clock)
        except OSError:
            return  # it has ended
        self._left -= used - self._used
        self._used = used
        while time.monotonic() >= self._period_ends:
            self._period_ends += PERIOD_SECONDS
            self._left = min(self._left + self._allowance, self._allowance)
        if self._stopped != (self._left <= 0):
            self._stopped = not self._stopped
            os.killpg(self._pid, signal.SIGSTOP if self._stopped else signal.SIGCONT)
