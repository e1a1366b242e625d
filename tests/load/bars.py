"""What is measured, and how far it may go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.sync.results import Goal
from tests.load import functions, worst
from tests.load.embedded import Embedded
from tests.load.functions import Measured
from tests.load.nights import Night, Run
from tests.load.worst import Largest

MOST_GROWTH = 1.25  # of what a medium takes, from the smallest library to the largest
MOST_GROWTH_OF_TIME = 1.5  # the same of processor time, which depends on what else the machine does
MOST_MEMORY = 4 << 10  # bytes of a function for each medium more
PER_LOOK = 2  # items that a review reads of a medium: the sync's, and the library's while it has no result
MOST_OF_A_LIMIT = 0.8
PLAIN_EVENT = 256 << 10  # bytes; what EventBridge and SQS took for years, and some targets still do
VCPU_MEGABYTES = 1769  # of a Lambda function with one processor
MOST_SECONDS_EMBEDDED = 0.25  # a medium

# Bytes, as AWS documents them.
LIMITS: Mapping[str, int] = {
    "item": 400 << 10,
    "event": 1 << 20,
    "SQS body": 1 << 20,
    "notification": 256 << 10,
}
# What a medium causes, whatever the library and however long its sync is.
STEADY = (
    "events",
    "PutEvents requests",
    "SQS messages",
    "SQS requests by functions",
    "DynamoDB requests",
    "items written",
    "S3 requests",
    "GoPro requests",
    "invocations",
)
# What is asked for each medium of the library, be it taken on or not.
LISTED = ("GoPro requests", "items read")


@dataclass(frozen=True, kw_only=True)
class Results:
    """Whatever was run; each in order of length."""

    at_once: Sequence[Run] = ()  # every library by one sync
    nightly: Sequence[Run] = ()  # as much of it a night as is taken on by default
    functions: Sequence[Measured] = ()
    worst: Sequence[Largest] = ()
    embedded: Embedded | None = None


def goals(results: Results) -> Iterator[Goal]:
    if results.at_once:
        yield from _of_one_sync(results.at_once)
    if results.nightly:
        yield from _of_nights(results.nightly)
    for measured in results.functions:
        yield from _of_a_function(measured)
    for case in dict.fromkeys(measured.case for measured in results.functions):
        yield from _of_growing(case, [measured for measured in results.functions if measured.case == case])
    for largest in results.worst:
        yield from _of_the_largest(largest)
    if results.embedded:
        yield from _of_the_embedded(results.embedded)


def growth(first: Night, last: Night, what: str) -> float:
    """What a downloaded medium takes in one night, as a multiple of what it takes in another."""
    return last.per_medium(what) / first.per_medium(what)


def read_for_looks(first: Night, last: Night) -> float:
    """Items that were read of a medium for each look of a review, beside what the first night read of it.

    0 where the last has no more looks than the first.
    """
    more = last.per_medium("items read") - first.per_medium("items read")
    return more / (last.looks - first.looks) if last.looks > first.looks else 0.0


def per_listed(smaller: Night, larger: Night, what: str) -> float:
    """What each medium more in the library costs a night that downloads as many."""
    more = larger.reading.counts[what] - smaller.reading.counts[what]
    return more / (larger.listed - smaller.listed)


def lambda_seconds(measured: Measured) -> float:
    """The processor time, on the part of a processor that the function's memory comes with."""
    return measured.seconds / min(1.0, functions.memory_of(measured.case) / (VCPU_MEGABYTES << 20))


def _of_one_sync(runs: Sequence[Run]) -> Iterator[Goal]:
    yield from _nothing_lost("one sync", runs)
    first, last = runs[0].nights[0], runs[-1].nights[0]
    between = f"{last.downloaded:,} media beside {first.downloaded:,}"
    for what in STEADY:
        yield _at_most(f"{what} a medium, {between}", growth(first, last, what), MOST_GROWTH, "times")
    yield _at_most(
        f"processor time a medium, {between}",
        last.cpu_per_medium / first.cpu_per_medium,
        MOST_GROWTH_OF_TIME,
        "times",
    )
    if last.looks > first.looks:
        looks = f"items read of a medium for each look of a review, {between}"
        yield _at_most(looks, read_for_looks(first, last), PER_LOOK, "")
    else:
        yield _at_most(f"items read a medium, {between}", growth(first, last, "items read"), MOST_GROWTH, "times")
    yield from _limits("one sync", runs[-1].largest)


def _of_nights(runs: Sequence[Run]) -> Iterator[Goal]:
    yield from _nothing_lost("nights", runs)
    first, last = runs[0].nights[0], runs[-1].nights[0]
    between = f"a library of {last.listed:,} beside {first.listed:,}"
    for what in STEADY:
        if what not in LISTED:
            yield _at_most(f"{what} a medium, {between}", growth(first, last, what), MOST_GROWTH, "times")
    if len(runs) > 2:
        for what in LISTED:
            small, middle, large = (run.nights[0] for run in (runs[0], runs[-2], runs[-1]))
            steeper = per_listed(middle, large, what) / per_listed(small, middle, what)
            yield _at_most(f"{what} for each medium listed, {between}", steeper, MOST_GROWTH, "times")
    second = runs[-1].nights[-1]
    for what in (*STEADY, *LISTED):
        yield _at_most(f"{what}, the second night beside the first", growth(last, second, what), MOST_GROWTH, "times")
    yield from _limits("nights", runs[-1].largest)


def _nothing_lost(what: str, runs: Sequence[Run]) -> Iterator[Goal]:
    for run in runs:
        taken = sum(night.downloaded for night in run.nights)
        yield _exact(f"{what}, a library of {run.media:,}: {taken:,} stored whole, all accounted for", run.wrong)


def _of_a_function(measured: Measured) -> Iterator[Goal]:
    name = f"{measured.case}, {measured.media:,} media"
    megabytes = functions.memory_of(measured.case) >> 20
    yield _at_most(f"memory: {name}", measured.peak / (1 << 20), megabytes * MOST_OF_A_LIMIT, "MB")
    timeout = functions.timeout_of(measured.case)
    yield _at_most(
        f"processor time on Lambda's share, of all invocations: {name}", lambda_seconds(measured), timeout, "s"
    )


def _of_growing(case: str, measures: Sequence[Measured]) -> Iterator[Goal]:
    """What each medium more takes of a function, however many there are."""
    first, last = measures[0], measures[-1]
    if last.media > first.media:
        more = (last.peak - first.peak) / (last.media - first.media)
        yield _at_most(
            f"memory for each medium more: {case}, up to {last.media:,}", more / 1024, MOST_MEMORY / 1024, "KB"
        )
    if len(measures) > 2:
        before = measures[-2]
        steeper = _seconds_a_medium(before, last) / _seconds_a_medium(first, before)
        name = f"processor time for each medium more: {case}, up to {last.media:,} beside up to {before.media:,}"
        yield _at_most(name, steeper, MOST_GROWTH_OF_TIME, "times")


def _seconds_a_medium(smaller: Measured, larger: Measured) -> float:
    return (larger.seconds - smaller.seconds) / (larger.media - smaller.media)


def _of_the_largest(largest: Largest) -> Iterator[Goal]:
    name = f"{worst.MEDIA:,} failures told at length in letters of {len(largest.letter.encode())} bytes"
    yield _exact(name, largest.wrong)
    for what in ("item", "event", "notification"):
        limit = LIMITS[what] * MOST_OF_A_LIMIT
        if what == "event" and largest.letter.isascii():
            limit = PLAIN_EVENT * MOST_OF_A_LIMIT
        yield _at_most(f"largest {what}: {name}", largest.sizes[what] / 1024, limit / 1024, "KB")


def _of_the_embedded(embedded: Embedded) -> Iterator[Goal]:
    name = f"emulated AWS, {embedded.media:,} media"
    yield _exact(f"{name}: stored with their SHA-256, told once, nothing left", embedded.wrong)
    yield _at_most(f"{name}: time", embedded.seconds / embedded.media, MOST_SECONDS_EMBEDDED, "s a medium")
    events = sum(embedded.events.values()) / embedded.media
    yield _at_most(f"{name}: events", events, 2 * MOST_GROWTH, "a medium")
    for service, peak in embedded.peaks.items():
        megabytes = functions.memory_of_service(service) >> 20
        yield _at_most(f"{name}: memory of the {service}", peak / (1 << 20), megabytes * MOST_OF_A_LIMIT, "MB")


def _limits(name: str, largest: Mapping[str, int]) -> Iterator[Goal]:
    for what in ("item", "event", "SQS body"):
        limit = min(LIMITS[what], PLAIN_EVENT) / 10 / 1024
        yield _at_most(f"{name}: largest {what}", largest[what] / 1024, limit, "KB")


def _at_most(name: str, measured: float, limit: float, unit: str) -> Goal:
    return Goal(
        name=name,
        wanted=f"at most {limit:,.4g} {unit}".strip(),
        measured=f"{measured:,.3g} {unit}".strip(),
        met=measured <= limit,
    )


def _exact(name: str, wrong: Sequence[str]) -> Goal:
    measured = f"{len(wrong)} wrong, such as: {wrong[0]}" if wrong else "so it is"
    return Goal(name=name, wanted="without exception", measured=measured, met=not wrong)
