"""What is uploaded."""

import re
from pathlib import Path

import pytest

from infra.wheels import LAMBDA, install, make_reproducible
from tests.template import ROOT, SERVICES, Synthesize, Template

AARCH64 = 183  # e_machine of the ELF header


@pytest.fixture(scope="session")
def prod(template: Synthesize) -> Template:
    return template("prod")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def layer(prod: Template) -> Path:
    (version,) = prod.of_type("AWS::Lambda::LayerVersion")
    return prod.asset_folder(version["Content"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_package_holds_its_own_service_and_what_is_shared_and_nothing_else(prod: Template, name: str) -> None:
    packaged = files(prod.asset_folder(prod.services[name].function["Code"]))
    sources = {
        path
        for path in (f"services/{file}" for file in files(ROOT / "services"))
        if re.match(rf"services/(__init__\.py|shared/|{name}/)", path) and "__pycache__" not in path
    }
    assert packaged == sources


def test_nothing_is_built_in_a_container(prod: Template) -> None:
    assert prod.assets.get("dockerImages", {}) == {}
    assert [file for file in prod.assets["files"].values() if "executable" in file["source"]] == []


def test_compiled_dependencies_are_for_the_functions_processor(layer: Path) -> None:
    compiled = [path for path in layer.rglob("*.so*") if path.is_file()]
    assert compiled
    for library in compiled:
        header = library.read_bytes()[:20]
        assert header[:4] == b"\x7fELF"
        assert int.from_bytes(header[18:20], "little") == AARCH64, library


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
    install(ROOT / "requirements/runtime.txt", target=again, platform=LAMBDA)
    make_reproducible(again)
    assert files(again) == files(layer / "python")
    different = [name for name in files(again) if (again / name).read_bytes() != (layer / "python" / name).read_bytes()]
    assert different == []
