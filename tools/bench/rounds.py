"""Lets the contestants of a scenario take turns, so that other load on the machine affects all alike."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tools.bench import laps
from tools.bench.contestants import CONTESTANTS, ROOT, Contestant, Job, environment
from tools.bench.figures import Run
from tools.bench.kit import MIB, Kit, file_name
from tools.bench.measure import Failed, measure
from tools.bench.names import CONNECTIONS
from tools.bench.scenarios import Scenario

_SEED = "transfer"  # fixed, so that the order of turns is the same in every bench


@dataclass(frozen=True, kw_only=True)
class Played:
    runs: Sequence[Run]
    absent: Mapping[str, str]  # the reason, for each contestant that was skipped or failed
    part_size: int  # bytes
    workers: int


def play(
    scenario: Scenario,
    kit: Kit,
    *,
    rounds: range,
    contestants: Collection[str],
    warm_up: int,
    say: Callable[[str], None],
) -> Played:
    """Run rounds of a scenario, of which these contestants take part.

    `warm_up` is the size in bytes of the file that warm contestants copy first.
    """
    part_size, workers = _plan(scenario)
    absent: dict[str, str] = {}
    for name in contestants:
        if missing := CONTESTANTS[name].missing:
            absent[name] = missing
            say(f"{scenario.name}      {name:<26} skipped: {missing}")
    for size in {warm_up, *map(scenario.size_for, scenario.contestants)}:
        kit.add_file(size)
    runs: list[Run] = []
    for number in rounds:
        order = [name for name in scenario.contestants if name in contestants and name not in absent]
        random.Random(f"{_SEED} {scenario.name} {number}").shuffle(order)
        for name in order:
            turn = f"{scenario.name} {number + 1}/{rounds.stop}  {name:<26}"
            job = Job(
                source=kit.slow if scenario.slow else kit.fast,
                size=scenario.size_for(name),
                endpoint=kit.slow_sink if scenario.slow else kit.sink,
                key=f"{scenario.name}-{number}-{list(CONTESTANTS).index(name)}",
                authority=str(kit.authority),
                relay=str(kit.relay),
                warm_up=f"{kit.fast}/{file_name(warm_up)}",
                part_memory=scenario.part_memory,
                part_size=part_size,
                workers=workers,
                begin=scenario.begin,
            )
            try:
                run = _turn(scenario, name, number, job, kit)
            except Failed as failure:
                absent[name] = f"failed: {failure}"
                say(f"{turn} {absent[name]}")
            else:
                runs.append(run)
                say(f"{turn} {run.wall:7.2f} s {run.cpu:7.2f} s of CPU {run.rss / MIB:6.0f} MiB")
    return Played(runs=runs, absent=absent, part_size=part_size, workers=workers)


def _turn(scenario: Scenario, name: str, number: int, job: Job, kit: Kit) -> Run:
    contestant: Contestant = CONTESTANTS[name]
    usage, output = measure(contestant.command(job), environment=environment(kit), cwd=ROOT, within=scenario.within)
    stored = kit.stored_size(job.endpoint, job.key)
    if stored != job.size:
        raise Failed(f"of {job.size:,} bytes the sink was sent {stored or 0:,}")
    wall, cpu = usage.wall, usage.cpu
    if contestant.warm:
        lap = laps.last(output)
        wall, cpu = lap.wall, lap.cpu
    return Run(scenario=scenario.name, contestant=name, round=number, size=job.size, wall=wall, cpu=cpu, rss=usage.rss)


def _plan(scenario: Scenario) -> tuple[int, int]:
    """Return the size of our engine's parts in bytes, and how many it fetches at once."""
    numbers = map(str, (scenario.size, scenario.part_memory, CONNECTIONS))
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.plan", *numbers], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    plan = json.loads(done.stdout)
    return plan["part_size"], plan["workers"]
