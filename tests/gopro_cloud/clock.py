"""The cloud's own clock: signed URLs and tokens expire by it, and a test can push it forward."""

from __future__ import annotations

import threading
import time


class Clock:
    """Real time plus an offset that only ever grows."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Unix time in seconds, as the cloud sees it."""
        with self._lock:
            return time.time() + self._ahead

    @property
    def ahead(self) -> float:
        """By how many seconds the cloud's clock is ahead of the real one."""
        with self._lock:
            return self._ahead

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; ValueError when they are negative."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        with self._lock:
            self._ahead += seconds

    def reset(self) -> None:
        with self._lock:
            self._ahead = 0.0
