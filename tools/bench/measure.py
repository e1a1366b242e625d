"""Measures the time, processor time and memory of a command, from the kernel's accounting of whole processes."""

import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.bench.governor import Governor

Pipeline = Sequence[Sequence[str]]  # the commands; each one's output is the next one's input


class Failed(Exception):
    """A command failed or timed out. The text is its last line of output."""


@dataclass(frozen=True, kw_only=True)
class SmallFunction:
    """The processor share and the memory of a small function."""

    cpu_share: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    wall: float  # seconds
    cpu: float  # seconds, user and system, including all children that were waited for
    rss: int  # bytes: the sum of the peaks of all processes of a pipeline, which may occur at different times


def measure(
    pipeline: Pipeline,
    *,
    environment: Mapping[str, str],
    cwd: Path,
    within: SmallFunction | None = None,
    patience_seconds: float = 300.0,
) -> tuple[Usage, str]:
    """Run a pipeline to its end; return its usage and the output of the last command. Raises `Failed`."""
    with ExitStack() as stack:
        output, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        started = time.monotonic()
        processes = _start(pipeline, environment, cwd, output, errors)
        try:
            cpu, rss = 0.0, 0
            for process in processes:
                _await_end(process, within, deadline=started + patience_seconds)
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                cpu += used.ru_utime + used.ru_stime
                rss += used.ru_maxrss * 1024
            wall = time.monotonic() - started
        finally:
            _kill(processes)
        if any(process.returncode for process in processes):
            raise Failed(f"{_last_line(errors)} (exit status {', '.join(str(p.returncode) for p in processes)})")
        output.seek(0)
        return Usage(wall=wall, cpu=cpu, rss=rss), output.read().decode()


def _start(
    pipeline: Pipeline, environment: Mapping[str, str], cwd: Path, output: IO[bytes], errors: IO[bytes]
) -> "list[subprocess.Popen[bytes]]":
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in pipeline:
            before = processes[-1].stdout if processes else None
            processes.append(
                subprocess.Popen(
                    command,
                    stdin=before or subprocess.DEVNULL,
                    stdout=output if len(processes) == len(pipeline) - 1 else subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                    cwd=cwd,
                    start_new_session=True,  # so that a signal reaches all processes that the command starts
                )
            )
            if before:
                before.close()  # else the writer never gets SIGPIPE when the reader exits
    except BaseException:
        _kill(processes)
        raise
    return processes


def _await_end(process: "subprocess.Popen[bytes]", within: SmallFunction | None, *, deadline: float) -> None:
    """Wait until the process has ended, without reaping it, so that its usage can still be read."""
    governor = None
    if within:
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (within.memory_bytes, within.memory_bytes))
        governor = Governor(process.pid, within.cpu_share)
    ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        while not poll.poll((Governor.LOOK_SECONDS if governor else 1.0) * 1000):
            if governor:
                governor.look()
            if time.monotonic() > deadline:
                raise Failed("it didn't end in time")
    finally:
        os.close(ended)


def _kill(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Kill the processes that still run, by their own ids, with all that they started."""
    for process in processes:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
