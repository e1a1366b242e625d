"""What a stream can show."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from rich.console import Console
from rich.text import Text

from ops.progress import folded


def is_dumb() -> bool:
    """Return whether this process's terminal understands no control characters."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def is_plain(stream: TextIO) -> bool:
    """Return whether only lines of text may be written: to a pipe or a file, a dumb terminal, or with NO_COLOR."""
    is_old_console = sys.platform == "win32" and "WT_SESSION" not in os.environ
    return not stream.isatty() or is_dumb() or is_old_console or bool(os.environ.get("NO_COLOR"))


def print_lines(lines: Iterable[str], styles: Mapping[str, str], *, whole: str = "") -> None:
    """Print lines; in a terminal folded at its width, and in the style of the first of these words that they have.

    `whole`: the beginning of lines that are left to the terminal to fold, since a command is to be copied from them.
    """
    console = None if is_plain(sys.stdout) else Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        if console:
            style = next((style for word, style in styles.items() if word in line), "")
            is_whole = whole and line.lstrip().startswith(whole)
            for part in [line] if is_whole else folded(line, console.width):
                console.print(Text(part, style=style), soft_wrap=True)
        else:
            print(line)
