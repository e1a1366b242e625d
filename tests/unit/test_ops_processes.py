"""A stage ends its own processes and no others."""

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ops.local.processes import StageProcess, end, marked, start

# Starts a child, prints its pid and waits.
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True); time.sleep(60)"
)
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"

Begin = Callable[[str], tuple[StageProcess, str]]


@pytest.fixture
def mark() -> Iterator[str]:
    mark = uuid.uuid4().hex
    yield mark
    end([], mark)


@pytest.fixture
def begin(mark: str, tmp_path: Path) -> Begin:
    """Starts a program and waits for its first output, which it returns."""

    def begin(code: str) -> tuple[StageProcess, str]:
        log, command = tmp_path / "log", [sys.executable, "-c", code]
        process = start("test", command, environment=os.environ, log=log, mark=mark, cwd=tmp_path)
        while not log.read_text():
            time.sleep(0.02)
        return process, log.read_text().strip()

    return begin


def test_a_process_ends_with_its_children(begin: Begin) -> None:
    process, child = begin(PARENT)
    assert process.find()

    end([process])

    assert not process.find()
    assert not psutil.pid_exists(int(child)) or psutil.Process(int(child)).status() == psutil.STATUS_ZOMBIE


def test_the_children_of_a_killed_parent_are_found_by_the_mark(begin: Begin, mark: str) -> None:
    process, child = begin(PARENT)
    psutil.Process(process.pid).kill()

    assert [one.pid for one in marked(mark) if one.pid != process.pid] == [int(child)]
    end([process], mark)

    assert marked(mark) == []


def test_a_process_that_ignores_sigterm_is_killed(begin: Begin) -> None:
    process, _ = begin(STUBBORN)

    end([process], grace=0.3)

    assert not process.find()


def test_another_process_with_a_recorded_pid_and_another_mark_is_left_alone(begin: Begin) -> None:
    process, _ = begin(STUBBORN)
    ended_long_ago = replace(process, started=process.started - 3600)

    assert ended_long_ago.find() is None
    assert marked("another stage") == []
    end([ended_long_ago], mark="another stage")

    assert process.find()


def test_ending_an_ended_process_does_no_harm(begin: Begin, mark: str) -> None:
    process, _ = begin("print('done')")

    end([process], mark)
    end([process], mark)

    assert not process.find()
