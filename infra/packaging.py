"""What is uploaded: one package of code for each service, and one layer with the dependencies of all of them."""

import compileall
import hashlib
import py_compile
import sys
import tempfile
from pathlib import Path
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from infra.wheels import LAMBDA, install, make_reproducible

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = lambda_.Runtime.PYTHON_3_13
ARCHITECTURE = lambda_.Architecture.ARM_64

_REQUIREMENTS = ROOT / "requirements" / "runtime.txt"


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
    recipe = [_REQUIREMENTS, Path(__file__), Path(__file__).with_name("wheels.py")]
    made_of = b"".join(path.read_bytes() for path in recipe) + interpreter.encode()
    layer = ROOT / ".build" / f"layer-{wheels}-{hashlib.sha256(made_of).hexdigest()[:16]}"
    if not layer.exists():
        layer.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
            made = Path(scratch) / "layer"
            packages = made / "python"
            install(_REQUIREMENTS, target=packages, platform=LAMBDA if wheels == "lambda" else None)
            make_reproducible(packages)
            if wheels == "host":
                # Saves each cold start of the local stage a third of a second; the bytecode for Lambda's Python can
                # only be made by a Python of that version.
                compileall.compile_dir(
                    packages, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
                )
            try:
                made.rename(layer)
            except OSError:  # another synth was faster, with the same content
                if not layer.exists():
                    raise
    return lambda_.Code.from_asset(str(layer))
