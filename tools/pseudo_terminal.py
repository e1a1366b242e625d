"""A terminal without a window: runs a command in it, and remembers each picture that the command drew."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pyte

from ops.local.toolchain import ROOT

_READ_BYTES = 65_536


@dataclass
class PseudoTerminal:
    """A command in a terminal of its own."""

    columns: int
    lines: int
    process: subprocess.Popen[bytes]
    fd: int
    pictures: list[tuple[float, str]] = field(default_factory=list)  # (monotonic seconds, the screen) at each change
    raw: bytearray = field(default_factory=bytearray)
    drawn: list[int] = field(default_factory=list)  # for each picture, the length of `raw` that it took

    def __post_init__(self) -> None:
        self._screen = pyte.Screen(self.columns, self.lines)
        self._stream = pyte.ByteStream(self._screen)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # the terminal ends with the command
            while data := os.read(self.fd, _READ_BYTES):
                self.raw += data
                self._stream.feed(data)
                picture = "\n".join(line.rstrip() for line in self._screen.display).rstrip()
                if not self.pictures or self.pictures[-1][1] != picture:
                    self.pictures.append((time.monotonic(), picture))
                    self.drawn.append(len(self.raw))

    @property
    def picture(self) -> str:
        """What the screen shows now."""
        return self.pictures[-1][1] if self.pictures else ""

    def screen(self, number: int) -> pyte.Screen:
        """Return the screen as it was at one of the pictures, with its colours."""
        screen = pyte.Screen(self.columns, self.lines)
        pyte.ByteStream(screen).feed(bytes(self.raw[: self.drawn[number]]))
        return screen

    def wait(self, seconds: float) -> int:
        """Return the exit status of the command once it has ended."""
        status = self.process.wait(timeout=seconds)
        self._thread.join(timeout=5)
        return status


@contextmanager
def pseudo_terminal(
    arguments: Sequence[str], *, columns: int, lines: int = 30, environment: Mapping[str, str] | None = None
) -> Iterator[PseudoTerminal]:
    """Run `cloud-sync` with these arguments in a terminal of this size; end it afterwards."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    # A shell that starts the tests in the background lets them ignore Ctrl-C, and so would the command.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**own, "TERM": "xterm-256color", **(environment or {})},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    os.close(theirs)
    terminal = PseudoTerminal(columns=columns, lines=lines, process=process, fd=ours)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
