"""The rules of the house that a linter doesn't know: what is imported, what is private, what crosses a module."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.events import SERVICES
from tools.static.sources import import_linter
from tools.template import ROOT

LINTED = ("infra", "ops", "services", "tests", "tools")
PLANTED = {
    "Each package knows only those below it": ("services/shared/clock.py", "infra.config"),
    "Nothing connects the services but events": ("services/lister/settings.py", "services.summarizer.settings"),
    "The stack reads only the contracts of the services": ("infra/config.py", "services.lister.handler"),
    "The transfer engine could be used alone": ("services/downloader/transfer/bucket.py", "services.shared.errors"),
    "The fake GoPro Cloud shares no code with the services": ("ops/local/gopro_cloud/signing.py", "services.shared"),
}

# Modules that read or write JSON objects and items as AWS and GoPro define them. Elsewhere they have types.
UNTYPED = {
    "services/authenticator/grants.py",  # OAuth's answers
    *(f"services/{service}/handler.py" for service in SERVICES),  # Lambda's batches
    "services/downloader/library_table.py",
    "services/downloader/manifest.py",  # GoPro's answers, like those of gopro/
    "services/shared/dynamodb.py",
    "services/shared/envelope.py",  # EventBridge's events
    "services/shared/gopro/client.py",
    "services/shared/gopro/patient.py",
    "services/shared/gopro/words.py",
    "services/shared/inbox/inbox.py",  # Lambda's batches
    "services/shared/library/records.py",
    "services/summarizer/syncs_table.py",
}


def service_sources() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted((ROOT / "services").rglob("*.py")):
        yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text())


def test_each_import_contract_notices_an_import_that_it_forbids(tmp_path: Path) -> None:
    for package in LINTED:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, module in PLANTED.values():
        (tmp_path / file).write_text(f"import {module}\n{(tmp_path / file).read_text()}")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    broken = {finding.rule for finding in import_linter(tmp_path).findings}
    assert broken == {contract["name"] for contract in contracts} == set(PLANTED)


def test_the_contracts_that_the_stack_reads_do_not_load_boto3() -> None:
    modules = ["services.shared.events", "services.shared.settings"]
    modules += [f"services.{service}.{part}" for service in SERVICES for part in ("reactions", "settings")]
    check = f"import sys, {', '.join(modules)}; print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.scenario(53)
def test_no_service_leaves_files_for_the_next_invocation() -> None:
    modules = {"io", "pathlib", "shutil", "sqlite3", "tempfile"}
    writing = [
        f"{file}:{node.lineno}"
        for file, source in service_sources()
        for node in ast.walk(source)
        if (isinstance(node, ast.Import) and modules & {alias.name.split(".")[0] for alias in node.names})
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in modules)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "os.open", "os.mkdir", "os.makedirs"})
    ]
    assert writing == []


def test_no_service_imports_a_private_name() -> None:
    private = [
        f"{file}: {alias.name}"
        for file, source in service_sources()
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") or any(part.startswith("_") for part in (node.module or "").split("."))
    ]
    assert private == []


def test_only_modules_at_the_border_to_aws_and_gopro_pass_untyped_objects() -> None:
    passing = {
        file
        for file, source in service_sources()
        for function in ast.walk(source)
        if isinstance(function, ast.FunctionDef)
        for annotation in (
            function.returns,
            *(one.annotation for one in ast.walk(function.args) if isinstance(one, ast.arg)),
        )
        if annotation and re.search(r"(dict|Mapping)\[str, Any\]", ast.unparse(annotation))
    }
    assert passing == UNTYPED
