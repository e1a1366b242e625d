"""The table of failure scenarios is about the tests that there are: read from their sources, without running one."""

import pytest

from tests.scenario_report import DOCUMENT, marked_tests, marks_in, not_shown_as_required, render, worst
from tests.scenarios import SCENARIOS


def test_every_mark_is_of_a_known_scenario() -> None:
    unknown = {test: numbers for test, numbers in marked_tests().items() if not set(numbers) <= set(SCENARIOS)}
    assert unknown == {}


def test_every_scenario_has_a_test() -> None:
    assert sorted(SCENARIOS) == list(range(1, 61))
    assert {number for numbers in marked_tests().values() for number in numbers} == set(SCENARIOS)


def test_a_scenario_is_shown_with_what_it_has_to_be_shown_with() -> None:
    assert not_shown_as_required() == {}


def test_the_document_names_exactly_the_marked_tests() -> None:
    assert DOCUMENT.read_text() == render(), "`python -m tests.scenario_report` writes it"


def test_a_mark_counts_in_one_form_only() -> None:
    function = "@pytest.mark.scenario(3, 1)\ndef test_a(): ...\n"
    method = "class TestB:\n  @pytest.mark.scenario(2)\n  def test_c(self): ...\n"
    assert list(marks_in(function + method)) == [("test_a", [3, 1]), ("TestB::test_c", [2])]
    for other in ("pytestmark = pytest.mark.scenario(1)", "pytest.param(1, marks=pytest.mark.scenario(1))"):
        with pytest.raises(ValueError, match="in no other way"):
            list(marks_in(other))


def test_one_failure_is_a_failure_and_one_case_left_out_is_no_success() -> None:
    assert [worst(results) for results in (["passed"], ["passed", "not run"], ["not run", "failed"])] == [
        "passed",
        "not run",
        "failed",
    ]
