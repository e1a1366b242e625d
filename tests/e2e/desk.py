"""An operator's desk: a shell in which a runbook's commands run as they are printed, against the local stage."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ops.local import stage as local
from tests.e2e.stage import Stage
from tools.template import ROOT

_THERE = "--env prod"
_CDK = ".venv/bin/cdk "
_WORD = re.compile(r"(?<![\w-])[A-Z][A-Z_]{3,}(?![\w-])")  # to be replaced by the operator
_MEANT = {"ENABLED", "ERROR"}  # capitals that are to be typed


class Desk:
    """A folder with `.venv/bin/cloud-sync` and an `aws` on the path, as an operator's checkout has."""

    def __init__(self, stage: Stage, folder: Path, settings: Mapping[str, str]) -> None:
        self._stage = stage
        self._folder = folder
        self._settings = settings
        self.revert_drift: Callable[[], object] = lambda: None
        _script(folder / ".venv" / "bin" / "cloud-sync", sys.executable, "-m", "ops")
        _script(folder / "bin" / "aws", sys.executable, "-m", "tests.e2e.aws_cli")

    def run(
        self, commands: Sequence[str], filled: Mapping[str, str], *, paste: str = "", may_fail: bool = False
    ) -> str:
        """Run the commands one by one, and return what they print. Fails the test when one fails."""
        return "".join(self._run(self._here(command, filled), paste, may_fail=may_fail) for command in commands)

    def _here(self, command: str, filled: Mapping[str, str]) -> str:
        """Return a command for the stage instead of the environment that the page names, with its words filled in."""

        def fill(word: re.Match[str]) -> str:
            assert word[0] in filled.keys() | _MEANT, f"nothing to fill in for {word[0]}"
            return filled.get(word[0], word[0])

        here = f"--stage-dir {shlex.quote(str(self._stage.record.folder.resolve()))}"
        return _WORD.sub(fill, command).replace(_THERE, here)

    def _run(self, command: str, paste: str, *, may_fail: bool) -> str:
        print(f"$ {command}", file=sys.stderr)
        if command.startswith(_CDK):
            self._deploy(shlex.split(command.removeprefix(_CDK)))
            return ""
        record = self._stage.record
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **dict(pair.split("=", 1) for pair in shlex.split(record.shell)[1:]),
        }
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self._folder,
            env=environment,
            input=paste,
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stdout, done.stderr, file=sys.stderr)
        assert done.returncode in ((0, 1) if may_fail else (0,)), f"{command}: {done.returncode}\n{done.stderr}"
        return done.stdout + done.stderr

    def _deploy(self, words: Sequence[str]) -> None:
        """Deploy this checkout to the stage. The embedded CloudFormation can't revert a drift; a trial does that."""
        assert words[:3] == ["deploy", "-c", "env=prod"]
        if words[3:] == ["--revert-drift"]:
            self.revert_drift()
        else:
            assert words[3:] == []
            local.up(local.Wanted(folder=self._stage.record.folder, settings=self._settings), say=lambda _: None)


def _script(path: Path, *command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)
