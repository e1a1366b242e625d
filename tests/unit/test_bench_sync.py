"""What the whole-system bench makes of its figures: goals, tables and documents, without a measurement."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tools.bench.sync.copies import differences
from tools.bench.sync.plan import FULL, LANES, QUICK, Plan
from tools.bench.sync.report import document, plot, text
from tools.bench.sync.results import (
    Goal,
    Growth,
    GrowthRun,
    LanesRun,
    Moments,
    PeerRun,
    Results,
    TimeLapseRun,
    Workload,
    goals,
    load,
    save,
)

LIBRARY = Workload(media=20, bytes=3_125_000_000, smallest=100_000_000, largest=200_000_000)  # 100 s at the ideal
TOLD = Moments(discovered=3, first_byte=5, last_byte=108, stored=109, completed=109.5, notified=110)
LANES_RUN = LanesRun(
    lane=LANES, workload=LIBRARY, moments=TOLD, connections_at_once=5, cpu_seconds={"functions": 12.5}, wrong=()
)
PEER_RUN = PeerRun(
    name="other-tool",
    version="9.8.7",
    lane=LANES,
    workload=LIBRARY,
    seconds=125,
    first_byte=1,
    last_byte=124,
    cpu_seconds=7,
    connections_at_once=5,
    wrong=(),
)
GROWTH = Growth(
    medium_bytes=200_000,
    runs=[
        GrowthRun(media=10, seconds=[1.3, 1.1, 1.2]),
        GrowthRun(media=100, seconds=[4.0, 9.0, 4.5]),
        GrowthRun(media=1000, seconds=[49.5]),
    ],
    wrong=(),
)
TIME_LAPSE = TimeLapseRun(
    files=300,
    file_bytes=1_000_000,
    bytes_per_second=6_250_000,
    latency_seconds=0.05,
    seconds=12.3,
    connections_at_once=8,
    cpu_seconds={"functions": 9.75},
    wrong=(),
)
RESULTS = Results(
    measured_at="2026-11-24T01:02:03+00:00",
    quick=False,
    machine={"processor": "A Chip", "cores": "2", "memory": "24 GiB", "kernel": "Linux 6"},
    load=0.3,
    versions={"boto3": "1.2.3"},
    settings={"gopro_connections": "5"},
    lanes=LANES_RUN,
    peer=PEER_RUN,
    time_lapse=TIME_LAPSE,
    growth=GROWTH,
)


def missed(results: Results) -> list[Goal]:
    return [goal for goal in goals(results) if not goal.met]


def slower(seconds: float) -> Results:
    return replace(RESULTS, lanes=replace(LANES_RUN, moments=replace(TOLD, notified=seconds)))


def test_the_share_of_the_ideal_counts_from_the_request_to_the_notification() -> None:
    assert LANES_RUN.share == pytest.approx(100 / 110)


def test_a_run_that_reaches_everything_misses_nothing() -> None:
    assert len(goals(RESULTS)) == 7
    assert missed(RESULTS) == []


@pytest.mark.parametrize(("seconds", "met"), [(100 / 0.851, True), (100 / 0.849, False)])
def test_the_lanes_have_to_carry_their_share(seconds: float, met: bool) -> None:
    assert (missed(slower(seconds)) == []) is met


def test_a_sync_that_took_more_connections_than_lanes_was_no_fair_comparison() -> None:
    (goal,) = missed(replace(RESULTS, lanes=replace(LANES_RUN, connections_at_once=6)))
    assert (goal.name, goal.measured) == ("connections to the CDN at once", "6")


def test_the_time_of_a_medium_is_of_the_median_sync() -> None:
    assert [run.per_medium for run in GROWTH.runs] == pytest.approx([0.12, 0.045, 0.0495])
    assert GROWTH.ratio == pytest.approx(1.1)


def test_a_time_lapse_has_to_be_stored_within_its_time() -> None:
    (goal,) = missed(replace(RESULTS, time_lapse=replace(TIME_LAPSE, seconds=14.1)))
    assert (goal.name, goal.wanted, goal.measured) == ("a time-lapse of 300 photos", "at most 14 s", "14.1 s")


def test_growth_is_judged_by_the_two_longest_libraries() -> None:
    steep = replace(GROWTH, runs=[*GROWTH.runs[:2], GrowthRun(media=1000, seconds=[57])])
    (goal,) = missed(replace(RESULTS, growth=steep))
    assert (goal.measured, goal.wanted) == ("1.27 times", "at most 1.25 times")


def test_a_wrong_copy_misses_a_goal_however_fast_it_was() -> None:
    (goal,) = missed(replace(RESULTS, growth=replace(GROWTH, wrong=["6b01 has other bytes", "6b02 is missing"])))
    assert goal.measured == "2 wrong, such as: 6b01 has other bytes"


def test_a_quick_run_is_judged_by_its_copies_alone() -> None:
    hasty = replace(slower(10_000), quick=True)
    assert missed(hasty) == []
    assert missed(replace(hasty, lanes=replace(LANES_RUN, wrong=["a is missing"])))


def test_parts_that_were_not_run_have_no_goals() -> None:
    assert goals(replace(RESULTS, lanes=None, time_lapse=None, growth=None)) == []


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_every_lane_carries_the_same(plan: Plan) -> None:
    sizes = list(plan.sizes())
    lanes = [sum(sizes[place :: LANES.count]) for place in range(LANES.count)]
    assert len(set(lanes)) == 1
    assert len(set(sizes[: LANES.count])) == LANES.count  # and they don't go in step
    assert plan.workload() == Workload(
        media=plan.rounds * LANES.count, bytes=sum(lanes), smallest=min(sizes), largest=max(sizes)
    )


def test_no_two_libraries_of_a_run_have_a_medium_in_common() -> None:
    first, second = (FULL.small_library(number, 10).series[0] for number in (1, 2))
    assert first.media_id(3) != second.media_id(3)
    assert first.captured(9) < second.captured(0)


def test_copies_are_compared_with_what_was_there() -> None:
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "2"}) == []
    found = differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    assert found == ["a is missing", "b has other bytes", "c was never wanted"]


def test_results_are_read_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save(RESULTS, path)
    again = load(path)
    assert (goals(again), document(again), plot(again)) == (goals(RESULTS), document(RESULTS), plot(RESULTS))


def test_the_document_has_every_part_and_its_figures() -> None:
    told = document(RESULTS)
    for wanted in (
        "90.9%",
        "80.0%",
        "110.0 s, 28.41 MB/s",
        "12.3 s, 24.39 MB/s",
        "6.0 s",
        "other-tool 9.8.7",
        "1.10",
        "A Chip",
        "2026-11-24",
    ):
        assert wanted in told
    assert "MISSED" not in told
    assert "Not measured" not in told
    assert not re.search(r"[\[{]\d|None|\{", told)


def test_a_missed_goal_is_in_the_document() -> None:
    assert "MISSED" in document(slower(1000))


def test_a_peer_that_could_not_be_measured_is_told_of_by_name_wherever_results_are() -> None:
    skipped = replace(RESULTS, peer=None, skipped={"other-tool": "It is not installed."})
    for told in (document(skipped), text(skipped)):
        assert "Not measured: other-tool. It is not installed." in told
    assert [name for name, _ in plot(skipped)["bars"]] == ["Cloud Sync"]


def test_the_phases_of_a_sync_add_up_to_the_whole() -> None:
    phases = text(RESULTS).split("Where the time")[1].split("A time-lapse")[0]
    *parts, whole = [float(found) for found in re.findall(r"(-?[\d.]+) s$", phases, re.MULTILINE)]
    assert sum(parts) == pytest.approx(whole) == 110


def test_a_part_can_be_told_of_alone() -> None:
    assert "Growth" in text(replace(RESULTS, lanes=None, peer=None))
    assert "other-tool" in text(replace(RESULTS, lanes=None, growth=None))
