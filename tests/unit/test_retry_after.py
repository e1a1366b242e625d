"""How long a server asks to be left alone."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.retry_after import retry_after

NOW = datetime(2026, 11, 23, 1, 0, 0, tzinfo=UTC)


@pytest.mark.scenario(14)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 400, float("inf")),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("Monday, 23-Nov-26 01:00:30 GMT", 30.0),
        ("Mon Nov 23 01:00:30 2026", 30.0),
        ("Mon, 23 Nov 2026 02:00:30 +0100", 30.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u00b2", None),
        ("Mon, 23 Nov 99999999999999999999 01:00:30 GMT", None),
        ("Mon, 23 Nov 2026 01:00:30 +99999999999999999999", None),
    ],
)
def test_retry_after_is_understood_in_all_its_forms(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, now=lambda: NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_anything(value: str) -> None:
    seconds = retry_after({"Retry-After": value})
    assert seconds is None or seconds >= 0
