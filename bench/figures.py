"""What was measured, and what it comes to: medians, and ratios of runs of the same round."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    """Bytes a second."""
    return run.size / run.wall


def rss(run: Run) -> float:
    return run.rss


@dataclass(frozen=True, kw_only=True)
class Spread:
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        return cls(median=median(values), low=min(values), high=max(values)) if values else None


class Figures:
    """The runs, to be asked for. An answer is None where nothing was measured that it could come from."""

    def __init__(self, runs: Iterable[Run], *, lane_rate: float | None = None) -> None:
        """`lane_rate`: bytes a second of one connection to the slow source."""
        self._runs = {(run.scenario, run.contestant, run.round): run for run in runs}
        self.lane_rate = lane_rate

    def of(self, scenario: str, contestant: str, metric: Metric) -> Spread | None:
        return Spread.of([metric(run) for run in self._by_round(scenario, contestant).values()])

    def ratio(self, scenario: str, contestant: str, other: str, metric: Metric) -> Spread | None:
        """A contestant's figure by another's, for each round that has both: what else went on weighs on both alike."""
        ours, theirs = (self._by_round(scenario, name) for name in (contestant, other))
        return Spread.of([metric(ours[n]) / metric(theirs[n]) for n in sorted(ours.keys() & theirs.keys())])

    def lead(self, scenario: str, contestant: str, others: Sequence[str]) -> Spread | None:
        """How many times as fast as the fastest of the others, for each round."""
        ours = self._by_round(scenario, contestant)
        theirs = [self._by_round(scenario, other) for other in others]
        fastest = {n: max((speed(runs[n]) for runs in theirs if n in runs), default=None) for n in ours}
        return Spread.of([speed(ours[n]) / best for n, best in sorted(fastest.items()) if best])

    def _by_round(self, scenario: str, contestant: str) -> dict[int, Run]:
        return {run.round: run for (s, c, _), run in self._runs.items() if (s, c) == (scenario, contestant)}
