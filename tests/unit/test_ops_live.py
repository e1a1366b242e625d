"""The live picture of a sync: what it says, and that it fits."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from ops.live import LiveScreen, bar_of, picture
from ops.progress import View
from ops.rates import Rates
from ops.watch import Terminal, screen
from services.shared.library.records import GOPRO, SESSION, LaneProgress, MediumRecord, Status

MB = 1_000_000
HOSTILE = "\x1b[2J\u202e" + "very long " * 100
NOON = datetime(2026, 11, 27, 12, 0, 45, tzinfo=UTC)


def working(media_id: str, count: int, of: int, **progress: Any) -> MediumRecord:
    now = LaneProgress(at=1, bytes=count, of_bytes=of, parts=1, of_parts=4, files=0, of_files=1)
    return MediumRecord(
        media_id=media_id,
        status=Status.DOWNLOADING,
        tried_at=f"2026-11-27T12:00:{media_id[-1:]}0Z",
        progress=LaneProgress(**{**vars(now), **progress}),
    )


def view(**working_: MediumRecord) -> View:
    """A sync of six media: one stored, one failed, the others with these lanes or waiting."""
    media: dict[str, dict[str, Any]] = {
        f"m{number}": {"state": "DISCOVERED", "filename": f"GX01000{number}.MP4", "size": 100 * MB}
        for number in range(1, 5)
    }
    media["m5"] = {"state": "DOWNLOADED", "filename": "GX010005.MP4", "size": 99 * MB, "bytes": 100 * MB}
    media["m6"] = {"state": "FAILED", "filename": "GX010006.MP4", "size": 50 * MB}
    counts = {"listed": 9, "stored": 3, "expected": 6, "downloaded": 1, "failed": 1, "bytes": 100 * MB}
    sync = {"sync_id": "s", "requested_at": "2026-11-27T12:00:00Z", "discovered": 6, **counts}
    return View(sync=sync, media=media, working=working_)


def drawn(shown: View, *, width: int = 80, rates: Rates | None = None, now: float = 0.0, **more: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(picture(shown, rates or Rates(), now=now, moment=NOON, width=width, **more))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_bar_counts_the_bytes_that_are_stored_and_those_that_have_arrived() -> None:
    rates = Rates()
    for second in range(3):
        lane = working("m1", (40 + 5 * second) * MB, 100 * MB)
        rates.note(view(m1=lane).arrived, {"m1": second}, now=second)

    lines = drawn(view(m1=lane), rates=rates, now=2.0)

    assert lines[0].endswith("  30 %  150.0 MB of 500.0 MB")
    assert lines[1] == "9 in the library, 3 stored already, 6 new: 1 stored, 1 failed, 1 in progress"
    assert lines[2] == "5.0 MB/s, 45 s elapsed, about 1 min 10 s left"
    assert lines[3:] == ["GX010001.MP4 100.0 MB █████░░░░░ 50 %   5.0 MB/s part 2 of 4"]


def test_while_the_size_of_a_medium_is_not_known_no_time_is_promised() -> None:
    rates, shown = Rates(), view(m1=working("m1", 90 * MB, 100 * MB))
    for second in range(3):
        rates.note({"m1": (second + 1) * MB}, {}, now=second)
    media = {**shown.media, "m2": {**shown.media["m2"], "size": None}}

    lines = drawn(View(sync=shown.sync, media=media, working=shown.working), rates=rates, now=2.0)

    assert lines[0].endswith("  47 %  190.0 MB of at least 400.0 MB")
    assert lines[2] == "1.0 MB/s, 45 s elapsed"


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        ({"waits_for": SESSION}, "waits for a session"),
        ({"waits_for": GOPRO}, "GoPro is busy"),
        ({"files": 1, "of_files": 3}, "file 2 of 3, part 2 of 4"),
        ({"parts": 4}, "part 4 of 4"),
    ],
)
def test_a_lane_says_what_it_is_at(progress: dict[str, Any], said: str) -> None:
    (lane,) = drawn(view(m1=working("m1", MB, 100 * MB, **progress)))[3:]

    assert lane.endswith(said)


def test_a_lane_without_bytes_for_a_while_says_so() -> None:
    rates, shown = Rates(), view(m1=working("m1", MB, 100 * MB))
    rates.note(shown.arrived, {"m1": 1.0}, now=1.0)

    assert drawn(shown, rates=rates, now=4.9)[3].endswith("part 2 of 4")
    assert drawn(shown, rates=rates, now=5.0)[3].endswith("no bytes for 4 s")


def test_a_lane_that_has_not_said_anything_yet_begins() -> None:
    record = MediumRecord(media_id="m1", status=Status.DOWNLOADING)

    assert drawn(view(m1=record))[3] == "GX010001.MP4 100.0 MB ░░░░░░░░░░  0 %            begins"


def test_a_medium_that_another_sync_has_is_shown_as_waiting() -> None:
    base = view()
    shown = View(sync=base.sync, media=base.media, elsewhere={"m2": MediumRecord(media_id="m2")})

    assert drawn(shown)[3].split("  ")[0] == "GX010002.MP4"
    assert drawn(shown)[3].endswith("another sync has it")


def test_before_media_are_known_the_picture_says_what_the_sync_waits_for() -> None:
    sync = {"sync_id": "s", "requested_at": "2026-11-27T12:00:00Z"}

    assert drawn(View()) == ["waiting for the sync to start"]
    assert drawn(View(sync=sync)) == ["listing the library, 45 s elapsed"]
    assert drawn(View(sync=sync, signed_in=False)) == ["waiting for a session with GoPro, 45 s elapsed"]


@pytest.mark.parametrize("width", [20, 40, 71, 72, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_name_harms_it(width: int) -> None:
    lanes = {f"m{number}": working(f"m{number}", 99 * MB, 100 * MB, of_files=30) for number in range(1, 5)}
    shown = view(**lanes)
    media = {media_id: {**medium, "filename": HOSTILE} for media_id, medium in shown.media.items()}

    lines = drawn(View(sync=shown.sync, media=media, working=lanes), width=width)

    assert max(map(cell_len, lines)) <= width
    assert all(character.isprintable() for line in lines for character in line)


def test_what_does_not_fit_below_each_other_is_counted() -> None:
    lanes = {f"m{number}": working(f"m{number}", MB, 100 * MB) for number in range(1, 5)}

    lines = drawn(view(**lanes), lanes=3)

    assert [line[:12] for line in lines[3:6]] == ["GX010001.MP4", "GX010002.MP4", "GX010003.MP4"]
    assert lines[6:] == ["and 1 more"]


@pytest.mark.parametrize(
    ("counts", "whole", "bar"),
    [
        ([0], 0, "░░░░"),
        ([0], 8, "░░░░"),
        ([1], 32, "▏░░░"),
        ([3], 8, "█▌░░"),
        ([8], 8, "████"),
        ([9], 8, "████"),
        ([4, 2], 8, "███░"),
        ([3, 2], 8, "██▌░"),
    ],
)
def test_a_bar_is_filled_to_an_eighth_of_a_column(counts: list[int], whole: int, bar: str) -> None:
    assert bar_of([(count, "green") for count in counts], whole, 4).plain == bar


class Window(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "kind"),
    [
        (Window(), {"TERM": "xterm"}, LiveScreen),
        (Window(), {"TERM": "dumb"}, Terminal),
        (Window(), {"TERM": "xterm", "NO_COLOR": "1"}, Terminal),
        (io.StringIO(), {"TERM": "xterm"}, Terminal),
    ],
)
def test_only_a_terminal_that_can_show_it_gets_the_live_picture(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, environment: dict[str, str], kind: type
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    chosen = screen(stream)

    assert type(chosen) is kind
    chosen.end()


def test_a_line_stays_above_the_picture_and_keeps_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    window = Window()
    live = LiveScreen(window, width=60, clock=lambda: 0.0, now=lambda: NOON)

    live.show(view(m1=working("m1", MB, 100 * MB)), "; nothing new for 2 min")
    live.line("  failed       GX010006.MP4 (m6): [bold]gone[/bold] :warning: 404")
    live.end()

    assert "[bold]gone[/bold]" in window.getvalue()
    assert ":warning:" in window.getvalue()
    assert "nothing new for 2 min" in window.getvalue()
