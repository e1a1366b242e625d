"""The figures as tables for a terminal."""

from collections.abc import Sequence

from tools.load import bars, functions
from tools.load.bars import Results
from tools.load.functions import Measured

Row = Sequence[str]


def text(results: Results) -> str:
    """Return every bar with its measurement, and the functions' own figures."""
    goals = list(bars.goals(results))
    rows = [(goal.name, goal.wanted, goal.measured, "" if goal.met else "MISSED") for goal in goals]
    met = sum(goal.met for goal in goals)
    tables = [_aligned([("bar", "wanted", "measured", ""), *rows]), f"{met} bars met, {len(goals) - met} missed"]
    if results.functions:
        tables.insert(0, f"Functions by themselves\n\n{_aligned(_functions(results.functions))}")
    return "\n\n".join(tables)


def _functions(all_measured: Sequence[Measured]) -> list[Row]:
    return [
        ("", "media", "idle, MB", "peak, MB", "it has, MB", "processor time, s", "on Lambda's share, s", "invocations"),
        *(
            (
                one.case,
                f"{one.media:,}",
                _mb(one.idle),
                _mb(one.peak),
                _mb(functions.memory_of(one.case)),
                f"{one.seconds:.1f}",
                f"{bars.lambda_seconds(one):.1f}",
                str(one.invocations),
            )
            for one in all_measured
        ),
    ]


def _mb(count: int) -> str:
    return f"{count / (1 << 20):,.0f}"


def _aligned(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
