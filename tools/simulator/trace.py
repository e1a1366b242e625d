"""The history of a run, effect by effect."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from tools.simulator.virtual import Scheduler


class Trace:
    """A row for each effect: time, actor, operation, subject, and the outcome unless it was plain success."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._rows: list[tuple[float, str, str, str, str]] = []
        self.reached: Counter[str] = Counter()

    def add(self, operation: str, subject: str, outcome: str) -> None:
        scheduler = self._scheduler
        who = scheduler.current.process.name if scheduler.current else "world"
        self._rows.append((scheduler.now, who, operation, subject, outcome))

    def reach(self, scenario: str) -> None:
        """Count a scenario that the simulation is meant to reach."""
        self.reached[scenario] += 1

    @property
    def rows(self) -> Sequence[tuple[float, str, str, str, str]]:
        """Return the time, actor, operation, subject and outcome of each effect."""
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def lines(self) -> list[str]:
        return [
            f"{datetime.fromtimestamp(when, UTC):%d %H:%M:%S.%f}"[:-3]
            + f"  {who:<18} {operation:<34} {subject}"
            + (f"  → {outcome}" if outcome else "")
            for when, who, operation, subject, outcome in self._rows
        ]

    def digest(self) -> str:
        """Return a digest of the history; equal runs have equal digests."""
        return hashlib.sha256(repr(self._rows).encode()).hexdigest()[:16]
