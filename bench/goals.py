"""What the transfer is to reach, and whether it did. The limits stand here and nowhere else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from bench.figures import MIB, Figures, Metric, Spread, cpu_per_gib, rss, speed, wall_per_gib
from bench.kit import LANE_MEGABITS
from bench.scenarios import (
    CONNECTIONS,
    COPYURL,
    LANES,
    MEMORY,
    NAIVE,
    OURS_COLD,
    OURS_WARM,
    RELAY,
    SINGLE_CONNECTION,
    SMALL,
    STREAMS,
    UNLIMITED,
)

Measure = Callable[[Figures], Spread | None]


class Verdict(Enum):
    MET = "met"
    MISSED = "missed"
    UNKNOWN = "not measured"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`measure` gives a figure in `unit`; `limit` bounds its median, from above unless `at_least` says so."""

    name: str
    scenario: str
    contestants: Sequence[str]  # without whom it can't be told
    measure: Measure
    limit: float
    unit: str = ""  # of a ratio there is none
    at_least: bool = False
    strive: float | None = None  # what would be better still

    def verdict(self, spread: Spread | None) -> Verdict:
        if spread is None:
            return Verdict.UNKNOWN
        met = spread.median >= self.limit if self.at_least else spread.median <= self.limit
        return Verdict.MET if met else Verdict.MISSED


@dataclass(frozen=True, kw_only=True)
class Outcome:
    goal: Goal
    spread: Spread | None
    verdict: Verdict
    why: str = ""  # it could not be told


def judge(figures: Figures, absent: Mapping[tuple[str, str], str]) -> list[Outcome]:
    """The outcome of every goal. `absent`: why a contestant of a scenario has no figures."""
    return [_outcome(goal, figures, absent) for goal in GOALS]


def _outcome(goal: Goal, figures: Figures, absent: Mapping[tuple[str, str], str]) -> Outcome:
    reasons = [
        f"{name}: {reason}" for name in goal.contestants if (reason := absent.get((goal.scenario, name))) is not None
    ]
    # What one that failed along the way did before that is no figure to judge by.
    spread = None if reasons else goal.measure(figures)
    why = "; ".join(reasons) or "the scenario was not run"
    return Outcome(goal=goal, spread=spread, verdict=goal.verdict(spread), why="" if spread else why)


def _ratio(scenario: str, other: str, metric: Metric) -> Measure:
    return lambda figures: figures.ratio(scenario, OURS_WARM, other, metric)


def _lead(scenario: str, others: Sequence[str]) -> Measure:
    return lambda figures: figures.lead(scenario, OURS_WARM, others)


def _scaled(spread: Spread | None, factor: float) -> Spread | None:
    return spread and Spread(median=spread.median * factor, low=spread.low * factor, high=spread.high * factor)


def _percent_of_all_lanes(figures: Figures) -> Spread | None:
    if figures.lane_rate is None:
        return None
    return _scaled(figures.of(LANES, OURS_WARM, speed), 100 / (CONNECTIONS * figures.lane_rate))


def _peak_mib(figures: Figures) -> Spread | None:
    return _scaled(figures.of(MEMORY, OURS_COLD, rss), 1 / MIB)


GOALS: Sequence[Goal] = (
    Goal(
        name="CPU per GiB, of the C relay's",
        scenario=UNLIMITED,
        contestants=(OURS_WARM, RELAY),
        measure=_ratio(UNLIMITED, RELAY, cpu_per_gib),
        limit=1.35,
        strive=1.15,
    ),
    Goal(
        name="CPU per GiB, of rclone copyurl's",
        scenario=UNLIMITED,
        contestants=(OURS_WARM, COPYURL),
        measure=_ratio(UNLIMITED, COPYURL, cpu_per_gib),
        limit=0.75,
    ),
    Goal(
        name="CPU per GiB, of naive boto3's",
        scenario=UNLIMITED,
        contestants=(OURS_WARM, NAIVE),
        measure=_ratio(UNLIMITED, NAIVE, cpu_per_gib),
        limit=0.60,
    ),
    Goal(
        name="time, of the C relay's",
        scenario=UNLIMITED,
        contestants=(OURS_WARM, RELAY),
        measure=_ratio(UNLIMITED, RELAY, wall_per_gib),
        limit=1.35,
    ),
    Goal(
        name=f"speed, of the ideal {CONNECTIONS} lanes of {LANE_MEGABITS} Mbit/s",
        scenario=LANES,
        contestants=(OURS_WARM,),
        measure=_percent_of_all_lanes,
        limit=90,
        unit="%",
        at_least=True,
    ),
    Goal(
        name="speed, of the fastest single-connection tool's",
        scenario=LANES,
        contestants=(OURS_WARM, *SINGLE_CONNECTION),
        measure=_lead(LANES, SINGLE_CONNECTION),
        limit=6,
        at_least=True,
    ),
    Goal(
        name="time, of rclone copyto's with 8 streams",
        scenario=LANES,
        contestants=(OURS_WARM, STREAMS),
        measure=_ratio(LANES, STREAMS, wall_per_gib),
        limit=1.0,
    ),
    Goal(
        name="speed, of naive boto3's",
        scenario=SMALL,
        contestants=(OURS_WARM, NAIVE),
        measure=_lead(SMALL, (NAIVE,)),
        limit=2,
        at_least=True,
    ),
    Goal(
        name="peak memory, boto3 included",
        scenario=MEMORY,
        contestants=(OURS_COLD,),
        measure=_peak_mib,
        limit=160,
        unit="MiB",
    ),
)
