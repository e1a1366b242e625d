"""What the contract tests talk to: started once for all of them."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.local.emulator import certificate_of, decisions_of, start_emulator
from ops.local.processes import end, marked
from ops.local.toolchain import EmulatorTools
from tests.contract.embedded_aws import EmbeddedAws
from tools.bench.seaweed import seaweed


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    with _started(tmp_path_factory.mktemp("embedded-aws")) as started:
        yield started


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """The embedded AWS with roles and policies that decide."""
    with _started(tmp_path_factory.mktemp("guarded-aws"), enforce_iam=True) as started:
        yield started


@contextmanager
def _started(folder: Path, *, enforce_iam: bool = False) -> Iterator[EmbeddedAws]:
    mark = uuid.uuid4().hex
    try:
        _, endpoint_url = start_emulator(EmulatorTools.find(), folder, mark, enforce_iam=enforce_iam)
        certificate = str(certificate_of(folder)) if enforce_iam else None
        yield EmbeddedAws(endpoint_url, certificate, decisions_of(folder))
    finally:
        end([], mark)
    assert not marked(mark)


@pytest.fixture(scope="session")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as url:
        yield url
