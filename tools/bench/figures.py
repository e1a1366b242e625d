"""The measurements and their statistics: medians, and ratios of runs in the same round."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

GIB, MIB = 1 << 30, 1 << 20


@dataclass(frozen=True, kw_only=True)
class Run:
    """One transfer by one contestant."""

    scenario: str
    contestant: str
    round: int
    size: int  # bytes
    wall: float  # seconds
    cpu: float  # seconds
    rss: int  # bytes


Metric = Callable[[Run], float]


def cpu_per_gib(run: Run) -> float:
    return run.cpu * GIB / run.size


def wall_per_gib(run: Run) -> float:
    return run.wall * GIB / run.size


def speed(run: Run) -> float:
    """Return bytes per second."""
    return run.size / run.wall


def rss(run: Run) -> float:
    return run.rss


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The figures of all rounds. The median of many more would lie between `likely_low` and `likely_high`."""

    median: float
    low: float
    high: float
    likely_low: float
    likely_high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        if not values:
            return None
        ordered, outer = sorted(values), _outer(len(values))
        return cls(
            median=median(ordered),
            low=ordered[0],
            high=ordered[-1],
            likely_low=ordered[outer],
            likely_high=ordered[-1 - outer],
        )

    def scaled(self, factor: float) -> "Spread":
        """Return the same figures in another unit."""
        return Spread(
            median=self.median * factor,
            low=self.low * factor,
            high=self.high * factor,
            likely_low=self.likely_low * factor,
            likely_high=self.likely_high * factor,
        )


def _outer(count: int) -> int:
    """Return how many of the lowest figures (and of the highest) an interval for the median may leave out.

    The median lies outside it with a probability of at most 5 %, whatever the distribution: a figure is as often below
    the median as above it. Fewer than six figures leave out none, and are a little less sure.
    """
    outer, tail = 0, 1.0
    while 2 * (tail + comb(count, outer + 1)) / 2**count <= 0.05:
        outer += 1
        tail += comb(count, outer)
    return outer


class Figures:
    """All runs and the statistics over them. A statistic is None where its runs are missing."""

    def __init__(self, runs: Iterable[Run], *, lane_rate: float | None = None) -> None:
        """Take the runs, and as `lane_rate` the bytes per second of one connection to the slow source."""
        self._runs = {(run.scenario, run.contestant, run.round): run for run in runs}
        self.lane_rate = lane_rate

    def of(self, scenario: str, contestant: str, metric: Metric) -> Spread | None:
        return Spread.of([metric(run) for run in self._by_round(scenario, contestant).values()])

    def ratio(self, scenario: str, contestant: str, other: str, metric: Metric) -> Spread | None:
        """Return a contestant's figure divided by another's, for each round that has both.

        Other load on the machine affects both runs of a round alike.
        """
        ours, theirs = (self._by_round(scenario, name) for name in (contestant, other))
        return Spread.of([metric(ours[n]) / metric(theirs[n]) for n in sorted(ours.keys() & theirs.keys())])

    def lead(self, scenario: str, contestant: str, others: Sequence[str]) -> Spread | None:
        """Return, for each round, the speed as a multiple of the fastest other contestant's."""
        ours = self._by_round(scenario, contestant)
        theirs = [self._by_round(scenario, other) for other in others]
        fastest = {n: max((speed(runs[n]) for runs in theirs if n in runs), default=None) for n in ours}
        return Spread.of([speed(ours[n]) / best for n, best in sorted(fastest.items()) if best])

    def _by_round(self, scenario: str, contestant: str) -> dict[int, Run]:
        return {run.round: run for (s, c, _), run in self._runs.items() if (s, c) == (scenario, contestant)}
