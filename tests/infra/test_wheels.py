"""uv installs packages from pip's index; pip installs them where uv fails."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra import wheels


def test_uv_gets_the_index_that_pip_uses() -> None:
    pip = {
        "index-url": "https://index.example/simple",
        "extra-index-url": "https://a.example/simple\nhttps://b.example/simple",
        "find-links": "/wheels",
        "cert": "/etc/ca.pem",
    }
    assert wheels.uv_environment(pip, {}) == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "/wheels",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_an_index_that_uv_was_given_itself_is_kept() -> None:
    own = {"UV_DEFAULT_INDEX": "https://mine.example/simple"}
    assert own.items() <= wheels.uv_environment({"index-url": "https://pips.example/simple"}, own).items()


def test_the_strongest_of_pips_configurations_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        ":env:.index-url='https://env.example'\nglobal.index-url='https://global.example'\nglobal.cert='/ca.pem'\n"
    )
    answer = subprocess.CompletedProcess([], 0, stdout=printed)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert wheels.pip_configuration() == {"index-url": "https://env.example", "cert": "/ca.pem"}


class Installers:
    """A fake of `subprocess.run` that records commands, and fails those of the named installers."""

    def __init__(self, failing: tuple[str, ...]) -> None:
        self.commands: list[list[str]] = []
        self._failing = failing

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if "config" not in command:
            self.commands.append(command)
        name = "uv" if command[0].endswith("uv") else "pip"
        return subprocess.CompletedProcess(command, 1 if name in self._failing else 0, stdout="")


def test_pip_installs_what_uv_cannot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    installers = Installers(failing=("uv",))
    monkeypatch.setattr(subprocess, "run", installers)
    wheels.install(Path("list.txt"), target=Path("there"))
    uv, pip = installers.commands
    assert "--require-hashes" in uv
    assert "--require-hashes" in pip
    assert "installing with pip" in capsys.readouterr().err


def test_an_installation_that_neither_can_do_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Installers(failing=("uv", "pip")))
    with pytest.raises(wheels.InstallationError):
        wheels.install(Path("list.txt"), target=Path("there"))
