"""The measurements of the load tests, and their limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.bench.sync.results import Goal
from tools.load import functions, worst
from tools.load.embedded import Embedded
from tools.load.functions import Measured
from tools.load.nights import Night, Run
from tools.load.worst import Largest
from tools.simulator.dynamodb import MOST_ITEM_BYTES
from tools.simulator.wiring import wires

MOST_GROWTH = 1.25  # of the cost per medium, from the smallest library to the largest
MOST_GROWTH_OF_TIME = 1.5  # of the processor time, which also depends on other load on the machine
MOST_MEMORY = 6 << 10  # bytes of a function for each additional medium, of which there may be 100,000 in a sync
PER_LOOK = 2  # items that a review reads per medium: the sync's, and the library's while it has no result
MOST_OF_A_LIMIT = 0.8
PLAIN_EVENT = 256 << 10  # bytes; the limit of EventBridge and SQS for years, and still the limit of some targets
VCPU_MEGABYTES = 1769  # memory of a Lambda function with one processor
MOST_SECONDS_EMBEDDED = 0.25  # per medium

# Bytes, as AWS documents them.
LIMITS: Mapping[str, int] = {
    "item": MOST_ITEM_BYTES,
    "event": 1 << 20,
    "SQS body": 1 << 20,
    "notification": 256 << 10,
}
# Constant per medium, whatever the size of the library and the length of the sync.
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
# Requested for each medium of the library, whether the sync admits it or not.
LISTED = ("GoPro requests", "items read")


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of all runs; each list is in order of length."""

    at_once: Sequence[Run] = ()  # one sync per library
    nightly: Sequence[Run] = ()  # the default admission per night
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
    """Return the cost per downloaded medium in one night, as a multiple of the cost in another."""
    return last.per_medium(what) / first.per_medium(what)


def read_for_looks(first: Night, last: Night) -> float:
    """Return the items read per medium for each look of a review, beyond those that the first night read.

    0 where the last night has no more looks than the first.
    """
    more = last.per_medium("items read") - first.per_medium("items read")
    return more / (last.looks - first.looks) if last.looks > first.looks else 0.0


def per_listed(smaller: Night, larger: Night, what: str) -> float:
    """Return the cost per additional medium in the library, for nights that download the same number."""
    more = larger.reading.counts[what] - smaller.reading.counts[what]
    return more / (larger.listed - smaller.listed)


def lambda_seconds(measured: Measured) -> float:
    """Return the processor time in seconds, scaled to the processor share that comes with the function's memory."""
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
    timeout = wires().services[functions.service_of(measured.case)].timeout
    yield _at_most(
        f"processor time on Lambda's share, of all invocations: {name}", lambda_seconds(measured), timeout, "s"
    )


def _of_growing(case: str, measures: Sequence[Measured]) -> Iterator[Goal]:
    """Yield the goals for the cost of each additional medium to a function, which must not grow."""
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
    name = f"{worst.MEDIA:,} failures reported at length in letters of {len(largest.letter.encode())} bytes"
    yield _exact(name, largest.wrong)
    for what in ("item", "event", "notification"):
        limit = LIMITS[what] * MOST_OF_A_LIMIT
        if what == "event" and largest.letter.isascii():
            limit = PLAIN_EVENT * MOST_OF_A_LIMIT
        yield _at_most(f"largest {what}: {name}", largest.sizes[what] / 1024, limit / 1024, "KB")


def _of_the_embedded(embedded: Embedded) -> Iterator[Goal]:
    name = f"emulated AWS, {embedded.media:,} media"
    yield _exact(f"{name}: stored with their SHA-256, notified once, nothing left", embedded.wrong)
    yield _at_most(f"{name}: time", embedded.seconds / embedded.media, MOST_SECONDS_EMBEDDED, "s a medium")
    yield _at_most(f"{name}: events", embedded.events / embedded.media, 2 * MOST_GROWTH, "a medium")
    for service, peak in embedded.peaks.items():
        megabytes = wires().services[service].memory_megabytes
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
