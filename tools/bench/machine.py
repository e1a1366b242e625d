"""The machine and the versions of the tools that a bench ran with."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bench.contestants import PEERS
from tools.bench.seaweed import WEED

_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")
_PACKAGES = "from importlib.metadata import version; import sys; print(*(version(name) for name in sys.argv[1:]))"


def describe() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    """Return the version of each tool; tools that are not installed are left out."""
    python = str(PEERS / "python")
    found = {
        "Python": platform.python_version(),
        **_packages(sys.executable, ("boto3", "awscrt"), "ours"),
        **_packages(python, ("boto3", "requests"), "peers"),
        "rclone": _first_version([str(PEERS / "rclone"), "version"]),
        "aws": _first_version([str(PEERS / "aws"), "--version"]),
        "curl": _first_version(["curl", "--version"]),
        "nginx": _first_version(["nginx", "-v"]),
        "gcc": _first_version(["gcc", "-dumpfullversion"]),
        "OpenSSL": _first_version(["openssl", "version"]),
        "SeaweedFS": _first_version([str(WEED), "version"]),
    }
    return {name: version for name, version in found.items() if version}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _packages(python: str, names: Sequence[str], whose: str) -> dict[str, str]:
    told = _output([python, "-c", _PACKAGES, *names]).split()
    return {f"{name} ({whose})": version for name, version in zip(names, told, strict=False)}


def _first_version(command: Sequence[str]) -> str:
    match = _VERSION.search(_output(command))
    return match.group() if match else ""


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
