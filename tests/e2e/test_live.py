"""The live view of a slow sync in a real terminal: it moves while bytes do, and what it says is true."""

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median

import pytest

from ops.local.gopro_cloud import Generated, Library, Medium
from ops.local.gopro_cloud.faults import SharedLimit
from tests.e2e.stage import Stage, eventually
from tools.pseudo_terminal import PseudoTerminal, pseudo_terminal

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

MB = 1_000_000
RATE = 6 * MB  # bytes a second, of the whole GoPro Cloud
HOSTILE = "GX\x1b[2J\x1b]0;title\x07\u202e4PM" + "long" * 200 + ".MP4"
_UNITS = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def serve(stage: Stage, *megabytes: int, gone: bool = True) -> None:
    """Serve videos of these sizes slowly, and one that GoPro has lost."""
    videos = [
        Medium(
            media_id=f"m-{number}",
            contents=(Generated(count * MB, f"m-{number}"),),
            filename=HOSTILE if number == 0 else f"GX01{number:04}.MP4",
            captured_at=f"2026-08-{28 - number:02}T10:00:00Z",
        )
        for number, count in enumerate(megabytes)
    ]
    lost = Medium(media_id="m-lost", contents=(Generated(MB, "lost"),), filename="GX019999.MP4", gone=True)
    stage.control.replace_library(Library(media=(*videos, *([lost] if gone else []))))
    stage.control.arm(SharedLimit(bytes_per_second=RATE))


@contextmanager
def sent(stage: Stage) -> Iterator[list[tuple[float, int]]]:
    """Note how many bytes the GoPro Cloud has sent in all, twice a second."""
    found: list[tuple[float, int]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            count = sum(seen.bytes_sent for seen in stage.control.requests() if seen.endpoint == "cdn")
            found.append((time.monotonic(), count))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def numbers(picture: str) -> tuple[float, float] | None:
    """Return the bytes that have arrived and the rate, as a picture says them; None before there are both."""
    arrived = re.search(r" %  ([\d.]+) (\w+) of ", picture)
    rate = re.search(r"^([\d.]+) (\w+)/s, ", picture, re.MULTILINE)
    if not arrived or not rate:
        return None
    return float(arrived[1]) * _UNITS[arrived[2]], float(rate[1]) * _UNITS[rate[2]]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_picture_moves_every_second_and_its_rate_is_the_gopro_clouds(stage: Stage, columns: int) -> None:
    serve(stage, 20, 30, 25, 35, 40)
    arguments = ["trigger", "--wait", "--stage-dir", str(stage.record.folder)]

    with sent(stage) as truth, pseudo_terminal(arguments, columns=columns) as terminal:
        assert terminal.wait(180) == 1

    shown = [(at, *found) for at, picture in terminal.pictures if (found := numbers(picture))]
    began, ended = shown[0][0], shown[-1][0]
    changed = [at for (at, count, _), (_, before, _) in zip(shown[1:], shown, strict=False) if count != before]
    assert len(changed) >= 0.9 * (ended - began)  # the bytes move once a second …
    still = [after - before for (before, _), (after, _) in pairwise(terminal.pictures) if began <= before < ended]
    assert max(still) < 5  # … and something always does, however busy the machine is
    # Once the window of the rate is full, until the lanes run out of work:
    steady = [(at, rate) for at, count, rate in shown if at - began > 10 and count < 0.9 * 150 * MB]
    assert len(steady) > 5
    first, last = (min(truth, key=lambda one: abs(one[0] - at)) for at in (steady[0][0] - 10, steady[-1][0]))
    true_rate = (last[1] - first[1]) / (last[0] - first[0])
    assert median(rate for _, rate in steady) == pytest.approx(true_rate, rel=0.1)


def test_the_picture_fits_shows_each_lane_and_no_name_harms_it(stage: Stage) -> None:
    serve(stage, 12, 15, 18)
    arguments = ["trigger", "--wait", "--stage-dir", str(stage.record.folder)]

    with pseudo_terminal(arguments, columns=80) as terminal:
        assert terminal.wait(180) == 1

    lanes = {
        line
        for _, picture in terminal.pictures
        for line in re.findall(r"^GX\S* .* +\d+\.\d MB .* \d+ % .* part \d+ of \d+$", picture, re.MULTILINE)
    }
    assert {line[:8] for line in lanes} == {"GX?[2J?]", "GX010001", "GX010002"}
    assert "4 in the library, 0 stored already, 4 new: " in "".join(picture for _, picture in terminal.pictures)
    assert re.search(r"^  failed       GX019999\.MP4 \(m-lost\): ", terminal.picture, re.MULTILINE)
    assert "3 stored, 1 failed" in terminal.picture
    assert " % " not in terminal.picture  # the bar is gone at the end
    assert b"\x1b[2J" not in terminal.raw
    assert b"title" not in terminal.raw.replace(b"0;title", b"")


def test_ctrl_c_leaves_the_sync_alone_and_says_how_to_look_again(stage: Stage) -> None:
    serve(stage, 60, gone=False)
    arguments = ["trigger", "--wait", "--stage-dir", str(stage.record.folder)]

    with pseudo_terminal(arguments, columns=100) as terminal:
        eventually(lambda: numbers(terminal.picture), "a rate is shown")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait(30) == 130
    said = bytes(terminal.raw).decode()
    assert "the sync goes on without this command. To look again: .venv/bin/cloud-sync watch" in said

    (sync_id,) = re.findall(r"watch ([0-9a-f-]{36})", said)
    with pseudo_terminal(["watch", sync_id, "--stage-dir", str(stage.record.folder)], columns=100) as again:
        assert again.wait(120) == 0
    assert numbers("\n".join(picture for _, picture in again.pictures))


def _plain(terminal: PseudoTerminal) -> bool:
    return b"\x1b" not in terminal.raw


def test_a_dumb_terminal_and_a_pipe_get_lines_and_json_is_apart(stage: Stage) -> None:
    serve(stage, 3, gone=False)
    where = ["--stage-dir", str(stage.record.folder)]

    with pseudo_terminal(["trigger", "--wait", *where], columns=80, environment={"TERM": "dumb"}) as dumb:
        assert dumb.wait(120) == 0
    assert _plain(dumb)
    with pseudo_terminal(["trigger", "--wait", *where], columns=80, environment={"NO_COLOR": "1"}) as colourless:
        assert colourless.wait(120) == 0
    assert re.findall(rb"\x1b\[(?!2K)", colourless.raw) == []  # only the line that is redrawn is erased
    with pseudo_terminal(["status", "--json", *where], columns=80, environment={"TERM": "dumb"}) as status:
        assert status.wait(60) == 0
    printed = bytes(status.raw).decode()
    assert json.loads(printed[printed.index("{") :])["recent"][0]["verdict"] == "well"
