"""What people read: each command on a page or in a notification is accepted, and each link leads to a file."""

import ast
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ops import command
from ops.arguments import app
from ops.local.toolchain import ROOT

COMMAND = re.compile(r"cloud-sync ([a-z]+)((?: --[a-z-]+(?: [A-Z]+)?)*)")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def found(pattern: str) -> list[tuple[Path, str]]:
    """The matches on all pages, each once a page."""
    return sorted({(page, match) for page in PAGES for match in re.findall(pattern, page.read_text(), re.MULTILINE)})


@pytest.mark.parametrize("line", sorted({line for _, line in found(r"\.venv/bin/cloud-sync +([^#`\n]+)")}))
def test_every_cloud_sync_command_on_a_page_is_accepted(line: str) -> None:
    assert callable(command.parse(shlex.split(line)))


def test_every_make_target_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {target for _, target in found(r"(?:^|`)make ([a-z-]+)")} <= targets


def test_every_module_on_a_page_can_be_run() -> None:
    modules = [module for _, module in found(r"python -m ([a-z_.]+)")]

    assert [module for module in modules if find_spec(module) is None] == []


def test_every_link_on_a_page_leads_to_a_file() -> None:
    links = [(page, link.partition("#")[0]) for page, link in found(r"\]\(([^)\s]+)\)") if "://" not in link]

    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_every_page_is_linked_from_another() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page, link in found(r"\]\(([^)\s]+)\)")}

    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in linked and page.name != "README.md"] == []


def texts() -> Iterator[str]:
    """All texts of the services and of the stack, with NAME for what is filled in."""
    for path in (*(ROOT / "services").rglob("*.py"), *(ROOT / "infra").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "NAME" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_command_that_a_service_or_an_alarm_names_exists_with_its_options() -> None:
    line: Any = get_command(app)
    commands = line.commands
    named = {(name, tuple(re.findall(r"--[a-z-]+", rest))) for text in texts() for name, rest in COMMAND.findall(text)}

    assert len(named) > 3
    for name, options in sorted(named):
        assert name in commands, f"`cloud-sync {name}` does not exist"
        known = {spelled for option in commands[name].params for spelled in option.opts}
        assert set(options) <= known, f"`cloud-sync {name}` has not all {options}"
