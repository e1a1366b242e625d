"""Compiles what is uploaded, so that no cold start has to: Lambda can't write the bytecode beside the sources."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

Version = tuple[int, ...]


def interpreters() -> Iterator[Path]:
    """Yield the candidate interpreters of this machine, those on PATH first."""
    if named := os.environ.get("PYTHON_LAMBDA"):
        yield Path(named)
        return
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += sorted((Path.home() / ".pyenv" / "versions").glob("*/bin"))
    yield from (path for folder in folders for path in sorted(folder.glob("python3.[0-9]*")))


def version_of(interpreter: Path) -> Version:
    """Return major and minor version; empty for a file that isn't a working interpreter."""
    ask = [str(interpreter), "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"]
    try:
        printed = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return ()
    return tuple(int(part) for part in printed)


@cache
def compiler(version: str) -> str | None:
    """Return an interpreter of this version, such as "3.13"; None if this machine has none.

    Only that version can compile for itself.
    """
    wanted = tuple(int(part) for part in version.split("."))
    if sys.version_info[:2] == wanted:
        return sys.executable
    named = (path for path in interpreters() if path.name in (f"python{version}", "python"))
    return next((str(path) for path in named if version_of(path) == wanted), None)


def compile_sources(folder: Path, *, interpreter: str, unpacked_at: str) -> None:
    """Compile all modules below a folder. `unpacked_at`: where Lambda unpacks the folder, for the names in tracebacks.

    The same sources give the same bytes: the bytecode has no times in it, and is never compared with its source.
    """
    command = [interpreter, "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run(
        [*command, "-s", str(folder), "-p", unpacked_at, str(folder)],
        check=False,
        # An order of a set that differs from one run to the next would be in the bytecode.
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        # A package may have modules for other versions of Python; those are not imported.
        print(f"some modules were not compiled: {done.stdout[-500:]}", file=sys.stderr)
