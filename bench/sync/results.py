"""What a run has measured, what it has to reach, and how it is kept. Nothing but computation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

LEAST_SHARE = 0.85  # of what the lanes together could carry
MOST_GROWTH = 1.25  # of the time a medium takes: at the largest library, as a multiple of the one before


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What all downloads of a comparison get: so many connections at once, each so fast."""

    count: int
    bytes_per_second: int  # of one

    @property
    def together(self) -> int:
        return self.count * self.bytes_per_second


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The library that is copied."""

    media: int
    bytes: int  # of all
    smallest: int  # bytes of a medium
    largest: int


@dataclass(frozen=True, kw_only=True)
class Moments:
    """When something happened, in seconds after the sync was asked for."""

    discovered: float  # the first medium
    first_byte: float  # the first request that the CDN got
    last_byte: float
    stored: float  # the last medium
    completed: float  # SyncCompleted was on the bus
    notified: float  # the notification had arrived


@dataclass(frozen=True, kw_only=True)
class LanesRun:
    """One sync through slow lanes."""

    lane: Lane
    workload: Workload
    moments: Moments
    connections_at_once: int  # that the CDN saw, at most
    cpu_seconds: Mapping[str, float]  # by what used them
    wrong: Sequence[str]  # what came out otherwise than it should

    @property
    def share(self) -> float:
        """Of the ideal: what the whole sync made of its lanes, from the request to the notification."""
        return share(self.workload, self.lane, self.moments.notified)


@dataclass(frozen=True, kw_only=True)
class PeerRun:
    """Another tool's copy of the same library, through the same lanes, to a local disk."""

    name: str
    version: str
    lane: Lane
    workload: Workload
    seconds: float  # of its process
    first_byte: float  # seconds after the process was started
    last_byte: float
    cpu_seconds: float
    connections_at_once: int
    wrong: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class GrowthRun:
    """Syncs of libraries of one length."""

    media: int
    seconds: Sequence[float]  # of each sync, from the request to the notification

    @property
    def per_medium(self) -> float:
        """Seconds."""
        return median(self.seconds) / self.media


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the time of a sync grows with its library."""

    medium_bytes: int
    runs: Sequence[GrowthRun]  # in order of length
    wrong: Sequence[str]

    @property
    def ratio(self) -> float:
        """The time a medium takes in the largest library, as a multiple of that in the one before it."""
        before, last = self.runs[-2:]
        return last.per_medium / before.per_medium


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run of the bench. A part that was not asked for is None; one that could not be run is in `skipped`."""

    measured_at: str  # UTC, ISO 8601
    quick: bool
    machine: Mapping[str, str]  # as `bench.machine` describes it
    load: float  # of the machine, before it began
    versions: Mapping[str, str]
    settings: Mapping[str, str]  # that the deployment was given
    lanes: LanesRun | None = None
    peer: PeerRun | None = None
    growth: Growth | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)  # the name of a part: why


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Something that a run has to reach."""

    name: str
    wanted: str
    measured: str
    met: bool


def share(workload: Workload, lane: Lane, seconds: float) -> float:
    """What was made of the lanes in so many seconds: 1 is all that they carry."""
    return workload.bytes / seconds / lane.together


def goals(results: Results) -> list[Goal]:
    """The goals of what was run. A quick run is too short for those of speed."""
    return [*_of_lanes(results), *_of_growth(results)]


def _of_lanes(results: Results) -> Iterator[Goal]:
    run = results.lanes
    if run is None:
        return
    if not results.quick:
        yield Goal(
            name=f"{run.lane.count} lanes, the whole sync",
            wanted=f"at least {LEAST_SHARE:.0%} of the ideal",
            measured=f"{run.share:.1%}",
            met=run.share >= LEAST_SHARE,
        )
    yield Goal(
        name="connections to the CDN at once",
        wanted=f"at most {run.lane.count}",
        measured=str(run.connections_at_once),
        met=run.connections_at_once <= run.lane.count,
    )
    yield _exact(f"copies of {run.workload.media} media through lanes", run.wrong)


def _of_growth(results: Results) -> Iterator[Goal]:
    growth = results.growth
    if growth is None:
        return
    before, last = growth.runs[-2:]
    if not results.quick:
        yield Goal(
            name=f"time a medium, of {last.media:,} media beside {before.media:,}",
            wanted=f"at most {MOST_GROWTH:.2f} times",
            measured=f"{growth.ratio:.2f} times",
            met=growth.ratio <= MOST_GROWTH,
        )
    yield _exact("copies of small media", growth.wrong)


def _exact(name: str, wrong: Sequence[str]) -> Goal:
    measured = f"{len(wrong)} wrong, such as: {wrong[0]}" if wrong else "so they are"
    return Goal(name=name, wanted="every one has its original's SHA-256", measured=measured, met=not wrong)


def save(results: Results, path: Path) -> None:
    """Writes the raw figures, and with them what became of the goals."""
    form = {**msgspec.to_builtins(results), "goals": msgspec.to_builtins(goals(results))}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(form), indent=2) + b"\n")


def load(path: Path) -> Results:
    """Reads what `save` has written."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
