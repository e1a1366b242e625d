"""The demonstration succeeds only when everything is exactly as expected."""

from dataclasses import replace
from typing import Any

import pytest

from ops.demo import Original, StoredObject, _listing, compare, troubles
from ops.local.gopro_cloud.observations import Seen
from ops.progress import View

EXPECTED = {"listed": 2, "stored": 1, "failed": 1, "stored_media": ("m1",), "failed_media": {"m2": "gone"}}
ORIGINALS = [Original(media_id="m1", item=1, size=3, sha256="abc")]
STORED = StoredObject(key="gopro/k", size=3, sha256="abc", media_id="m1", item=1)
SUMMARY = {
    "outcome": "partial",
    "closed_because": "complete",
    "listed": 2,
    "downloaded": 1,
    "failed": 1,
    "outstanding": 0,
}


def problems(*objects: StoredObject, failed: str = "m2", **summary: Any) -> list[str]:
    sync = {"state": "CLOSED", "summary": {**SUMMARY, **summary}}
    view = View(sync=sync, media={failed: {"state": "FAILED"}, "m1": {"state": "DOWNLOADED"}})
    return compare(view, objects, ORIGINALS, EXPECTED)


def test_the_expected_outcome_has_no_problems() -> None:
    assert problems(STORED) == []


@pytest.mark.parametrize(
    ("name", "value"), [("outcome", "completed"), ("downloaded", 2), ("closed_because", "stalled")]
)
def test_another_summary_is_a_problem(name: str, value: Any) -> None:
    (problem,) = problems(STORED, **{name: value})

    assert problem.startswith(f"the summary's {name} is {value}")


def test_the_failure_of_another_medium_is_a_problem() -> None:
    assert problems(STORED, failed="m3") == ["these media failed: m3"]


@pytest.mark.parametrize(
    ("objects", "problem"),
    [
        ([], "item 1 of m1 is not in the bucket"),
        ([replace(STORED, sha256="abd")], "gopro/k differs from its original"),
        ([STORED, replace(STORED, key="gopro/x", item=2)], "gopro/x is not an original of the library"),
        ([STORED, STORED], "an original is in the bucket twice"),
    ],
)
def test_a_missing_a_different_a_foreign_and_a_duplicate_object_are_problems(
    objects: list[StoredObject], problem: str
) -> None:
    assert problems(*objects) == [problem]


def seen(range_: str, *, status: int = 206, sent: int = 1000) -> Seen:
    return Seen(at=0, endpoint="cdn", method="GET", media_id="m1", item=1, range=range_, status=status, bytes_sent=sent)


@pytest.mark.parametrize(
    ("requests", "lines"),
    [
        ([seen("bytes=0-999"), seen("bytes=1000-4095")], []),  # to the end of the file
        (
            [seen("bytes=0-1999"), seen("bytes=1000-1999")],
            ["GX01.MP4: the connection dropped at byte 1,000; another connection went on from there."],
        ),
        (
            [seen("bytes=0-1999"), seen("bytes=0-1999", sent=2000)],
            ["GX01.MP4: the connection dropped at byte 1,000; the rest was fetched again."],
        ),
        (
            [seen("bytes=0-999", status=403, sent=10), seen("bytes=0-999")],
            ["GX01.MP4: the signed URL had expired (403); a new URL was requested, and it served the file."],
        ),
    ],
)
def test_a_dropped_connection_and_an_expired_url_are_shown_with_how_the_download_went_on(
    requests: list[Seen], lines: list[str]
) -> None:
    originals = [replace(ORIGINALS[0], size=2000)]

    assert list(troubles(requests, originals, {"m1": "GX01.MP4"})) == lines


def test_the_files_fit_a_terminal_of_80_columns() -> None:
    key = "gopro/2026/08/09/6a93000000000000000d000c/Sunday_at_the_lake_with_family.MP4"
    stored = replace(STORED, key=key, sha256="a" * 64, size=999_900_000)

    lines = list(_listing([stored], ORIGINALS))

    assert max(map(len, lines)) <= 80
    assert lines[1].endswith("sha256 aaaaaaaaaaaa…  NOT the original")
