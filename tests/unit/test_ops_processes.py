"""A stage ends what it started, and nothing else."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ops.local.processes import MARK, StageProcess, end, marked, start

# Starts a child that starts nothing, says its pid and waits.
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True); time.sleep(60)"
)
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"


@pytest.fixture
def mark() -> Iterator[str]:
    mark = uuid.uuid4().hex
    yield mark
    end([], mark)


def begin(code: str, mark: str, folder: Path) -> tuple[StageProcess, str]:
    log = folder / "log"
    process = start("test", [sys.executable, "-c", code], environment=os.environ, log=log, mark=mark, cwd=folder)
    deadline = time.monotonic() + 20
    while not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, log.read_text().strip()


def test_a_process_ends_with_its_children(mark: str, tmp_path: Path) -> None:
    process, child = begin(PARENT, mark, tmp_path)
    assert process.find()

    end([process])

    assert not process.find()
    assert not psutil.pid_exists(int(child)) or psutil.Process(int(child)).status() == psutil.STATUS_ZOMBIE


def test_children_whose_parent_was_killed_are_found_by_the_mark(mark: str, tmp_path: Path) -> None:
    process, child = begin(PARENT, mark, tmp_path)
    psutil.Process(process.pid).kill()

    assert [one.pid for one in marked(mark) if one.pid != process.pid] == [int(child)]
    end([process], mark)

    assert marked(mark) == []


def test_a_process_that_does_not_want_to_end_is_killed(mark: str, tmp_path: Path) -> None:
    process, _ = begin(STUBBORN, mark, tmp_path)

    end([process], grace=0.3)

    assert not process.find()


def test_a_process_that_got_a_recorded_pid_later_is_left_alone(mark: str, tmp_path: Path) -> None:
    process, _ = begin(STUBBORN, mark, tmp_path)
    ended_long_ago = replace(process, started=process.started - 3600)

    assert ended_long_ago.find() is None
    end([ended_long_ago], mark="another stage")

    assert process.find()


def test_ending_what_has_ended_does_no_harm(mark: str, tmp_path: Path) -> None:
    process, _ = begin("print('done')", mark, tmp_path)

    end([process], mark)
    end([process], mark)

    assert not process.find()


def test_processes_of_other_stages_do_not_carry_the_mark() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], env={**os.environ, MARK: "other"})
    try:
        assert marked("none of these") == []
    finally:
        other.kill()
        other.wait()
