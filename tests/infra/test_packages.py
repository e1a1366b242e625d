"""The packages and the layer that a deployment uploads."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bytecode import compiler
from infra.packaging import build_layer, collect_service, finish
from infra.wheels import LAMBDA
from services.shared.events import SERVICES
from tests.environment import OF_THE_TESTS
from tests.template import Synthesize
from tools.template import ROOT, ServiceWiring, Template, run_app

AARCH64 = 183  # e_machine of the ELF header
IMPORT = """
import importlib, sys
sys.path[:0] = sys.argv[2:]
importlib.import_module(f"services.{sys.argv[1]}.handler").handler
"""


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def layer(prod: Template) -> Path:
    (version,) = prod.of_type("AWS::Lambda::LayerVersion")
    return prod.asset_folder(version["Content"])


def test_a_package_holds_only_its_own_service_and_the_shared_code(prod: Template, service: ServiceWiring) -> None:
    packaged = {name for name in files(prod.asset_folder(service.function["Code"])) if not name.endswith(".pyc")}
    assert packaged == {
        f"services/{file}"
        for file in files(ROOT / "services")
        if re.match(rf"(__init__\.py|shared/|{service.name}/)", file) and "__pycache__" not in file
    }


def test_nothing_is_built_in_a_container(prod: Template) -> None:
    assert prod.assets.get("dockerImages", {}) == {}
    assert [file for file in prod.assets["files"].values() if "executable" in file["source"]] == []


def test_compiled_dependencies_are_for_the_functions_processor(layer: Path) -> None:
    headers = [path.read_bytes()[:20] for path in layer.rglob("*.so*") if path.is_file()]
    assert headers
    for header in headers:
        assert (header[:4], int.from_bytes(header[18:20], "little")) == (b"\x7fELF", AARCH64)


def test_the_layer_holds_the_pinned_list_where_lambda_looks_for_it(layer: Path) -> None:
    wanted = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE))
    there = {
        match[1].replace("_", "-").lower(): match[2]
        for match in (re.match(r"(.+)-([^-]+)\.dist-info$", folder.name) for folder in (layer / "python").iterdir())
        if match
    }
    assert there == wanted
    assert wanted.keys() >= {"boto3", "awscrt", "requests", "msgspec", "aws-lambda-powertools", "tzdata"}


def test_the_layer_fits_into_lambda(layer: Path) -> None:
    assert sum(path.stat().st_size for path in layer.rglob("*") if path.is_file()) < 200 * 1024 * 1024


def test_the_layer_is_the_same_wherever_it_is_made(layer: Path, tmp_path: Path) -> None:
    again = tmp_path / "somewhere" / "else"
    build_layer(again, "lambda")
    assert files(again) == files(layer)
    different = [name for name in files(again) if (again / name).read_bytes() != (layer / name).read_bytes()]
    assert different == []


def test_a_package_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "somewhere" / "else"
    for folder in (first, second):
        collect_service("lister", folder)
        finish(folder, "host", unpacked_at="/var/task")
    assert {name: (first / name).read_bytes() for name in files(first)} == {
        name: (second / name).read_bytes() for name in files(second)
    }


def test_every_module_of_ours_is_compiled_where_the_functions_python_is_at_hand(
    prod: Template, service: ServiceWiring
) -> None:
    packaged = files(prod.asset_folder(service.function["Code"]))
    modules = {name for name in packaged if name.endswith(".py")}
    compiled = {name for name in packaged if name.endswith(".pyc")}
    expected = {re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-313.pyc", name) for name in modules}
    assert compiled == (expected if compiler(LAMBDA.python_version) else set())


def test_what_is_uploaded_can_be_read_by_every_user_even_under_a_umask_of_077(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        done = run_app(tmp_path, {"env": "prod"})
        collect_service("lister", tmp_path / "package")
        finish(tmp_path / "package", "host", unpacked_at="/var/task")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    uploaded = [path for path in tmp_path.glob("asset.*/**/*") if path.is_file()]
    assert len(uploaded) > 100
    assert {stat.S_IMODE(path.stat().st_mode) for path in uploaded} == {0o644}
    own = list((tmp_path / "package").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in own if path.is_dir()} == {0o755}


@pytest.mark.parametrize("name", SERVICES)
def test_a_handler_needs_no_more_than_its_package_the_layer_and_its_environment(
    template: Synthesize, name: str
) -> None:
    """With the layer's wheels for this machine and its Python, which `make test-lambda-python` chooses."""
    stack = template("prod", wheels="host")
    service = stack.services[name]
    (layer,) = stack.of_type("AWS::Lambda::LayerVersion")
    folders = [stack.asset_folder(service.function["Code"]), stack.asset_folder(layer["Content"]) / "python"]
    # What CloudFormation would fill in is a name or an address.
    variables = {key: value if isinstance(value, str) else "filled-in" for key, value in service.environment.items()}
    # As Lambda's bootstrap, without the packages of an environment: -I and -S leave only the standard library.
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT, name, *folders],
        env={**OF_THE_TESTS, **variables, "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
