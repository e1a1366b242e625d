"""`python -m tools.load.idle`: what a night costs on which nothing is new, for libraries of several sizes.

Compares a walk through the whole library with one through its newest media. The lister is measured by itself, with
canned answers, because a library of a million media does not fit the simulator. What the other services add does not
depend on the size of the library: it is counted in a simulated night of a small one.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

from services.shared.events import WalkKind
from tools.arguments import positive
from tools.load import functions
from tools.load.bars import lambda_seconds
from tools.load.functions import Measured
from tools.load.nights import Nights, calm, medium
from tools.simulator.scenario import HOUR, Action
from tools.simulator.wiring import wires

MOST_GOPRO_REQUESTS, MOST_READS = 3, 300  # of a night with a walk through the newest media
GOPRO_SECONDS = 0.5  # assumed, of one answer; Lambda charges for the wait
_SIZES = (1000, 100_000, 1_000_000)
_SMALL = 201  # media: the smallest library that does not fit a page
_EVERY = {"full": "1", "newest": "7"}  # days between two full walks
_GIB = 1 << 30
_PATIENCE_SECONDS = 4 * 3600.0

Count = Literal["GoPro requests", "invocations", "items read"]


@dataclass(frozen=True, kw_only=True)
class IdleNight:
    """What a night costs."""

    media: int
    walk: WalkKind
    counts: Mapping[Count, int]  # of all services
    seconds: float  # of the lister: its processor time on Lambda's share, and the time it waits for GoPro
    peak: int  # bytes; the lister's memory

    @property
    def gigabyte_seconds(self) -> float:
        """What Lambda charges for the lister."""
        return self.seconds * functions.memory_of("list") / _GIB


class _Idle(Nights):
    """Three nights: on the first all is stored, the second learns so, and nothing is left for the third."""

    def _late_phases(self) -> Iterator[bool]:
        for number in (1, 2):
            moment = self.plan.start + number * 24 * HOUR
            sync_id = f"night-{number}"
            self.last_request = moment
            self._plan_action(moment, Action(moment - self.plan.start, "manual", sync_id, {"sync_id": sync_id}))
            yield True


def measure(media: int, walk: WalkKind) -> IdleNight:
    """Measure the night of a library. Raises `RuntimeError` when it isn't as it should be."""
    small, lister = _lister(_SMALL, walk), _lister(media, walk)
    whole = _simulated(walk)
    others = {name: whole[name] - count for name, count in _counts(small).items()}
    return IdleNight(
        media=media,
        walk=walk,
        counts={name: others[name] + count for name, count in _counts(lister).items()},
        seconds=lambda_seconds(lister) + GOPRO_SECONDS * lister.gopro_requests,
        peak=lister.peak,
    )


def _lister(media: int, walk: WalkKind) -> Measured:
    return functions.measure(
        {"full": "list idle, all", "newest": "list idle, newest"}[walk], media, patience_seconds=_PATIENCE_SECONDS
    )


def _counts(lister: Measured) -> Mapping[Count, int]:
    return {
        "GoPro requests": lister.gopro_requests,
        "invocations": lister.invocations,
        "items read": lister.items_read,
    }


def _simulated(walk: WalkKind) -> Mapping[str, int]:
    library = [medium(number) for number in range(_SMALL)]
    world = _Idle(calm(library, settings={"FULL_WALK_DAYS": _EVERY[walk]}, another_night=True))
    outcome = world.run()
    listed = [event.read()["data"] for event in world.events("LibraryListed")]
    kinds = ["full", *[walk] * 2]
    if outcome.violations or [one["walk"] for one in listed] != kinds or listed[-1]["stored"] != _SMALL:
        raise RuntimeError(f"the simulated nights went wrong: {outcome.violations}, {listed}")
    return world.readings()[-1].counts


def text(nights: Sequence[IdleNight]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| media | walk | requests to GoPro | invocations | table reads | lister, GB-seconds | lister, MB at most |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for night in nights:
        counts = [f"{night.counts[name]:,}" for name in get_args(Count)]
        used = [f"{night.gigabyte_seconds:,.1f}", f"{night.peak / (1 << 20):,.0f}"]
        lines.append(f"| {' | '.join([f'{night.media:,}', night.walk, *counts, *used])} |")
    return "\n".join(lines)


def missed(nights: Sequence[IdleNight]) -> list[IdleNight]:
    """Return the nights that miss the goal: they should cost nearly nothing, whatever the library's size."""
    return [
        night
        for night in nights
        if night.walk == "newest"
        and (night.counts["GoPro requests"] > MOST_GOPRO_REQUESTS or night.counts["items read"] > MOST_READS)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and return the exit status: 1 when a night misses the goal."""
    parser = argparse.ArgumentParser(prog="python -m tools.load.idle", description="What a night without news costs.")
    parser.add_argument("--sizes", type=positive, nargs="+", default=_SIZES, help="of the libraries, in media")
    parser.add_argument("--walks", nargs="+", default=get_args(WalkKind), choices=get_args(WalkKind))
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parsed = parser.parse_args(arguments)
    wires()  # synthesize once, for all processes
    kinds = [(media, walk) for walk in parsed.walks for media in parsed.sizes]
    with ProcessPoolExecutor(parsed.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        nights = [future.result() for future in [pool.submit(measure, *kind) for kind in kinds]]
    print(text(nights))
    failed = missed(nights)
    for night in failed:
        print(f"{night.media:,} media: {dict(night.counts)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
