"""A few combinations in which every two values meet."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from tools.pairwise import cover, pairs, possible

NAMES = ("a", "b", "c", "d")


@given(
    values=st.fixed_dictionaries(
        {name: st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True) for name in NAMES}
    ),
    forbidden=st.sets(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), max_size=4),
)
def test_all_pairs_that_are_allowed_meet_and_no_others(
    values: dict[str, list[str]], forbidden: set[tuple[str, str]]
) -> None:
    rows = possible(values, lambda row: (row["a"], row["b"]) not in forbidden)
    taken = cover(rows)
    assert all(row in rows for row in taken)
    assert {pair for row in taken for pair in pairs(row)} == {pair for row in rows for pair in pairs(row)}


def test_the_rows_are_few_and_each_time_the_same() -> None:
    rows = possible(dict.fromkeys(NAMES, ("x", "y", "z")), lambda _: True)
    assert len(rows) == 81
    assert 9 <= len(cover(rows)) <= 12
    assert cover(rows) == cover(rows)


def test_a_row_of_settings_has_a_pair_for_each_two_of_them() -> None:
    row = dict.fromkeys(NAMES, "x")
    assert len(set(pairs(row))) == len(list(combinations(NAMES, 2)))
