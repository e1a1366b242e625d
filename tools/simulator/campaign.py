"""Runs many seeds in several processes, and reports speed, coverage of faults, and the first failure."""

import gc
import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from tools.simulator.faults import Fault
from tools.simulator.invariants import LOGGED
from tools.simulator.loading import services
from tools.simulator.virtual import SimulatorError
from tools.simulator.world import Outcome, run

_CHUNK = 25

# A large campaign must reach all of these.
MUST_REACH = (
    *sorted(LOGGED),
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
    "function timed out",
    "library listed by a full walk",
    "library listed by a newest walk",
    "listing with a warning",
    "login by password",
    "media deferred",
    "medium gone at GoPro",
    "medium stored by another sync",
    "more pauses than Lambda lets a chain have",
    "nothing to do",
    "paused download resumed",
    "refresh token spent already",
    "second amendment sent",
    "session refused by GoPro",
    "signed URL ran out",
    "sync closed: auth_failed",
    "sync closed: cancelled",
    "sync closed: complete",
    "sync closed: deadline",
    "sync closed: listing_failed",
    "sync closed: stalled",
)


@dataclass
class Result:
    """The result of some seeds."""

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
        """Return the faults and scenarios that a large campaign must reach and this one did not."""
        faults = [str(fault) for fault in Fault if not self.faults[fault]]
        alive = [place for place, count in self.boundaries.items() if not count]
        return [*faults, *alive, *(scenario for scenario in MUST_REACH if not self.reached[scenario])]


def run_chunk(seeds: range) -> Result:
    """Run these seeds one after the other."""
    result = Result()
    for seed in seeds:
        try:
            result.add(run(seed))
        except SimulatorError as error:  # no `Exception`, so that services can't swallow it; a pool loses all others
            raise RuntimeError(f"seed {seed}: the simulator failed: {error}") from error
    gc.collect()
    return result


@contextmanager
def _workers(jobs: int) -> Iterator[Callable[..., Iterable[Result]]]:
    """Yield what maps a function over chunks of seeds."""
    services()
    gc.collect()
    gc.freeze()
    gc.disable()  # a run makes many cycles, which are cheaper to collect once in a while
    try:
        if jobs == 1:
            yield map
        else:
            with multiprocessing.get_context("fork").Pool(jobs) as pool:
                yield pool.imap_unordered
    finally:
        gc.enable()
        gc.unfreeze()


def chunks(start: int, count: int | None) -> Iterator[range]:
    """Yield seeds from `start` on, in portions; without an end where there is no count."""
    at, end = start, math.inf if count is None else start + count
    while at < end:
        yield range(at, int(min(end, at + _CHUNK)))
        at += _CHUNK


def campaign(*, start: int, count: int | None, jobs: int, minutes: float | None, first_only: bool = False) -> Result:
    """Run seeds until they, or the minutes, are over, or one has failed where that is enough."""
    began = time.monotonic()
    total, seeds = Result(), chunks(start, count)
    # A pool takes all that it is given at once: a few at a time, where the end may come early.
    at_once = jobs if first_only else None if minutes is None else 4 * jobs
    with _workers(jobs) as each:
        while some := list(islice(seeds, at_once)):
            for result in each(run_chunk, some):
                total.merge(result)
            if (first_only and total.failed) or (minutes is not None and time.monotonic() - began > minutes * 60):
                break
    total.seconds = time.monotonic() - began
    total.failed.sort()
    return total
