"""What is uploaded: one package of code for each service, and one layer with the dependencies of all of them."""

import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from infra.wheels import Platform, install

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = lambda_.Runtime.PYTHON_3_13
ARCHITECTURE = lambda_.Architecture.ARM_64

_REQUIREMENTS = ROOT / "requirements" / "runtime.txt"
_LAMBDA = Platform(
    uv_name="aarch64-manylinux2014",
    # pip, unlike uv, takes no older tag for granted.
    pip_names=("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    python_version="3.13",
)


def service_code(name: str) -> lambda_.Code:
    """The package of a service: its own folder and `services/shared`, so that importing another service fails there.

    The paths in it are those of the repository: `services.lister.handler` is the same module here and in Lambda.
    """
    return lambda_.Code.from_asset(
        str(ROOT),
        ignore_mode=cdk.IgnoreMode.GIT,
        exclude=[
            "*",
            "!services",
            "!services/__init__.py",
            "!services/shared",
            "!services/shared/**",
            f"!services/{name}",
            f"!services/{name}/**",
            "**/__pycache__",
            "**/.*_cache",
        ],
    )


def dependency_layer(wheels: Literal["lambda", "host"]) -> lambda_.Code:
    """The layer with the packages of requirements/runtime.txt, made without Docker from published wheels.

    The compiled ones are for the functions' platform, or with `host` for this machine and its Python.
    The same list gives the same bytes on every machine, so a deployment uploads it only when the list has changed.
    """
    interpreter = "" if wheels == "lambda" else f"{sys.implementation.cache_tag}-{sys.platform}"
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes() + interpreter.encode()).hexdigest()[:16]
    layer = ROOT / ".build" / f"layer-{wheels}-{digest}"
    if not layer.exists():
        layer.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
            made = Path(scratch) / "layer"
            packages = made / "python"
            install(_REQUIREMENTS, target=packages, platform=_LAMBDA if wheels == "lambda" else None)
            _drop_traces_of_this_machine(packages)
            try:
                made.rename(layer)
            except OSError:  # another synth was faster, with the same content
                if not layer.exists():
                    raise
    return lambda_.Code.from_asset(str(layer))


def _drop_traces_of_this_machine(packages: Path) -> None:
    """Remove what differs between two installations of the same packages."""
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
        record.write_text("".join(kept))
