"""Servers of a bench: started on free ports of this machine, and stopped by their own process ids."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Unusable(Exception):
    """This machine can't run the bench; the text says what to do."""


def free_ports(count: int) -> list[int]:
    """Return free loopback ports, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def server(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    patience_seconds: float = 20.0,
) -> Iterator[None]:
    """Run a server while the context lasts, once its port answers. Its output goes to a log in the folder."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,  # Ctrl-C stops the contestants first, then the servers in order
        )
    try:
        _await(name, process, port, log, patience_seconds)
        yield
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a session leader with all that it started. Their data is not kept."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(name: str, process: "subprocess.Popen[bytes]", port: int, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unusable(f"{name} doesn't answer:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
