"""Many seeds, on several processes: how fast, how much of what can go wrong did, and the first that failed."""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tests.simulation.faults import Fault
from tests.simulation.loading import services
from tests.simulation.virtual import SimulatorError
from tests.simulation.world import Outcome, run

_CHUNK = 25

# What a large campaign has to have come across, or it has tried nothing.
MUST_REACH = (
    "LibraryListingPaused published",
    "MediaDownloadPaused published",
    "SessionRejected published",
    "amendment sent",
    "another night",
    "archive replayed",
    "call during an outage",
    "dead letters redriven",
    "file changed while it was fetched",
    "file of several parts stored",
    "file started over",
    "frozen listing told again",
    "function timed out",
    "heartbeat failed",
    "listing with a warning",
    "login by password",
    "media deferred",
    "medium gone at GoPro",
    "medium stored by another sync",
    "more pauses than Lambda lets a chain have",
    "nothing to do",
    "paused download resumed",
    "refresh token spent already",
    "replayed request passed over",
    "review learned from the library table",
    "second amendment sent",
    "session refused by GoPro",
    "signed URL ran out",
    "sync closed: auth_failed",
    "sync closed: complete",
    "sync closed: deadline",
    "sync closed: listing_failed",
    "sync closed: stalled",
    "unreadable message",
    "upload begun earlier is gone",
    "waited in the lane",
    "worker fenced",
)


@dataclass
class Result:
    """What came of some seeds."""

    seeds: int = 0
    seconds: float = 0.0
    effects: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    runs_with: Counter[str] = field(default_factory=Counter)
    boundaries: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.effects += outcome.effects
        self.faults.update(outcome.faults)
        self.runs_with.update(name for name, count in outcome.faults.items() if count)
        self.boundaries.update(outcome.boundaries)
        self.reached.update(outcome.trace.reached)
        self.kinds[outcome.name] += 1
        if outcome.violations:
            self.failed.append((outcome.seed, tuple(str(violation) for violation in outcome.violations)))

    def merge(self, other: "Result") -> None:
        self.seeds += other.seeds
        self.effects += other.effects
        for mine, theirs in (
            (self.faults, other.faults),
            (self.runs_with, other.runs_with),
            (self.boundaries, other.boundaries),
            (self.reached, other.reached),
            (self.kinds, other.kinds),
        ):
            mine.update(theirs)
        self.failed += other.failed

    def missing(self) -> list[str]:
        """What a large campaign should have come across, and this one did not."""
        faults = [str(fault) for fault in Fault if not self.faults[fault]]
        alive = [place for place, count in self.boundaries.items() if not count]
        return [*faults, *alive, *(scenario for scenario in MUST_REACH if not self.reached[scenario])]


def run_chunk(seeds: range) -> Result:
    """Runs these seeds one after the other."""
    result = Result()
    for seed in seeds:
        try:
            result.add(run(seed))
        except SimulatorError as error:  # no `Exception`, so that no service swallows it; but a pool loses all others
            raise RuntimeError(f"seed {seed}: the simulator failed: {error}") from error
    gc.collect()
    return result


def run_many(seeds: Iterable[range], *, jobs: int) -> Iterator[Result]:
    """The results of chunks of seeds, as they come."""
    services()
    gc.collect()
    gc.freeze()
    gc.disable()  # a run makes many cycles, which are cheaper to collect once in a while
    try:
        if jobs == 1:
            yield from map(run_chunk, seeds)
            return
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            yield from pool.imap_unordered(run_chunk, seeds)
    finally:
        gc.enable()
        gc.unfreeze()


def chunks(start: int, count: int | None) -> Iterator[range]:
    """Seeds from `start` on, in portions; without an end where there is no count."""
    at, end = start, None if count is None else start + count
    while end is None or at < end:
        upto = at + _CHUNK if end is None else min(end, at + _CHUNK)
        yield range(at, upto)
        at = upto


def campaign(*, start: int, count: int | None, jobs: int, minutes: float | None, first_only: bool = False) -> Result:
    """Runs seeds until they, or the minutes, are over, or one has failed where that is enough."""
    began = time.monotonic()
    total = Result()

    def until_time_is_over() -> Iterator[range]:
        for number, chunk in enumerate(chunks(start, count)):
            if number and minutes is not None and time.monotonic() - began > minutes * 60:
                return
            yield chunk

    if minutes is not None and jobs > 1:
        # A pool takes all chunks at once: here they are handed over as long as there is time.
        rounds: Iterator[Iterable[range]] = _rounds(until_time_is_over(), 4 * jobs)
    else:
        rounds = iter([until_time_is_over()])
    for some in rounds:
        for result in run_many(some, jobs=jobs):
            total.merge(result)
            if first_only and total.failed:
                break
        if first_only and total.failed:
            break
    total.seconds = time.monotonic() - began
    total.failed.sort()
    return total


def _rounds(seeds: Iterator[range], size: int) -> Iterator[Iterable[range]]:
    while some := list(islice(seeds, size)):
        yield some
