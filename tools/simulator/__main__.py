"""`python -m tools.simulator`: run many seeds, or look at one."""

import argparse
import sys
from collections.abc import Mapping

from tools.arguments import positive
from tools.simulator.campaign import Result, campaign
from tools.simulator.scenario import Options
from tools.simulator.shrink import shrink
from tools.simulator.world import run

_LARGE = 5_000  # seeds from which on everything has to have happened


def main() -> int:
    arguments = _arguments()
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.options, trace=arguments.trace)
    result = campaign(
        start=arguments.start,
        count=None if arguments.minutes is not None and arguments.seeds is None else arguments.seeds or 1000,
        jobs=arguments.jobs,
        minutes=arguments.minutes,
    )
    _print_coverage(result)
    if result.failed:
        print(f"\n{len(result.failed)} seeds failed: {', '.join(str(seed) for seed, _ in result.failed[:20])}")
        for invariant, count in _by_invariant(result).items():
            print(f"  {count:>5}  {invariant}")
        _one(result.failed[0][0], Options(), trace=True)
        return 1
    if result.seeds >= _LARGE and (missing := result.missing()):
        print(f"\nNever happened, so nothing was tried of it: {', '.join(missing)}")
        return 1
    print("\nAll invariants held.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.simulator", description=__doc__)
    parser.add_argument("--seeds", type=positive, help="how many (1,000, or without an end where --minutes is given)")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parser.add_argument("--minutes", type=positive, help="stop after so long")
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument(
        "--options", type=Options.read, default=Options(), help="run it with less, as a failure says it"
    )
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    return parser.parse_args()


def _one(seed: int, options: Options, *, trace: bool) -> int:
    outcome = run(seed, options)
    if not outcome.violations:
        if trace:
            print("\n".join(outcome.trace.lines()))
        print(f"\nSeed {seed} ({outcome.name}): all invariants held; {outcome.effects:,} effects, {outcome.stamp}")
        return 0
    smaller = shrink(outcome)
    if trace:
        print(f"\nSeed {seed} ({smaller.name}), the shortest trace found:\n")
        print("\n".join(smaller.trace.lines()))
    print("\nFaults: " + (", ".join(f"{s.fault} (at {s.opportunity})" for s in smaller.strikes) or "none"))
    print("\n".join(f"Violated {violation}" for violation in smaller.violations))
    text = smaller.options.text()
    print(f"\nAgain: python -m tools.simulator --seed {seed}" + (f" --options '{text}'" if text else "") + " --trace")
    return 1


def _print_coverage(result: Result) -> None:
    rate = result.seeds / result.seconds if result.seconds else 0.0
    print(
        f"{result.seeds:,} seeds in {result.seconds:.0f} s ({rate:.0f} a second), {result.effects:,} effects; "
        + ", ".join(f"{count:,} {kind}" for kind, count in sorted(result.kinds.items()))
    )
    _table("Faults (how often; in how many runs)", result.faults, result.runs_with)
    _table("Killed at", result.boundaries)
    _table("Reached (in all runs together)", result.reached)


def _table(title: str, counts: Mapping[str, int], more: Mapping[str, int] | None = None) -> None:
    print(f"\n{title}")
    for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if count:
            print(f"  {count:>9,}" + (f"  {more[name]:>7,}" if more is not None else "") + f"  {name}")


def _by_invariant(result: Result) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for _, violations in result.failed:
        for violation in {text.partition(":")[0] for text in violations}:
            counts[violation] = counts.get(violation, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


if __name__ == "__main__":
    sys.exit(main())
