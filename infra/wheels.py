"""Installs hash-pinned lists of Python packages, for `make setup` and for the functions' dependency layer.

Runs before anything is installed, so it imports only the standard library. uv installs in seconds; pip takes over where
uv is not available or cannot reach the index.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class InstallationError(Exception):
    """Neither uv nor pip could install the packages; both have printed the reason to stderr."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The machine and Python version for which to install compiled wheels."""

    uv_name: str
    pip_names: tuple[str, ...]
    python_version: str


LAMBDA = Platform(
    uv_name="aarch64-manylinux2014",
    # Unlike uv, pip accepts only the tags that are listed.
    pip_names=("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    python_version="3.13",
)
"""Where the functions run."""


def pip_configuration() -> dict[str, str]:
    """Return pip's settings without their sections, such as `index-url`; the strongest source wins."""
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    ).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in answer.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section in found:
            found[section][key] = value.strip("'\"").replace("\\n", "\n")
    return {**found["global"], **found["install"], **found[":env:"]}


def uv_environment(pip: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for uv, which doesn't read pip's configuration: pip's index, unless uv has its own."""
    from_pip = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(pip.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").split()),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").split()),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "SSL_CERT_FILE": pip.get("cert", ""),
        # Every file is pinned by its hash, so any of the indexes may provide it.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    return {**{name: value for name, value in from_pip.items() if value}, **environment}


def install(
    requirements: Path, *, python: Path | None = None, target: Path | None = None, platform: Platform | None = None
) -> None:
    """Install exactly what the hash-pinned list names, into the environment of `python` or the folder `target`.

    Raises `InstallationError`.
    """
    pinned = ["--require-hashes", "--requirement", os.fspath(requirements)]
    uv = [os.fspath(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", *pinned]
    pip = [sys.executable, "-m", "pip"]
    if python:
        uv += ["--python", os.fspath(python)]
        pip += ["--python", os.fspath(python)]
    pip += ["install", "--quiet", "--no-deps", "--disable-pip-version-check", *pinned]
    if target:
        uv += ["--target", os.fspath(target)]
        pip += ["--target", os.fspath(target), "--no-compile"]
        if not platform:
            uv += ["--python", sys.executable]
    if platform:
        only_wheels = ["--only-binary", ":all:", "--python-version", platform.python_version]
        uv += [*only_wheels, "--python-platform", platform.uv_name]
        pip += [*only_wheels, *(f"--platform={name}" for name in platform.pip_names)]

    if not _succeeds(uv, uv_environment(pip_configuration())):
        print(f"uv could not install {requirements.name}; installing with pip, which takes longer", file=sys.stderr)
        if not _succeeds(pip, os.environ):
            raise InstallationError(f"could not install {requirements}")


def make_reproducible(packages: Path) -> None:
    """Remove from a folder of packages everything that differs between two installations of the same packages."""
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts, whose first line names this machine's interpreter
    (packages / ".lock").unlink(missing_ok=True)
    for installed in packages.glob("*.dist-info"):
        for written_by_the_installer in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"):
            (installed / written_by_the_installer).unlink(missing_ok=True)
        record = installed / "RECORD"
        kept = [
            line
            for line in record.read_text().splitlines(keepends=True)
            if not re.match(r"(\.\./)*bin/|.*/(INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json),", line)
        ]
        record.unlink()  # it may be a link into uv's cache, which must stay as it is
        record.write_text("".join(kept))


def _succeeds(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    try:
        return subprocess.run(command, check=False, env=environment, stdout=sys.stderr).returncode == 0
    except FileNotFoundError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the list that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m infra.wheels", description=__doc__)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--python", type=Path, help="the interpreter whose environment takes the packages")
    parser.add_argument("--target", type=Path, help="a folder that takes them instead")
    options = parser.parse_args(arguments)
    try:
        install(options.requirements, python=options.python, target=options.target)
    except InstallationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
