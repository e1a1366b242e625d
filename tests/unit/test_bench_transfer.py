"""What the bench makes of what it measured. Nothing is transferred here."""

import contextlib
import json
import ssl
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from tools.bench import laps, report
from tools.bench.contestants import CONTESTANTS, ROOT, Contestant
from tools.bench.figures import GIB, MIB, Figures, Run, Spread, cpu_per_gib, speed, wall_per_gib
from tools.bench.goals import GOALS, Goal, Outcome, Verdict, judge
from tools.bench.kit import make_certificates
from tools.bench.measure import Failed, SmallFunction, measure
from tools.bench.names import (
    CONNECTIONS,
    COPYURL,
    CURL,
    LANES,
    MEMORY,
    NAIVE,
    OURS_COLD,
    OURS_WARM,
    RELAY,
    SINGLE_CONNECTION,
    STREAMS,
    UNLIMITED,
)
from tools.bench.results import Plan, Proof, Results
from tools.bench.scenarios import scenarios

SIZE = GIB
LANE_RATE = 6_250_000.0
ENVIRONMENT: Mapping[str, str] = {}


def run(
    contestant: str,
    *,
    number: int = 0,
    scenario: str = UNLIMITED,
    size: int = SIZE,
    wall: float = 2.0,
    cpu: float = 2.0,
    rss: int = 100 * MIB,
) -> Run:
    return Run(scenario=scenario, contestant=contestant, round=number, size=size, wall=wall, cpu=cpu, rss=rss)


def all_runs(**cpu: float) -> list[Run]:
    """One round of everything, in which ours is good enough for every goal."""
    runs = []
    for scenario in scenarios(quick=False):
        for contestant in scenario.contestants:
            ours = contestant in (OURS_WARM, OURS_COLD)
            size = scenario.size_for(contestant)
            at_once = CONNECTIONS if ours or size == scenario.size else 1
            wall = size / (LANE_RATE * at_once) if scenario.slow else 1.0
            slower = 1.0 if ours or contestant == RELAY else 2.5
            seconds = cpu.get("ours", 1.0) if ours else slower
            runs.append(
                run(contestant, scenario=scenario.name, size=size, wall=wall if scenario.slow else slower, cpu=seconds)
            )
    return runs


def results(
    runs: list[Run],
    *,
    absent: dict[tuple[str, str], str] | None = None,
    proofs: list[Proof] | None = None,
    quick: bool = False,
) -> Results:
    return Results(
        begun="2026-08-14T02:00:00+00:00",
        seconds=600,
        quick=quick,
        machine={"processor": "an abacus", "cores": "2", "memory": "4 GiB", "kernel": "Linux 6"},
        versions={"rclone": "v1"},
        load=0.1,
        scenarios=scenarios(quick=quick),
        lane_rate=LANE_RATE,
        plans={scenario.name: Plan(part_size=16 * MIB, workers=8) for scenario in scenarios(quick=quick)},
        runs=runs,
        absent=absent or {},
        proofs=proofs if proofs is not None else [Proof(size=1, parts=1, same=True)],
    )


def outcome(name: str, outcomes: list[Outcome]) -> Outcome:
    (found,) = [one for one in outcomes if name in one.goal.name]
    return found


def test_a_ratio_is_taken_within_a_round_before_the_median() -> None:
    # The machine was twice as slow in the second round, for both alike.
    runs = [run(OURS_WARM, number=n, cpu=cpu) for n, cpu in enumerate((1.0, 2.0, 1.5))]
    runs += [run(RELAY, number=n, cpu=cpu) for n, cpu in enumerate((1.0, 2.0, 1.0))]
    ratio = Figures(runs).ratio(UNLIMITED, OURS_WARM, RELAY, cpu_per_gib)
    assert ratio == Spread.of([1.0, 1.0, 1.5])


def test_a_round_that_only_one_finished_is_left_out_of_the_ratio() -> None:
    runs = [run(OURS_WARM, number=0, cpu=1.0), run(OURS_WARM, number=1, cpu=9.0), run(RELAY, number=0, cpu=2.0)]
    assert Figures(runs).ratio(UNLIMITED, OURS_WARM, RELAY, cpu_per_gib) == Spread.of([0.5])


def test_files_of_different_sizes_are_compared_by_the_byte() -> None:
    runs = [run(OURS_WARM, size=4 * GIB, wall=8.0), run(NAIVE, size=GIB, wall=4.0)]
    assert Figures(runs).ratio(UNLIMITED, OURS_WARM, NAIVE, wall_per_gib) == Spread.of([0.5])


def test_the_lead_is_over_the_fastest_of_the_others_in_each_round() -> None:
    runs = [run(OURS_WARM, number=n, wall=1.0) for n in range(2)]
    runs += [run(COPYURL, number=0, wall=6.0), run(CURL, number=0, wall=8.0)]
    runs += [run(COPYURL, number=1, wall=9.0), run(CURL, number=1, wall=7.0)]
    lead = Figures(runs).lead(UNLIMITED, OURS_WARM, (COPYURL, CURL, NAIVE))
    assert lead == Spread.of([6.0, 7.0])


def test_what_was_not_measured_has_no_figure() -> None:
    figures = Figures([run(OURS_WARM)])
    assert figures.of(UNLIMITED, RELAY, speed) is None
    assert figures.ratio(UNLIMITED, OURS_WARM, RELAY, speed) is None
    assert figures.lead(UNLIMITED, OURS_WARM, SINGLE_CONNECTION) is None


@pytest.mark.parametrize(
    ("at_least", "values", "verdict", "close"),
    [
        (False, [1.35], Verdict.MET, False),
        (False, [1.351], Verdict.MISSED, False),
        (True, [1.35], Verdict.MET, False),
        (True, [1.349], Verdict.MISSED, False),
        (False, [1.2, 1.3, 1.4], Verdict.MET, True),
        (False, [1.3, 1.4, 1.5], Verdict.OPEN, True),
        (True, [1.2, 1.3, 1.4], Verdict.OPEN, True),
        (False, [1.36, 1.4, 1.5], Verdict.MISSED, False),
        (False, [1.3, *[1.4] * 8], Verdict.MISSED, False),
        (False, [1.3, 1.3, *[1.4] * 7], Verdict.OPEN, True),
    ],
)
def test_a_goal_is_missed_only_where_chance_does_not_decide(
    at_least: bool, values: list[float], verdict: Verdict, close: bool
) -> None:
    goal = Goal(name="", scenario=UNLIMITED, contestants=(), measure=lambda _: None, limit=1.35, at_least=at_least)
    spread = Spread.of(values)
    assert spread
    assert (goal.verdict(spread), goal.is_close(spread)) == (verdict, close)


def test_more_figures_say_more_exactly_where_the_median_is() -> None:
    def left_out(count: int) -> float:
        spread = Spread.of([float(n) for n in range(count)])
        assert spread
        assert spread.likely_high == count - 1 - spread.likely_low
        return spread.likely_low

    # The usual table of the sign test at 5 %.
    assert [left_out(n) for n in (1, 5, 6, 8, 9, 11, 12, 15, 20)] == [0, 0, 0, 0, 1, 1, 2, 3, 5]


def test_more_rounds_are_run_by_those_whose_goal_chance_decides() -> None:
    runs = [run(OURS_WARM, number=n, cpu=cpu) for n, cpu in enumerate((1.15, 1.25, 1.3))]
    runs += [run(other, number=n, cpu=cpu) for n in range(3) for other, cpu in ((RELAY, 1.0), (NAIVE, 9.0))]
    (unlimited,) = [one for one in scenarios(quick=False) if one.name == UNLIMITED]
    found = results(runs)
    assert outcome("CPU per GiB, of the C relay's", found.outcomes).verdict is Verdict.OPEN
    assert found.undecided(unlimited) == {OURS_WARM, RELAY}
    assert not [fault for fault in found.faults if "relay" in fault and "CPU" in fault]


def test_every_goal_is_judged() -> None:
    outcomes = judge(Figures(all_runs(), lane_rate=LANE_RATE), {})
    assert [one.goal for one in outcomes] == list(GOALS)
    assert {one.verdict for one in outcomes} == {Verdict.MET}


def test_every_goal_can_be_told_from_its_scenario() -> None:
    taking_part = {scenario.name: set(scenario.contestants) for scenario in scenarios(quick=False)}
    for goal in GOALS:
        assert set(goal.contestants) <= taking_part[goal.scenario], goal.name


def test_a_goal_whose_other_side_is_skipped_is_not_met_and_says_why() -> None:
    runs = [one for one in all_runs() if one.contestant != CURL]
    absent = {(LANES, CURL): "curl not found"}
    lead = outcome("fastest single-connection", judge(Figures(runs, lane_rate=LANE_RATE), absent))
    assert lead.verdict is Verdict.UNKNOWN
    assert lead.why == f"{CURL}: curl not found"


def test_a_contestant_that_failed_in_a_later_round_is_not_judged_by_its_earlier_ones() -> None:
    absent = {(LANES, STREAMS): "failed: it didn't end in time"}
    told = outcome("copyto", judge(Figures(all_runs(), lane_rate=LANE_RATE), absent))
    assert told.verdict is Verdict.UNKNOWN


def test_the_speed_is_told_of_what_all_lanes_give() -> None:
    runs = [run(OURS_WARM, scenario=LANES, size=100_000_000, wall=2.0)]
    told = outcome("ideal", judge(Figures(runs, lane_rate=LANE_RATE), {}))
    assert told.spread == Spread.of([100.0])


def test_a_missed_goal_fails_the_bench_by_its_name() -> None:
    (fault, *_) = results(all_runs(ours=1.4)).faults
    assert fault == "missed: A, CPU per GiB, of the C relay's"
    assert results(all_runs()).faults == []


def test_small_files_miss_no_goals() -> None:
    assert results(all_runs(ours=9.0), quick=True).faults == []


@pytest.mark.parametrize("quick", [False, True])
def test_other_bytes_than_the_sources_fail_every_bench(quick: bool) -> None:
    wrong = Proof(size=8_388_609, parts=2, same=False, why="other bytes were stored")
    assert results(all_runs(), proofs=[wrong], quick=quick).faults == [
        "wrong: 8,388,609 bytes: other bytes were stored"
    ]


def test_a_transfer_of_ours_that_fails_fails_the_bench() -> None:
    absent = {(MEMORY, OURS_COLD): "failed: no memory"}
    assert f"failed: {MEMORY}, {OURS_COLD}: failed: no memory" in results(all_runs(), absent=absent).faults


def test_a_missing_tool_is_skipped_by_its_name() -> None:
    here = Contestant(command=lambda _: [], tool=sys.executable)
    gone = Contestant(command=lambda _: [], tool="/nowhere/rclone")
    assert here.missing is None
    assert gone.missing == "rclone not found"


def test_all_contestants_of_the_scenarios_are_known() -> None:
    for scenario in scenarios(quick=False):
        assert set(scenario.contestants) <= set(CONTESTANTS)


def test_who_has_one_connection_gets_the_smaller_file() -> None:
    (lanes,) = [one for one in scenarios(quick=False) if one.name == LANES]
    assert lanes.size_for(OURS_WARM) == lanes.size_for(STREAMS) == lanes.size
    assert {lanes.size_for(one) for one in SINGLE_CONNECTION} == {lanes.single_size}


def test_the_results_tell_every_run_and_what_was_skipped(tmp_path: Path) -> None:
    runs = [one for one in all_runs() if one.contestant != CURL]
    absent = {(UNLIMITED, CURL): "curl not found"}
    path = tmp_path / "results.json"
    results(runs, absent=absent).write(path)
    told = json.loads(path.read_text())
    assert len(told["runs"]) == len(runs)
    assert told["skipped"] == [f"{CURL} in {UNLIMITED}: curl not found"]
    assert [goal["name"] for goal in told["goals"]] == [goal.name for goal in GOALS]
    assert told["machine"]["processor"] == "an abacus"


def test_the_document_has_all_goals_all_figures_and_what_was_skipped() -> None:
    runs = [one for one in all_runs() if one.contestant != CURL]
    absent = {(UNLIMITED, CURL): "curl not found", (LANES, CURL): "curl not found"}
    written = report.document(results(runs, absent=absent), picture="performance.svg")
    assert all(goal.name in written for goal in GOALS)
    assert f"- {CURL} in {LANES}: curl not found" in written
    assert "2026-08-14" in written
    assert "an abacus, 2 cores, Linux 6" in written
    assert "](performance.svg)" in written
    assert "$" not in written


def test_a_document_without_a_picture_shows_none() -> None:
    assert "![" not in report.document(results(all_runs()), picture=None)


def test_tables_have_as_many_cells_in_every_row() -> None:
    """A name with a bar in it doesn't become two cells."""
    lines = report.document(results(all_runs()), picture=None).splitlines()
    for above, line in pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.replace("\\|", "").count("|") == line.replace("\\|", "").count("|")


def test_the_terminal_is_told_what_was_wrong() -> None:
    wrong = Proof(size=5, parts=1, same=False, why="other bytes were stored")
    assert "WRONG: other bytes were stored" in report.text(results(all_runs(), proofs=[wrong]))


def test_a_process_tells_of_its_last_transfer() -> None:
    lines = [json.dumps({"size": n, "wall": 1.5, "cpu": 0.5, "rss": 7}) for n in (10, 20)]
    assert laps.last("\n".join(lines) + "\n") == laps.Lap(size=20, wall=1.5, cpu=0.5, rss=7)


def test_a_pipeline_is_measured_with_all_its_commands() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass\n"
    stages = [[sys.executable, "-c", f"{burn}print('through')"], [sys.executable, "-c", f"{burn}print(input())"]]
    usage, output = measure(stages, environment=ENVIRONMENT, cwd=ROOT)
    assert output == "through\n"
    assert usage.cpu >= 0.4
    assert usage.wall >= 0.2


def test_a_command_that_fails_is_told_of_by_its_last_words() -> None:
    with pytest.raises(Failed, match=r"out of luck \(exit status 1\)"):
        measure([[sys.executable, "-c", "raise SystemExit('out of luck')"]], environment=ENVIRONMENT, cwd=ROOT)


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(Failed, match="in time"):
        measure(
            [[sys.executable, "-c", "import time; time.sleep(60)"]],
            environment=ENVIRONMENT,
            cwd=ROOT,
            patience_seconds=0.1,
        )


def test_a_process_in_a_small_function_gets_its_share_and_no_more() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    room = SmallFunction(cpu_share=0.3, memory_bytes=512 * MIB)
    usage, _ = measure([[sys.executable, "-c", burn]], environment=ENVIRONMENT, cwd=ROOT, within=room)
    assert usage.cpu / usage.wall < 0.36  # the share, and what is used between two looks


def test_a_process_in_a_small_function_has_its_memory_and_no_more() -> None:
    room = SmallFunction(cpu_share=1.0, memory_bytes=128 * MIB)
    take = "import time; time.sleep(0.3); bytearray(256 << 20)"
    with pytest.raises(Failed, match="MemoryError"):
        measure([[sys.executable, "-c", take]], environment=ENVIRONMENT, cwd=ROOT, within=room)


@pytest.mark.slow  # needs the openssl command, as a stage with TLS does
def test_the_benchs_certificate_is_verified_strictly_too(tmp_path: Path) -> None:
    """As Python 3.13 does by default."""
    make_certificates(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there, server_hostname="127.0.0.1")
    server = serving.wrap_bio(there, back, server_side=True)
    for side in (client, server):
        with contextlib.suppress(ssl.SSLWantReadError):  # each waits for what the other says next
            side.do_handshake()
    client.do_handshake()
