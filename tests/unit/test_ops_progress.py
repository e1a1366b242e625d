"""The lines that a terminal shows of a sync."""

import io
from typing import Any

import pytest

from ops.progress import View, changes, closing, printable, size, standing
from ops.watch import Terminal
from services.shared.library.records import MediumRecord

TWO = {"m1": {"state": "DISCOVERED", "filename": "GX01.MP4"}, "m2": {"state": "DISCOVERED"}}
STORED = {"state": "DOWNLOADED", "filename": "GX01.MP4", "bytes": 4_000_000, "seconds": 2}
RUNNING = {"m1": MediumRecord(media_id="m1", bytes_done=500_000)}


def view(working: dict[str, MediumRecord] | None = None, media: dict[str, Any] | None = None, **fields: Any) -> View:
    sync = {"sync_id": "s1", "record": "sync", "state": "OPEN", "requested_at": "2026-11-23T01:00:00Z", **fields}
    return View(sync=sync, media=media or {}, working=working or {})


LISTED = view(expected=2, listed=5, stored=2, pending=1, discovered=2)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (View(), View(), []),
        (
            View(),
            LISTED,
            [
                "sync s1, requested at 2026-11-23T01:00:00Z",
                "the library has 5 media: 2 stored already, 2 to download, 1 not ready yet",
            ],
        ),
        (
            view(),
            view(expected=1, listed=2, stored=1, filters={"types": ["Video"]}, library_media=19),
            ["2 media match the filter, of 19: 1 stored already, 1 to download"],
        ),
        (LISTED, LISTED, []),
        (view(media=TWO), view(media=TWO, working=RUNNING), ["  downloading  GX01.MP4 (m1)"]),
        (
            view(media=TWO, working=RUNNING),
            view(media={"m1": STORED, "m2": {"state": "FAILED", "reason": "gone"}}),
            ["  stored       GX01.MP4 (m1), 4.0 MB in 2.0 s", "  failed       m2: gone"],
        ),
        (
            view(media=TWO),
            view(media={**TWO, "m1": {"state": "SKIPPED", "filename": "GX01.MP4"}}),
            ["  skipped      GX01.MP4 (m1): the sync was cancelled"],
        ),
        (
            view(),
            view(media={"m1": {"state": "DOWNLOADED", "already_stored": True}}),
            ["  stored       m1, by another sync"],
        ),
    ],
)
def test_everything_that_happens_is_shown_once(before: View, after: View, lines: list[str]) -> None:
    assert list(changes(before, after)) == lines


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (View(), "waiting for the sync to start"),
        (view(), "0 stored, listing the library; 0 bytes"),
        (
            view(expected=3, downloaded=1, failed=1, bytes=1_000_000, working=RUNNING),
            "1 of 3 stored, 1 failed, 1 in progress; 1.5 MB",
        ),
    ],
)
def test_the_standing_includes_the_downloads_in_progress(now: View, line: str) -> None:
    assert standing(now) == line


@pytest.mark.parametrize(
    ("outcome", "because", "summary", "line"),
    [
        (
            "partial",
            "deadline",
            {"downloaded": 1, "failed": 2, "outstanding": 1},
            "sync s1 completed with failures (deadline): 1 stored, 2 failed, 1 without a result",
        ),
        (
            "failed",
            "auth_failed",
            {"reason": "the credentials\x1b[2J are wrong"},
            "sync s1 FAILED (auth_failed): 0 stored, 0 failed; the credentials?[2J are wrong",
        ),
        (
            "partial",
            "cancelled",
            {"downloaded": 1, "skipped": 2, "reason": "cancelled at noon"},
            "sync s1 ended (cancelled): 1 stored, 2 left for the next sync; cancelled at noon",
        ),
    ],
)
def test_the_close_says_the_outcome_and_why(outcome: str, because: str, summary: dict[str, Any], line: str) -> None:
    closed = view(state="CLOSED", outcome=outcome, closed_because=because, summary=summary)

    assert closed.sync is not None
    assert list(changes(view(), closed)) == [closing(closed.sync)] == [line]


def test_only_a_closed_sync_has_an_outcome() -> None:
    assert view(outcome="completed").outcome == ""
    assert view(state="CLOSED", outcome="completed").outcome == "completed"


def test_a_name_cannot_control_the_terminal() -> None:
    assert printable("GX\x1b[31m01\n.MP4\u202e") == "GX?[31m01?.MP4?"


def test_a_size_has_a_decimal_unit() -> None:
    sizes = [size(count) for count in (0, 999, 1500, 2_500_000, 4_012_345_678)]

    assert sizes == ["0 bytes", "999 bytes", "1.5 kB", "2.5 MB", "4.01 GB"]


def test_outside_a_terminal_the_standing_is_printed_when_it_is_new_and_nothing_was_printed_for_a_while() -> None:
    clock, output = [0.0], io.StringIO()
    terminal = Terminal(output, clock=lambda: clock[0])

    for now, stored in ((1, 1), (11, 1), (30, 1), (31, 2), (35, 2), (46, 3)):
        clock[0] = now
        if now == 35:
            terminal.line("a line")
        terminal.standing(f"{stored} stored")

    assert output.getvalue() == "  1 stored\n  2 stored\na line\n  3 stored\n"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_the_standing_is_redrawn_below_the_lines() -> None:
    screen = Screen()
    terminal = Terminal(screen)

    terminal.standing("1 stored")
    terminal.line("a line")

    assert screen.getvalue() == "\x1b[2K  1 stored\r\x1b[2Ka line\n"


def test_a_line_is_folded_at_the_width_of_the_terminal_and_nowhere_else() -> None:
    narrow, endless = io.StringIO(), io.StringIO()

    for output, width in ((narrow, 40), (endless, None)):
        terminal = Terminal(output, width=width)
        terminal.line("  stored       GX010101.MP4 (m1), 6.9 MB in 3 s")
        terminal.line("sync s completed (complete): 12345 stored, 0 failed")

    assert narrow.getvalue() == (
        "  stored       GX010101.MP4 (m1), 6.9 MB\n               in 3 s\n"
        "sync s completed (complete):\n    12345 stored, 0 failed\n"
    )
    assert endless.getvalue().count("\n") == 2
