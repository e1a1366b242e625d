"""Few combinations of settings in which every two values meet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product

Row = Mapping[str, str]


def pairs(row: Row) -> Iterator[frozenset[tuple[str, str]]]:
    """Yield each two of a row's settings, with their values."""
    yield from (frozenset(two) for two in combinations(row.items(), 2))


def possible(values: Mapping[str, Sequence[str]], allowed: Callable[[Row], bool]) -> list[Row]:
    """Return all allowed combinations."""
    rows = (dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))
    return [row for row in rows if allowed(row)]


def cover(rows: Sequence[Row]) -> list[Row]:
    """Return some of the rows, in which every two values meet that meet in any of them.

    Greedy: each row that is taken has the most pairs that are still missing, and of equal ones the first. So the same
    rows give the same result.
    """
    meeting = [(row, frozenset(pairs(row))) for row in rows]
    missing = frozenset().union(*(found for _, found in meeting))
    taken = []
    while missing:
        row, found = max(meeting, key=lambda one: len(one[1] & missing))
        taken.append(row)
        missing -= found
    return taken
