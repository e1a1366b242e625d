"""Which calls of boto3 the services make, read from their sources."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.template import ROOT

_NAMES_OF_PARAMETERS = re.compile(r"[A-Z][A-Za-z0-9]+")


def service_calls(clients: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Each operation with each of its parameters that the services give it, and where they do.

    `clients`: boto3's, which know what they can be asked. An operation without parameters has an empty one.
    """
    known = {
        method: set(client.meta.service_model.operation_model(operation).input_shape.members)
        for client in clients.values()
        for method, operation in client.meta.method_to_api_mapping.items()
        if client.meta.service_model.operation_model(operation).input_shape
    }
    found: dict[tuple[str, str], str] = {}
    for path in sorted((ROOT / "services").rglob("*.py")):
        for method, parameters, line in _calls(path, known):
            for parameter in (parameters & known[method]) or {""}:
                found.setdefault((method, parameter), f"{path.relative_to(ROOT)}:{line}")
    return found


def _calls(path: Path, known: Mapping[str, set[str]]) -> Iterator[tuple[str, set[str], int]]:
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and (method := _method(call)) in known:
                    yield method, _parameters(call, function), call.lineno


def _method(call: ast.Call) -> str:
    if not isinstance(call.func, ast.Attribute):
        return ""
    if call.func.attr == "paginate" and isinstance(call.func.value, ast.Call):
        (operation,) = call.func.value.args
        assert isinstance(operation, ast.Constant)
        return str(operation.value)
    return call.func.attr


def _parameters(call: ast.Call, function: ast.FunctionDef) -> set[str]:
    """Those that stand in the call; where it takes a mapping, all that its function has a key for."""
    names = {keyword.arg for keyword in call.keywords if keyword.arg}
    if any(keyword.arg is None for keyword in call.keywords):
        texts = [node.value for node in ast.walk(function) if isinstance(node, ast.Constant)]
        names |= {text for text in texts if isinstance(text, str) and _NAMES_OF_PARAMETERS.fullmatch(text)}
    return names
