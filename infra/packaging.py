"""The uploads: one package of code per service, and one layer with the dependencies of all services."""

import atexit
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from aws_cdk import aws_lambda as lambda_

from infra import bytecode
from infra.wheels import LAMBDA, install, make_reproducible

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = lambda_.Runtime.PYTHON_3_13
ARCHITECTURE = lambda_.Architecture.ARM_64

Wheels = Literal["lambda", "host"]

_REQUIREMENTS = ROOT / "requirements" / "runtime.txt"
_NOT_PACKAGED = shutil.ignore_patterns("__pycache__", ".*")


def service_code(name: str, wheels: Wheels) -> lambda_.Code:
    """Package a service's own folder and `services/shared`, so that an import of another service fails in Lambda."""
    folder = Path(tempfile.mkdtemp(prefix="cloud-sync-package-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # CDK copies it as soon as the function is defined
    collect_service(name, folder)
    finish(folder, wheels, unpacked_at="/var/task")
    return lambda_.Code.from_asset(str(folder))


def collect_service(name: str, folder: Path) -> None:
    """Copy the sources of a service into a folder.

    The paths are those of the repository: `services.lister.handler` is the same module here and in Lambda.
    """
    for package in ("shared", name):
        shutil.copytree(ROOT / "services" / package, folder / "services" / package, ignore=_NOT_PACKAGED)
    shutil.copy(ROOT / "services" / "__init__.py", folder / "services")


def dependency_layer(wheels: Wheels) -> lambda_.Code:
    """Build the layer with the packages of requirements/runtime.txt from published wheels, without Docker.

    Compiled packages are for the functions' platform, or with `host` for this machine and its Python. The same list
    gives the same bytes on every machine that has Lambda's Python, so a deployment uploads the layer only when the list
    has changed.
    """
    interpreter = f"{sys.implementation.cache_tag}-{sys.platform}" if wheels == "host" else str(bool(_compiler(wheels)))
    recipe = [_REQUIREMENTS, *(Path(__file__).with_name(name) for name in ("packaging.py", "wheels.py", "bytecode.py"))]
    made_of = b"".join(path.read_bytes() for path in recipe) + interpreter.encode()
    layer = ROOT / ".build" / f"layer-{wheels}-{hashlib.sha256(made_of).hexdigest()[:16]}"
    if not layer.exists():
        layer.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layer.parent) as scratch:
            made = Path(scratch) / "layer"
            build_layer(made, wheels)
            try:
                made.rename(layer)
            except OSError:  # a synth that runs at the same time was faster, with the same content
                if not layer.exists():
                    raise
    return lambda_.Code.from_asset(str(layer))


def build_layer(folder: Path, wheels: Wheels) -> None:
    """Install the dependencies into `folder`, as Lambda unpacks a layer."""
    packages = folder / "python"
    install(_REQUIREMENTS, target=packages, platform=LAMBDA if wheels == "lambda" else None)
    make_reproducible(packages)
    finish(folder, wheels, unpacked_at="/opt")


def finish(folder: Path, wheels: Wheels, *, unpacked_at: str) -> None:
    """Compile what will be uploaded, and let every user read it.

    A zip keeps the modes of its files, and functions run as another user: what was made under a umask such as 077 could
    not be imported. The hashes of uploads don't cover modes, so the next deployment would not replace it.
    """
    if compiler := _compiler(wheels):
        bytecode.compile_sources(folder, interpreter=compiler, unpacked_at=unpacked_at)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _compiler(wheels: Wheels) -> str | None:
    """Return the interpreter that compiles for the functions; None where bytecode is left to the cold starts."""
    return sys.executable if wheels == "host" else bytecode.compiler(LAMBDA.python_version)
