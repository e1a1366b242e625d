"""Nothing connects the services but events: read from their imports."""

import ast
from pathlib import Path

import pytest

from tests.template import ROOT, SERVICES


def imported(file: Path) -> set[str]:
    """The dotted names of all modules that a file imports, at its top or anywhere inside."""
    package = file.relative_to(ROOT).parent.parts
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def imported_below(folder: Path) -> dict[str, set[str]]:
    return {file.relative_to(ROOT).as_posix(): imported(file) for file in folder.rglob("*.py")}


def breaches(folder: Path, *forbidden: str) -> list[tuple[str, str]]:
    return sorted(
        (file, name)
        for file, names in imported_below(folder).items()
        for name in names
        if any(name == banned or name.startswith(f"{banned}.") for banned in forbidden)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_imports_another(service: str) -> None:
    others = [f"services.{other}" for other in SERVICES if other != service]
    assert imported_below(ROOT / "services" / service)
    assert breaches(ROOT / "services" / service, *others) == []


def test_what_is_shared_knows_no_service() -> None:
    assert imported_below(ROOT / "services" / "shared")
    assert breaches(ROOT / "services" / "shared", *(f"services.{service}" for service in SERVICES)) == []


def test_the_infrastructure_imports_no_service_code() -> None:
    assert imported_below(ROOT / "infra")
    assert breaches(ROOT / "infra", "services") == []


def test_services_import_neither_infrastructure_nor_operations_nor_tests() -> None:
    assert breaches(ROOT / "services", "infra", "ops", "tests") == []


@pytest.mark.scenario(53)
def test_no_service_leaves_files_for_the_next_invocation() -> None:
    assert breaches(ROOT / "services", "tempfile", "pathlib", "shutil", "io", "os.open", "os.mkdir", "sqlite3") == []
    opened = [
        (file.relative_to(ROOT).as_posix(), node.lineno)
        for file in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "os.open")
    ]
    assert opened == []


def test_the_transfer_engine_knows_neither_lambda_nor_gopro() -> None:
    engine = ROOT / "services" / "downloader" / "transfer"
    own = ("services.downloader.transfer", "services.shared.errors", "services.shared.retry_after")
    assert imported_below(engine)
    strangers = [(file, name) for file, name in breaches(engine, "services") if not name.startswith(own)]
    assert strangers == []
    assert breaches(engine, "aws_lambda_powertools", "aws_xray_sdk") == []
