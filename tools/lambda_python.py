"""Tests on the newest Python of this machine, up to Lambda's: `make test-lambda-python`.

Sets up a copy of the working tree for that Python in `.lambda-python/`, as `make setup` does. There the unit tests run,
the handlers are imported from the built packages and layer, and the demo runs a whole sync. PYTHON_LAMBDA names another
interpreter.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from infra.bytecode import Version, interpreters, version_of
from infra.wheels import LAMBDA
from tools.prove import SKIPPED
from tools.template import ROOT

WORK = ROOT / ".lambda-python"


def newest(found: Iterable[Path], *, above: Version, most: Version) -> tuple[Path, Version] | None:
    """Return the interpreter of the highest version above one and up to another, and its version."""
    candidates = [(path, version_of(path)) for path in found if re.fullmatch(r"python[\d.]*", path.name)]
    fitting = [(path, version) for path, version in candidates if above < version <= most]
    return max(fitting, key=lambda one: one[1], default=None)


def copy_sources(work: Path) -> None:
    """Put today's sources into a folder, and keep there what Git ignores: whatever was set up before."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if not line.startswith("#")]
    ignore = shutil.ignore_patterns(".git", *ignored)
    if work.exists():
        names = [path.name for path in work.iterdir()]
        for name in {*names} - ignore(str(work), names):
            path = work / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(ROOT, work, ignore=ignore, dirs_exist_ok=True)


def main() -> int:
    """Run the tests; return 1 when something fails, and 0 when no suitable Python exists."""
    most = tuple(int(part) for part in LAMBDA.python_version.split("."))
    found = newest(interpreters(), above=sys.version_info[:2], most=most)
    if found is None:
        own = ".".join(map(str, sys.version_info[:2]))
        print(f"{SKIPPED}there is no Python newer than {own}, up to {LAMBDA.python_version}, on this machine")
        return 0
    interpreter, version = found
    print(f"on {interpreter}, Python {'.'.join(map(str, version))}", flush=True)
    copy_sources(WORK)
    tests = ["tests/unit", "tests/infra/test_packages.py"]
    python = str(WORK / ".venv/bin/python")
    for command in (
        ["make", "--no-print-directory", f"PYTHON={interpreter}", "setup"],
        [python, "-m", "pytest", "-q", "-n", "2", "-m", "not slow", *tests],
        [python, "-m", "pytest", "-q", "tests/contract/test_embedded_iam.py"],  # over TLS, which is verified strictly
        ["make", "--no-print-directory", f"PYTHON={interpreter}", "demo"],
    ):
        if subprocess.run(command, cwd=WORK, check=False).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
