"""What the terminal says of a sync."""

import io
from typing import Any

from ops.progress import View, changes, closing, printable, size, standing
from ops.watch import Terminal


def sync(**fields: Any) -> dict[str, Any]:
    return {"sync_id": "s1", "record": "sync", "state": "OPEN", "requested_at": "2026-11-23T01:00:00Z", **fields}


def view(*, working: dict[str, Any] | None = None, media: dict[str, Any] | None = None, **fields: Any) -> View:
    return View(sync=sync(**fields), media=media or {}, working=working or {})


def test_a_sync_that_nobody_knows_yet_is_waited_for() -> None:
    assert list(changes(View(), View())) == []
    assert standing(View()) == "waiting for the sync to begin"


def test_the_request_and_the_listing_are_each_told_once() -> None:
    listed = view(expected=2, listed=5, stored=2, pending=1, discovered=2)

    assert list(changes(View(), listed)) == [
        "sync s1, asked for at 2026-11-23T01:00:00Z",
        "the library has 5 media: 2 stored already, 2 to download, 1 not ready yet",
    ]
    assert list(changes(listed, listed)) == []


def test_each_medium_is_told_when_it_begins_and_when_it_ends() -> None:
    waiting = view(media={"m1": {"state": "DISCOVERED", "filename": "GX01.MP4"}, "m2": {"state": "DISCOVERED"}})
    running = View(sync=waiting.sync, media=waiting.media, working={"m1": {}})
    done = view(
        media={
            "m1": {"state": "DOWNLOADED", "filename": "GX01.MP4", "bytes": 4_000_000, "seconds": 2},
            "m2": {"state": "FAILED", "reason": "gone"},
        }
    )

    assert list(changes(waiting, running)) == ["  downloading  GX01.MP4 (m1)"]
    assert list(changes(running, done)) == [
        "  stored       GX01.MP4 (m1), 4.0 MB in 2.0 s",
        "  failed       m2: gone",
    ]


def test_what_another_sync_stored_is_told_as_that() -> None:
    done = view(media={"m1": {"state": "DOWNLOADED", "already_stored": True}})

    assert list(changes(view(), done)) == ["  stored       m1, by another sync"]


def test_how_a_sync_stands_counts_what_is_under_way() -> None:
    now = view(expected=3, downloaded=1, failed=1, bytes=1_000_000, working={"m3": {"bytes_done": 500_000}})

    assert standing(now) == "1 of 3 stored, 1 failed, 1 under way; 1.5 MB"
    assert standing(view()) == "0 stored, listing the library; 0 bytes"


def test_the_close_says_the_outcome_and_why() -> None:
    summary = {"downloaded": 1, "failed": 2, "outstanding": 1}
    closed = sync(state="CLOSED", outcome="partial", closed_because="deadline", summary=summary)

    assert list(changes(view(), View(sync=closed))) == [closing(closed)]
    assert closing(closed) == "sync s1 completed with failures (deadline): 1 stored, 2 failed, 1 without a result"


def test_a_failed_sync_tells_its_reason() -> None:
    summary = {"reason": "the credentials\x1b[2J are wrong"}
    closed = sync(state="CLOSED", outcome="failed", closed_because="auth_failed", summary=summary)

    assert closing(closed).endswith("FAILED (auth_failed): 0 stored, 0 failed; the credentials?[2J are wrong")


def test_the_outcome_is_known_only_of_a_closed_sync() -> None:
    assert view(outcome="completed").outcome == ""
    assert view(state="CLOSED", outcome="completed").outcome == "completed"


def test_names_cannot_steer_the_terminal() -> None:
    assert printable("GX\x1b[31m01\n.MP4\u202e") == "GX?[31m01?.MP4?"


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (0, 999, 1500, 2_500_000, 4_012_345_678)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
        "4.01 GB",
    ]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_outside_a_terminal_the_standing_is_a_line_when_it_is_new_and_nothing_was_said_for_a_while() -> None:
    clock = {"now": 0.0}
    output = io.StringIO()
    terminal = Terminal(output, clock=lambda: clock["now"])

    for now, text in (
        (1, "1 stored"), (11, "1 stored"), (30, "1 stored"), (31, "2 stored"), (35, "2 stored"), (46, "3 stored"),
    ):  # fmt: skip
        clock["now"] = now
        if now == 35:
            terminal.line("a line")
        terminal.standing(text)

    assert output.getvalue() == "  1 stored\n  2 stored\na line\n  3 stored\n"


def test_in_a_terminal_the_standing_is_redrawn_below_the_lines() -> None:
    screen = Screen()
    terminal = Terminal(screen)

    terminal.standing("1 stored")
    terminal.line("a line")

    assert screen.getvalue() == "\x1b[2K  1 stored\r\x1b[2Ka line\n"
