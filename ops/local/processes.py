"""The processes of a local stage: each starts in its own session, can be found later, and ends with its children.

A pid does not identify a process, because systems reuse pids. So a process is recorded with its start time, and all
processes of a stage carry the stage's random mark in their environment, which children inherit.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "CLOUD_SYNC_STAGE_MARK"  # the environment variable that names the stage of a process

# The processes that this process started. It has to wait for them when they end, or they remain as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}

_START_TOLERANCE = 1.0  # seconds; systems round the start time differently as their clocks are set


@dataclass(frozen=True)
class StageProcess:
    """A process that a stage started."""

    name: str
    pid: int
    started: float  # unix seconds

    def find(self) -> psutil.Process | None:
        """Return the running process, or None when it has ended, even if another process now has its pid."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _START_TOLERANCE
        except psutil.Error:
            return None
        return process if same and _runs(process) else None


def start(
    name: str, command: Sequence[str | Path], *, environment: Mapping[str, str], log: Path, mark: str, cwd: Path
) -> StageProcess:
    """Start a command that outlives this process, with its output in `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return StageProcess(name=name, pid=child.pid, started=psutil.Process(child.pid).create_time())


def marked(mark: str) -> list[psutil.Process]:
    """Return all running processes that carry the mark, including children of children."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and _runs(process):
                found.append(process)
    return found


def end(recorded: Iterable[StageProcess], mark: str | None = None, *, grace: float = 5.0) -> None:
    """End the recorded processes, their children and all processes with the mark, and wait until they are gone.

    A process that is still running after `grace` seconds is killed. One that has already ended is ignored.
    """
    doomed = {process.pid: process for process in (marked(mark) if mark else [])}
    for process in filter(None, (one.find() for one in recorded)):
        with contextlib.suppress(psutil.Error):
            doomed |= {child.pid: child for child in [process, *process.children(recursive=True)]}
    for process in doomed.values():
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _wait(doomed.values(), grace)
    for process in doomed.values():
        with contextlib.suppress(psutil.Error):
            if _runs(process):
                process.kill()
    _wait(doomed.values(), grace)
    for pid in doomed.keys() & _children.keys():
        with contextlib.suppress(subprocess.TimeoutExpired):
            _children.pop(pid).wait(timeout=grace)


def _wait(processes: Iterable[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left and time.monotonic() < deadline:
        left = [process for process in left if _runs(process)]
        time.sleep(0.05 if left else 0)


def _runs(process: psutil.Process) -> bool:
    """Return whether the process still runs. A zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
