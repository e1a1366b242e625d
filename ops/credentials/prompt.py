"""Reads what a person pastes at a prompt, without showing it."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_END_OF_TEXT = b"\x04"  # Ctrl-D
_QUIET_SECONDS = 0.4  # a paste is over once it ended a line and nothing followed for so long


def read_hidden(prompt: str, terminal: IO[str] | None = None) -> bytes:
    """Show the prompt, and return what is pasted or typed, until Ctrl-D or the end of a line with nothing after it.

    A terminal's own line editor keeps 4,096 bytes of a line, fewer than a copied request can have: so it is off here.
    """
    terminal = terminal or sys.stdin
    print(prompt, end="", file=sys.stderr, flush=True)
    pasted = b""
    with _unseen(terminal.fileno()):
        while not pasted.endswith(_END_OF_TEXT):
            patience = _QUIET_SECONDS if pasted.endswith((b"\n", b"\r")) else None
            if not select.select([terminal], [], [], patience)[0]:
                break
            read = os.read(terminal.fileno(), 65_536)
            pasted += read
            if not read:
                break
    print(file=sys.stderr)
    return pasted.removesuffix(_END_OF_TEXT)


@contextmanager
def _unseen(terminal: int) -> Iterator[None]:
    import termios  # noqa: PLC0415  # Windows has none

    before = termios.tcgetattr(terminal)
    hidden = list(before)
    hidden[3] &= ~(termios.ECHO | termios.ICANON)
    # Without FLUSH: what was pasted before the prompt came up belongs to it.
    termios.tcsetattr(terminal, termios.TCSADRAIN, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
