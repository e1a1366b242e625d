"""The list of survivors is about the code that there is, and a run that falls short of it or of the bar fails."""

import ast
import re
from collections import Counter

import pytest

from tools.mutants.__main__ import BAR, KILLED, SURVIVED, TIMED_OUT, function_of, patterns, troubles
from tools.mutants.decisions import DECISIONS, Decision
from tools.mutants.survivors import Change, known_survivors
from tools.template import ROOT

CHANGE = Change("services/a.py", "f", was=("x = 1",), becomes=("x = 2",))


def sources(module: str) -> dict[str, str]:
    """The functions of a module by name, methods as `Class.method`."""
    text = (ROOT / module).read_text()
    tree = ast.parse(text)
    scopes = [("", tree.body), *[(f"{node.name}.", node.body) for node in tree.body if isinstance(node, ast.ClassDef)]]
    return {
        f"{prefix}{node.name}": ast.get_source_segment(text, node) or ""
        for prefix, body in scopes
        for node in body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision.module)
def test_what_is_mutated_and_what_has_to_notice_it_are_there(decision: Decision) -> None:
    assert set(decision.functions) <= set(sources(decision.module))
    assert decision.tests
    assert all((ROOT / "tests/unit" / test).is_file() for test in decision.tests)


@pytest.mark.parametrize("change", known_survivors(), ids=str)
def test_a_survivor_that_is_listed_is_of_a_line_that_there_is(change: Change) -> None:
    decisions = [decision for decision in DECISIONS if decision.module == change.module]
    assert any(not decision.functions or change.function in decision.functions for decision in decisions)
    lines = [line.strip() for line in sources(change.module)[change.function].splitlines()]
    assert set(change.was) <= set(lines)
    assert change.was != change.becomes


def test_a_change_is_read_from_a_diff() -> None:
    diff = "--- a\n+++ a\n@@ -1,3 +1,3 @@\n def f():\n-    x = 1\n+    x = 2\n     return x"
    assert Change.from_diff("services/a.py", "f", diff) == CHANGE


def test_mutants_are_found_by_the_names_that_mutmut_gives_them() -> None:
    decision = Decision(name="d", module="services/a.py", tests=["t"], functions=["f", "C.m"])
    assert patterns(decision) == ["services.a.x_f__mutmut_*", "services.a.xǁCǁm__mutmut_*"]
    assert [function_of(name) for name in ("services.a.x__f__mutmut_12", "services.a.xǁCǁ_m__mutmut_3")] == [
        "_f",
        "C._m",
    ]


def test_a_run_succeeds_at_the_bar_with_just_the_survivors_that_have_a_reason() -> None:
    at_the_bar = Counter({KILLED: BAR - 1, TIMED_OUT: 1, SURVIVED: 100 - BAR})
    assert troubles({"d": at_the_bar}, {CHANGE}, {CHANGE}) == []


@pytest.mark.parametrize(
    ("survived", "found", "known", "trouble"),
    [
        (101 - BAR, set(), set(), "d: fewer than"),
        (0, {CHANGE}, set(), "a survivor without a reason"),
        (0, set(), {CHANGE}, "listed, and no survivor any more"),
    ],
)
def test_a_run_fails_below_the_bar_and_by_a_survivor_too_many_or_too_few(
    survived: int, found: set[Change], known: set[Change], trouble: str
) -> None:
    counted = Counter({KILLED: 100 - survived, SURVIVED: survived})
    (told,) = troubles({"d": counted}, found, known)
    assert re.match(trouble, told)
