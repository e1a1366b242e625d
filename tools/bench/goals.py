"""The goals of the transfer, and whether it meets them. The limits are defined only here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from services.downloader.transfer import Limits, Version
from services.summarizer.page import prices
from services.summarizer.page.costs import working
from tools.bench.figures import MIB, Figures, Metric, Run, Spread, cpu_per_gib, rss, speed, wall_per_gib
from tools.bench.kit import LANE_MEGABITS
from tools.bench.names import (
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
from tools.bench.scenarios import FUNCTION_MIB, PART_MEMORY

TB = 10**12  # bytes

Measure = Callable[[Figures], Spread | None]


class Verdict(Enum):
    MET = "met"
    MISSED = "missed"
    OPEN = "not decided"  # the median is beyond the limit, and may be so by chance
    UNKNOWN = "not measured"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`measure` gives a figure in `unit`; `limit` bounds its median, from above unless `at_least` says so.

    A goal is missed only if the whole interval in which the median is likely to lie is beyond the limit.
    """

    name: str
    scenario: str
    contestants: Sequence[str]  # the goal can't be judged without these
    measure: Measure
    limit: float
    unit: str = ""  # empty for a ratio
    at_least: bool = False
    strive: float | None = None  # a stricter limit to aim for

    def verdict(self, spread: Spread | None) -> Verdict:
        if spread is None:
            return Verdict.UNKNOWN
        if self._within(spread.median):
            return Verdict.MET
        return Verdict.OPEN if self.is_close(spread) else Verdict.MISSED

    def is_close(self, spread: Spread) -> bool:
        """Return whether chance decides on which side of the limit the median is."""
        return self._within(spread.likely_low) != self._within(spread.likely_high)

    def _within(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit


@dataclass(frozen=True, kw_only=True)
class Outcome:
    goal: Goal
    spread: Spread | None
    verdict: Verdict
    why: str = ""  # why there is no figure


def judge(figures: Figures, absent: Mapping[tuple[str, str], str]) -> list[Outcome]:
    """Return the outcome of every goal.

    `absent` says why a contestant of a scenario has no figures.
    """
    return [_outcome(goal, figures, absent) for goal in GOALS]


def _outcome(goal: Goal, figures: Figures, absent: Mapping[tuple[str, str], str]) -> Outcome:
    reasons = [
        f"{name}: {reason}" for name in goal.contestants if (reason := absent.get((goal.scenario, name))) is not None
    ]
    # Ignore the earlier rounds of a contestant that failed later.
    spread = None if reasons else goal.measure(figures)
    why = "; ".join(reasons) or "the scenario was not run"
    return Outcome(goal=goal, spread=spread, verdict=goal.verdict(spread), why="" if spread else why)


def _ratio(scenario: str, other: str, metric: Metric) -> Measure:
    return lambda figures: figures.ratio(scenario, OURS_WARM, other, metric)


def _lead(scenario: str, others: Sequence[str]) -> Measure:
    return lambda figures: figures.lead(scenario, OURS_WARM, others)


def _percent_of_all_lanes(figures: Figures) -> Spread | None:
    if figures.lane_rate is None:
        return None
    spread = figures.of(LANES, OURS_WARM, speed)
    return spread and spread.scaled(100 / (CONNECTIONS * figures.lane_rate))


def usd_per_tb(run: Run) -> float:
    """Return what Lambda and the parts of a terabyte cost, at the speed of a run. Each lane pays for its own time."""
    part_size = Limits(memory_bytes=PART_MEMORY).part_size(Version(size=run.size, etag=""))
    return working(run.wall * TB / run.size, FUNCTION_MIB) + TB / part_size * prices.S3_PUT


def _peak_mib(figures: Figures) -> Spread | None:
    spread = figures.of(MEMORY, OURS_COLD, rss)
    return spread and spread.scaled(1 / MIB)


GOALS: Sequence[Goal] = (
    Goal(
        name="CPU per GiB, of the C relay's",
        scenario=UNLIMITED,
        contestants=(OURS_WARM, RELAY),
        measure=_ratio(UNLIMITED, RELAY, cpu_per_gib),
        limit=1.20,
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
        limit=94,
        unit="%",
        at_least=True,
    ),
    Goal(
        name="Lambda and parts of a TB",
        scenario=LANES,
        contestants=(OURS_WARM,),
        measure=lambda figures: figures.of(LANES, OURS_WARM, usd_per_tb),
        limit=0.30,
        unit="USD",
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
