"""Lets the contestants of a scenario take turns, so that what else the machine does weighs on all alike."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import laps
from bench.contestants import CONTESTANTS, ROOT, Contestant, Job, environment
from bench.figures import Run
from bench.kit import MIB, Kit, file_name
from bench.measure import Failed, measure
from bench.scenarios import CONNECTIONS, Scenario

_SEED = "transfer"  # a fixed one: the order of the turns is the same in each bench


@dataclass(frozen=True, kw_only=True)
class Played:
    runs: Sequence[Run]
    absent: Mapping[str, str]  # contestants that have no part in it, or no longer had: why
    part_size: int  # bytes
    workers: int


def play(scenario: Scenario, kit: Kit, *, rounds: int, warm_up: int, say: Callable[[str], None]) -> Played:
    """`warm_up`: the size of the file that is copied before, by who is measured warm."""
    part_size, workers = _plan(scenario)
    absent: dict[str, str] = {}
    for name in scenario.contestants:
        if missing := CONTESTANTS[name].missing:
            absent[name] = missing
            say(f"{scenario.name}      {name:<26} skipped: {missing}")
    for size in {warm_up, *map(scenario.size_for, scenario.contestants)}:
        kit.add_file(size)
    runs: list[Run] = []
    for number in range(rounds):
        order = [name for name in scenario.contestants if name not in absent]
        random.Random(f"{_SEED} {scenario.name} {number}").shuffle(order)
        for name in order:
            turn = f"{scenario.name} {number + 1}/{rounds}  {name:<26}"
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
    """The size of ours' parts in bytes, and how many of them are fetched at once."""
    numbers = map(str, (scenario.size, scenario.part_memory, CONNECTIONS))
    done = subprocess.run(
        [sys.executable, "-m", "bench.plan", *numbers], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    plan = json.loads(done.stdout)
    return plan["part_size"], plan["workers"]
