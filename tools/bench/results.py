"""All results of a bench, and their JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.figures import Figures, Run, Spread, cpu_per_gib, rss, speed, wall_per_gib
from tools.bench.goals import Outcome, Verdict, judge
from tools.bench.names import OURS_COLD, OURS_WARM
from tools.bench.scenarios import Scenario


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Whether S3 returned the same bytes as the source holds."""

    size: int  # bytes
    parts: int
    same: bool
    why: str = ""  # why the bytes differ


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How our engine cuts the file of a scenario."""

    part_size: int  # bytes
    workers: int


@dataclass(kw_only=True)
class Results:
    begun: str  # ISO 8601, UTC
    seconds: float = 0.0  # of the whole bench
    quick: bool
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    load: float  # load average of the minute before the bench
    scenarios: Sequence[Scenario]  # those that were run
    lane_rate: float | None = None  # bytes a second of one connection to the slow source
    plans: dict[str, Plan] = field(default_factory=dict)  # by scenario
    runs: list[Run] = field(default_factory=list)
    absent: dict[tuple[str, str], str] = field(default_factory=dict)  # the reason, by scenario and contestant
    proofs: list[Proof] = field(default_factory=list)
    proofs_absent: str = ""  # why there are no proofs

    @property
    def figures(self) -> Figures:
        return Figures(self.runs, lane_rate=self.lane_rate)

    @property
    def rounds(self) -> dict[str, int]:
        """Return how many rounds were run, by scenario."""
        return {name: len({run.round for run in self.runs if run.scenario == name}) for name in self.plans}

    @property
    def outcomes(self) -> list[Outcome]:
        return judge(self.figures, self.absent)

    def undecided(self, scenario: Scenario) -> set[str]:
        """Return the contestants of a scenario whose goals more rounds may decide."""
        close = [
            outcome.goal
            for outcome in self.outcomes
            if outcome.goal.scenario == scenario.name and outcome.spread and outcome.goal.is_close(outcome.spread)
        ]
        return {contestant for goal in close for contestant in goal.contestants}

    @property
    def faults(self) -> list[str]:
        """Return the reasons why the bench fails. A quick run can't miss a goal: its files are too small."""
        missed = [o.goal for o in self.outcomes if o.verdict is Verdict.MISSED and not self.quick]
        return [
            *(f"missed: {goal.scenario}, {goal.name}" for goal in missed),
            *(f"wrong: {proof.size:,} bytes: {proof.why}" for proof in self.proofs if not proof.same),
            *(
                f"failed: {scenario}, {contestant}: {why}"
                for (scenario, contestant), why in self.absent.items()
                if contestant in (OURS_WARM, OURS_COLD)
            ),
        ]

    @property
    def skipped(self) -> list[str]:
        """Return each measurement that was skipped, with the reason."""
        told = [f"{contestant} in {scenario}: {why}" for (scenario, contestant), why in self.absent.items()]
        return [*told, *([f"correctness: {self.proofs_absent}"] if self.proofs_absent else [])]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self._as_json(), indent=1) + "\n")

    def _as_json(self) -> dict[str, Any]:
        return {
            "begun": self.begun,
            "seconds": round(self.seconds),
            "rounds": self.rounds,
            "quick": self.quick,
            "machine": {**self.machine, "load before": self.load},
            "versions": self.versions,
            "scenarios": {
                one.name: {"title": one.title, "size": one.size, **asdict(self.plans[one.name])}
                for one in self.scenarios
                if one.name in self.plans
            },
            "lane_bytes_per_second": self.lane_rate,
            "runs": [asdict(run) for run in self.runs],
            "summary": [row for scenario in self.scenarios for row in summary(self.figures, scenario)],
            "goals": [
                {
                    "scenario": outcome.goal.scenario,
                    "name": outcome.goal.name,
                    "limit": outcome.goal.limit,
                    "at_least": outcome.goal.at_least,
                    "strive": outcome.goal.strive,
                    "unit": outcome.goal.unit,
                    "measured": _spread(outcome.spread),
                    "verdict": outcome.verdict.value,
                    "why": outcome.why,
                }
                for outcome in self.outcomes
            ],
            "correctness": [asdict(proof) for proof in self.proofs],
            "skipped": self.skipped,
        }


def summary(figures: Figures, scenario: Scenario) -> list[dict[str, Any]]:
    """Return a row for each contestant of a scenario that has figures."""
    rows = []
    for name in scenario.contestants:
        found = {
            "cpu_seconds_per_gib": figures.of(scenario.name, name, cpu_per_gib),
            "wall_seconds_per_gib": figures.of(scenario.name, name, wall_per_gib),
            "bytes_per_second": figures.of(scenario.name, name, speed),
            "peak_bytes": figures.of(scenario.name, name, rss),
        }
        if all(found.values()):
            rows.append(
                {
                    "scenario": scenario.name,
                    "contestant": name,
                    "size": scenario.size_for(name),
                    **{key: _spread(value) for key, value in found.items()},
                }
            )
    return rows


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return asdict(spread) if spread else None
