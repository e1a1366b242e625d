"""The measurements of a run, its goals, and their JSON file. Pure computation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

LEAST_SHARE = 0.85  # of the combined rate of all lanes
MOST_TIME_LAPSE_SECONDS = 14.0
MOST_GROWTH = 1.25  # time per medium in the largest library, as a multiple of the one before


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The connections that all downloads of a comparison share: how many, and how fast each is."""

    count: int
    bytes_per_second: int  # per lane

    @property
    def together(self) -> int:
        return self.count * self.bytes_per_second


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The library that is copied."""

    media: int
    bytes: int  # of all media
    smallest: int  # bytes of a medium
    largest: int


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The moments of a sync, in seconds after its request."""

    discovered: float  # the first medium was discovered
    first_byte: float  # the CDN received its first request
    last_byte: float
    stored: float  # the last medium was stored
    completed: float  # SyncCompleted was on the bus
    notified: float  # the notification arrived


@dataclass(frozen=True, kw_only=True)
class LanesRun:
    """One sync through slow lanes."""

    lane: Lane
    workload: Workload
    moments: Moments
    connections_at_once: int  # the most that the CDN saw
    cpu_seconds: Mapping[str, float]  # by component
    wrong: Sequence[str]  # errors in the result

    @property
    def share(self) -> float:
        """Return the share of the ideal rate that the whole sync reached, from the request to the notification."""
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
class TimeLapseRun:
    """One sync of a single medium with many small files."""

    files: int
    file_bytes: int  # of each
    bytes_per_second: int  # of a connection to the CDN
    latency_seconds: float  # until the CDN answers a request
    seconds: float  # from MediaDiscovered to MediaDownloaded
    connections_at_once: int
    cpu_seconds: Mapping[str, float]  # by component
    wrong: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class GrowthRun:
    """Syncs of libraries of one length."""

    media: int
    seconds: Sequence[float]  # of each sync, from the request to the notification

    @property
    def per_medium(self) -> float:
        """Return seconds per medium."""
        return median(self.seconds) / self.media


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the time of a sync grows with its library."""

    medium_bytes: int
    runs: Sequence[GrowthRun]  # in order of length
    wrong: Sequence[str]

    @property
    def ratio(self) -> float:
        """Return the time per medium in the largest library, as a multiple of that in the one before."""
        before, last = self.runs[-2:]
        return last.per_medium / before.per_medium


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run of the bench. A part that was not requested is None; one that could not run is in `skipped`."""

    measured_at: str  # UTC, ISO 8601
    quick: bool
    machine: Mapping[str, str]  # as `bench.machine` describes it
    load: float  # load average of the machine before the run
    versions: Mapping[str, str]
    settings: Mapping[str, str]  # settings of the deployment
    lanes: LanesRun | None = None
    peer: PeerRun | None = None
    time_lapse: TimeLapseRun | None = None
    growth: Growth | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)  # the reason, by name of the part


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A limit that a run has to meet."""

    name: str
    wanted: str
    measured: str
    met: bool


def share(workload: Workload, lane: Lane, seconds: float) -> float:
    """Return the share of the lanes' combined rate that was used; 1 is all of it."""
    return workload.bytes / seconds / lane.together


def goals(results: Results) -> list[Goal]:
    """Return the goals of the parts that were run. A quick run is too short for goals of speed."""
    return [*_of_lanes(results), *_of_time_lapse(results), *_of_growth(results)]


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


def _of_time_lapse(results: Results) -> Iterator[Goal]:
    run = results.time_lapse
    if run is None:
        return
    if not results.quick:
        yield Goal(
            name=f"a time-lapse of {run.files} photos",
            wanted=f"at most {MOST_TIME_LAPSE_SECONDS:.0f} s",
            measured=f"{run.seconds:.1f} s",
            met=run.seconds <= MOST_TIME_LAPSE_SECONDS,
        )
    yield _exact("copies of the photos", run.wrong)


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
    measured = f"{len(wrong)} wrong, such as: {wrong[0]}" if wrong else "all"
    return Goal(name=name, wanted="every one has its original's SHA-256", measured=measured, met=not wrong)


def save(results: Results, path: Path) -> None:
    """Write the raw figures and the outcome of every goal."""
    form = {**msgspec.to_builtins(results), "goals": msgspec.to_builtins(goals(results))}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(form), indent=2) + b"\n")


def load(path: Path) -> Results:
    """Read results that `save` has written."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
