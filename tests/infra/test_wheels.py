"""Packages are installed by uv over pip's index, and by pip where uv can't."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra import wheels


def test_uv_is_handed_the_index_that_pip_uses() -> None:
    pip = {
        "index-url": "https://index.example/simple",
        "extra-index-url": "https://a.example/simple\nhttps://b.example/simple",
        "find-links": "/wheels",
        "cert": "/etc/ca.pem",
    }
    environment = wheels.uv_environment(pip, {})
    assert environment == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "/wheels",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_an_index_that_uv_was_given_itself_is_kept() -> None:
    given = {"UV_DEFAULT_INDEX": "https://mine.example/simple"}
    assert wheels.uv_environment({"index-url": "https://pips.example/simple"}, given)["UV_DEFAULT_INDEX"].startswith(
        "https://mine."
    )


def test_the_strongest_of_pips_configurations_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        ":env:.index-url='https://env.example'\nglobal.index-url='https://global.example'\nglobal.cert='/ca.pem'\n"
    )
    answer = subprocess.CompletedProcess([], 0, stdout=printed)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert wheels.pip_configuration() == {"index-url": "https://env.example", "cert": "/ca.pem"}


class Installers:
    """Stands in for the processes: records their commands, and lets the named ones fail."""

    def __init__(self, failing: tuple[str, ...]) -> None:
        self.commands: list[list[str]] = []
        self._failing = failing

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if "config" not in command:
            self.commands.append(command)
        name = "uv" if command[0].endswith("uv") else "pip"
        return subprocess.CompletedProcess(command, 1 if name in self._failing else 0, stdout="")


def test_pip_does_what_uv_cannot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    installers = Installers(failing=("uv",))
    monkeypatch.setattr(subprocess, "run", installers)
    wheels.install(Path("list.txt"), target=Path("there"))
    uv, pip = installers.commands
    assert "--require-hashes" in uv
    assert "--require-hashes" in pip
    assert "pip does it" in capsys.readouterr().err


def test_when_neither_can_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Installers(failing=("uv", "pip")))
    with pytest.raises(wheels.InstallationError):
        wheels.install(Path("list.txt"), target=Path("there"))
