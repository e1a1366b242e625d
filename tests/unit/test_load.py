"""Many media: each costs the same, and what is lost is noticed."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.shared.gopro.client import PAGE_SIZE
from tools.load import bars, functions, nights, report
from tools.load.bars import Results
from tools.load.functions import Measured
from tools.load.nights import Nights, Run
from tools.simulator.dynamodb import item_bytes
from tools.simulator.wiring import wires


def unmet(results: Results) -> list[str]:
    return [f"{goal.name}: {goal.measured}" for goal in bars.goals(results) if not goal.met]


@pytest.mark.slow
def test_a_medium_costs_the_same_in_a_longer_sync() -> None:
    runs = [nights.run(media, at_once=media) for media in (60, 180)]
    # Time is for `make load` to judge: here other tests run beside it.
    assert [name for name in unmet(Results(at_once=runs)) if not name.startswith("processor time")] == []


@pytest.mark.slow
@pytest.mark.scenario(33)
def test_a_library_of_100_000_is_listed_in_slices_and_what_is_too_much_waits_for_later_nights() -> None:
    lister = wires().services["lister"].environment
    most = int(lister["MAX_MEDIA_PER_SYNC"])
    run = nights.run(100_000, nights=2)
    assert run.wrong == ()
    assert [(night.stored, night.downloaded, night.deferred) for night in run.nights] == [
        (0, most, 100_000 - most),
        (most, most, 100_000 - 2 * most),
    ]
    pages = 100_000 // PAGE_SIZE
    for night in run.nights:
        assert night.reading.counts["LibraryListingPaused"] >= pages // int(lister["PAGES_PER_SLICE"]) - 1
    assert unmet(Results(nightly=[run])) == []


@pytest.mark.slow
@pytest.mark.scenario(33)
def test_the_lister_has_memory_for_a_library_of_100_000() -> None:
    measured = functions.measure("list", 100_000)
    assert measured.invocations > 1
    assert measured.idle < measured.peak < functions.memory_of("list")


@pytest.mark.parametrize("case", [*functions.CASES, *functions.IDLE_CASES])
def test_functions_do_what_they_are_measured_at(case: str) -> None:
    measured = functions.measure(case, 400)
    assert measured.peak > measured.idle
    assert unmet(Results(functions=[measured])) == []


def _lose_an_object(world: Nights) -> None:
    del world.s3.objects[next(key for key in world.s3.objects if key.startswith("gopro/"))]


def _spoil_an_object(world: Nights) -> None:
    key, stored = next((k, o) for k, o in world.s3.objects.items() if k.startswith("gopro/"))
    world.s3.objects[key] = replace(stored, body=b"other")


def _forget_a_fact(world: Nights) -> None:
    table = world.tables["Syncs"]
    table.replace(next(key for key in table.items if key[1].startswith("medium#")), None)


def _forget_a_record(world: Nights) -> None:
    table = world.tables["Library"]
    table.replace(next(key for key in table.items if key[1] == 0), None)


def _leave_a_record_open(world: Nights) -> None:
    item = next(item for key, item in world.tables["Library"].items.items() if key[1] == 0)
    item["status"] = "DOWNLOADING"


def _miscount(world: Nights) -> None:
    world.plan = replace(world.plan, library=(*world.plan.library, nights.medium(99)))


def _leave_a_message(world: Nights) -> None:
    world.sqs.send(world.sqs.queues[world.wires.services["downloader"].inbox], "{}")


def _leave_a_dead_letter(world: Nights) -> None:
    world.sqs.send(world.sqs.queues[world.wires.services["summarizer"].dead_letters], "{}")


def _tell_it_twice(world: Nights) -> None:
    world.topic.sent *= 2


LOSSES = (
    _lose_an_object,
    _spoil_an_object,
    _forget_a_fact,
    _forget_a_record,
    _leave_a_record_open,
    _miscount,
    _leave_a_message,
    _leave_a_dead_letter,
    _tell_it_twice,
)


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__.strip("_"))
def test_a_loss_is_noticed(lose: Callable[[Nights], None]) -> None:
    world = Nights(nights.calm([nights.medium(number) for number in range(3)]))
    assert world.run().violations == []
    assert list(nights.lost(world, most=3, nights=1)) == []
    lose(world)
    assert list(nights.lost(world, most=3, nights=1)) != []


def test_a_medium_that_costs_more_the_more_there_are_misses_a_bar() -> None:
    small, large = nights.run(3, at_once=3), nights.run(6, at_once=6)
    dearer = Results(at_once=[small, _dearer(large, "items written", 2)])
    assert any("items written" in name for name in unmet(dearer))
    assert "MISSED" in report.text(dearer)
    assert any("items read" in name for name in unmet(Results(at_once=[small, _dearer(large, "items read", 4)])))
    assert any("look" in name for name in unmet(Results(at_once=[small, _watched(large)])))


def test_a_function_that_needs_more_for_each_medium_the_more_there_are_misses_a_bar() -> None:
    def measured(media: int, *, peak: int, seconds: float) -> Measured:
        return Measured(case="close", media=media, idle=0, peak=peak, seconds=seconds, invocations=1)

    small = measured(1000, peak=1000 * bars.MOST_MEMORY, seconds=1.0)
    middle = measured(2000, peak=2000 * bars.MOST_MEMORY, seconds=2.0)
    assert unmet(Results(functions=[small, middle, measured(3000, peak=3000 * bars.MOST_MEMORY, seconds=3.0)])) == []
    (missed,) = unmet(Results(functions=[small, middle, measured(3000, peak=3000 * bars.MOST_MEMORY, seconds=4.0)]))
    assert missed.startswith("processor time for each medium more")
    (missed,) = unmet(Results(functions=[small, middle, measured(3000, peak=3001 * bars.MOST_MEMORY, seconds=3.0)]))
    assert missed.startswith("memory for each medium more")


def _dearer(run: Run, what: str, times: int) -> Run:
    (night,) = run.nights
    counts = {**night.reading.counts, what: night.reading.counts[what] * times}
    return replace(run, nights=(replace(night, reading=replace(night.reading, counts=counts)),))


def _watched(run: Run) -> Run:
    """As if one look of a review had read each medium many times."""
    dearer = _dearer(run, "items read", 10)
    return replace(dearer, nights=tuple(replace(night, looks=1) for night in dearer.nights))


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": "é"}, 1 + 2),
        ({"n": Decimal(0)}, 1 + 2),
        ({"n": 1_234_567}, 1 + 5),
        ({"n": -12}, 1 + 3),
        ({"n": Decimal("1e20")}, 1 + 2),
        ({"b": True, "none": None}, 1 + 1 + 4 + 1),
        ({"l": ["x", "y"]}, 1 + 3 + 2 * (1 + 1)),
        ({"m": {"k": "v"}}, 1 + 3 + 1 + 1 + 1),
    ],
)
def test_items_are_sized_as_dynamodb_sizes_them(item: dict[str, Any], size: int) -> None:
    assert item_bytes(item) == size
