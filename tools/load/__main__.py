"""`python -m tools.load`: runs many media through the services, simulated and on the emulated AWS.

Exits with 0, with 1 when a bar is missed or something was lost, with 2 when this machine can't run it.
"""

import argparse
import sys
from collections.abc import Sequence

from ops.errors import OperatorError
from tools.arguments import positive
from tools.bench.sync.stage import Unfinished
from tools.load import report
from tools.load.bars import goals
from tools.load.measuring import PARTS, measure

_SIZES = (1000, 10_000, 100_000)
_MISSED, _UNUSABLE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.load", description="Many media: cost of each, and losses.")
    parser.add_argument("--sizes", type=_numbers, default=_SIZES, metavar="MEDIA,…", help="of the libraries, ascending")
    parser.add_argument("--only", type=_parts, default=PARTS, metavar="PART,…", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--jobs", type=positive, default=2, help="processes")
    parsed = parser.parse_args(arguments)
    try:
        results = measure(parsed.sizes, parsed.only, parsed.jobs)
    except OperatorError as error:
        print(f"load can't run: {error}", file=sys.stderr)
        return _UNUSABLE
    except Unfinished as error:
        print(f"load: {error}", file=sys.stderr)
        return _MISSED
    print(f"\n{report.text(results)}")
    return _MISSED if any(not goal.met for goal in goals(results)) else 0


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) if part.isdecimal() else 0 for part in text.split(","))
    if len(numbers) < 2 or list(numbers) != sorted(set(numbers)) or numbers[0] < 1:
        raise argparse.ArgumentTypeError("two numbers or more, each larger than the one before")
    return numbers


def _parts(text: str) -> tuple[str, ...]:
    asked = tuple(text.split(","))
    if unknown := set(asked) - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
