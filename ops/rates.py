"""How fast bytes arrive, as somebody sees who looks at their number now and then. No clock and no AWS."""

from collections import deque
from collections.abc import Mapping

WINDOW_SECONDS = 10.0  # over which a rate is measured
_LEAST_SECONDS = 1.0  # a shorter time says nothing
SILENT_SECONDS = 4.0  # a lane reports every second, so after this time without news it stands still


class Rate:
    """The rate at which a count of bytes grows.

    A count that did not change says nothing of the time since: the next report is only not here yet. So the rate is
    measured from one change to another.
    """

    def __init__(self) -> None:
        self._changes: deque[tuple[float, int]] = deque()  # (when, count), oldest first
        self._seen = 0.0  # when the last change was seen, by the clock of who looks

    def note(self, count: int, *, at: float, seen: float) -> None:
        """Note a count that was true `at` a moment by its writer's clock, and was `seen` by another one's; in seconds.

        A smaller count than before begins anew, and so does one after a long silence.
        """
        if self._changes and (count < self._changes[-1][1] or at - self._changes[-1][0] >= WINDOW_SECONDS):
            self._changes.clear()
        if not self._changes or count > self._changes[-1][1]:
            self._changes.append((at, count))
            self._seen = seen
        while len(self._changes) > 2 and at - self._changes[1][0] >= WINDOW_SECONDS:  # noqa: PLR2004 - a rate needs two
            self._changes.popleft()

    def silence(self, now: float) -> float:
        """Return for how many seconds nothing has come; 0 before the first bytes."""
        return now - self._seen if self._changes else 0.0

    def per_second(self, now: float) -> float | None:
        """Return the bytes per second. None while too little is known; 0 where nothing has come for long."""
        silence = self.silence(now)
        if silence >= WINDOW_SECONDS:
            return 0.0
        if len(self._changes) < 2:  # noqa: PLR2004 - a rate needs two
            return None
        (began, first), (ended, last) = self._changes[0], self._changes[-1]
        seconds = ended - began + (silence if silence >= SILENT_SECONDS else 0.0)
        return (last - first) / seconds if seconds >= _LEAST_SECONDS else None


class Rates:
    """The rates of the media of a sync, and of all together."""

    def __init__(self) -> None:
        self._of: dict[str, Rate] = {}
        self._most: dict[str, int] = {}  # the most bytes that were seen of each medium
        self._total = Rate()
        self._counted = 0  # before the first byte, no time counts

    def note(self, arrived: Mapping[str, int], moments: Mapping[str, float], *, now: float) -> None:
        """Note the bytes that have arrived, by medium, and when that was true where a worker says so."""
        for medium, count in arrived.items():
            self._most[medium] = max(count, self._most.get(medium, 0))
            if medium in moments:
                self._of.setdefault(medium, Rate()).note(count, at=moments[medium], seen=now)
        for medium in self._of.keys() - moments.keys():
            del self._of[medium]
        # A medium that fails, or that is for a moment in neither table, takes no bytes back from the total.
        total = sum(self._most.values())
        if total != self._counted:
            self._counted = total
            self._total.note(total, at=now, seen=now)

    def of(self, medium: str) -> Rate:
        """Return the rate of a medium."""
        return self._of.get(medium) or Rate()

    @property
    def total(self) -> Rate:
        """The rate of all media together."""
        return self._total
