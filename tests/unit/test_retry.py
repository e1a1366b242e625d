"""Trying again with back-off, and how long a server asks to be left alone."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.retry import retry, retry_after
from tests.unit.clocks import ManualClock


class Flaky:
    """Raises these errors one by one, and then returns."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def attempt(flaky: Flaky, clock: ManualClock, *, tries: int = 5) -> str:
    return retry(flaky, on=KeyError, clock=clock, tries=tries, first_pause=1, longest_pause=3)


def test_the_pauses_between_tries_double_up_to_the_longest() -> None:
    clock = ManualClock()
    assert attempt(Flaky(*[KeyError()] * 4), clock) == "done"
    assert clock.slept == [1, 2, 3, 3]


def test_the_last_error_is_raised_when_all_tries_are_used_up() -> None:
    clock = ManualClock()
    with pytest.raises(KeyError, match="third"):
        attempt(Flaky(KeyError("first"), KeyError("second"), KeyError("third")), clock, tries=3)
    assert clock.slept == [1, 2]


def test_another_error_is_raised_at_once() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="no"):
        attempt(Flaky(ValueError("no")), clock)
    assert clock.slept == []


@pytest.mark.scenario(14)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Mon, 23 Nov 2020 01:00:30 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u00b2", None),
        ("9" * 5000, None),
        ("Mon, 23 Nov 99999999999999999999 01:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds


@pytest.mark.scenario(14)
def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"Retry-After": formatdate(time.time() + 9_000, usegmt=True)}) == pytest.approx(9_000, abs=600)


def test_without_the_header_nothing_is_asked_for() -> None:
    assert retry_after({}) is None


@given(st.text())
def test_no_retry_after_breaks_anything(value: str) -> None:
    seconds = retry_after({"Retry-After": value})
    assert seconds is None or seconds >= 0
