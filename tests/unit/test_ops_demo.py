"""The demonstration succeeds only when everything came out exactly as expected."""

from dataclasses import replace
from typing import Any

import pytest

from ops.demo import Original, StoredObject, compare
from ops.progress import View

EXPECTED = {"listed": 2, "stored": 1, "failed": 1, "stored_media": ("m1",), "failed_media": {"m2": "gone"}}
ORIGINALS = [Original(media_id="m1", item=1, size=3, sha256="abc")]
OBJECTS = [StoredObject(key="gopro/k", size=3, sha256="abc", media_id="m1", item=1)]
SUMMARY = {
    "outcome": "partial",
    "closed_because": "complete",
    "listed": 2,
    "downloaded": 1,
    "failed": 1,
    "outstanding": 0,
}


def view(failed: str = "m2", **summary: Any) -> View:
    sync = {"state": "CLOSED", "summary": {**SUMMARY, **summary}}
    return View(sync=sync, media={failed: {"state": "FAILED"}, "m1": {"state": "DOWNLOADED"}})


def test_the_expected_outcome_has_no_problems() -> None:
    assert compare(view(), OBJECTS, ORIGINALS, EXPECTED) == []


@pytest.mark.parametrize(
    ("name", "value"), [("outcome", "completed"), ("downloaded", 2), ("closed_because", "stalled")]
)
def test_another_summary_is_a_problem(name: str, value: Any) -> None:
    (problem,) = compare(view(**{name: value}), OBJECTS, ORIGINALS, EXPECTED)

    assert problem.startswith(f"the summary's {name} is {value}")


def test_the_failure_of_another_medium_is_a_problem() -> None:
    assert compare(view(failed="m1"), OBJECTS, ORIGINALS, EXPECTED)


def test_a_missing_a_foreign_a_doubled_and_a_different_object_are_problems() -> None:
    (missing,) = compare(view(), [], ORIGINALS, EXPECTED)
    assert missing == "item 1 of m1 is not in the bucket"

    (different,) = compare(view(), [replace(OBJECTS[0], sha256="abd")], ORIGINALS, EXPECTED)
    assert different == "gopro/k has other bytes than its original"

    (foreign,) = compare(view(), [*OBJECTS, replace(OBJECTS[0], key="gopro/x", item=2)], ORIGINALS, EXPECTED)
    assert foreign == "gopro/x is no original of the library"

    (doubled,) = compare(view(), OBJECTS * 2, ORIGINALS, EXPECTED)
    assert doubled == "an original lies in the bucket twice"
