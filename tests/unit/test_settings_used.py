"""Every setting is read by something: one that nothing reads would be set in vain."""

import ast
from dataclasses import fields
from importlib import import_module

import pytest

from infra.config import Settings
from ops.local.toolchain import ROOT
from services.shared.events import SERVICES
from services.shared.settings import ServiceSettings


def read_in(folder: str, *, without: str = "") -> set[str]:
    """The names of all attributes that the modules of a folder read."""
    paths = [path for path in (ROOT / folder).rglob("*.py") if path.name != without]
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text())))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def unread(settings: type, *used: set[str]) -> list[str]:
    return [field.name for field in fields(settings) if not any(field.name in names for names in used)]


def test_every_setting_of_the_stack_is_read_by_the_stack() -> None:
    assert unread(Settings, read_in("infra")) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_is_read_by_it(service: str) -> None:
    settings = import_module(f"services.{service}.settings").Settings

    assert unread(settings, read_in(f"services/{service}", without="settings.py"), read_in("services/shared")) == []


def test_every_setting_of_all_services_is_read_by_what_they_share() -> None:
    used = [read_in(f"services/{folder}", without="settings.py") for folder in ("shared", *SERVICES)]

    assert unread(ServiceSettings, *used) == []
