"""What the contract tests talk to: started once for all of them."""

import uuid
from collections.abc import Iterator

import pytest

from bench.seaweed import seaweed
from ops.local.emulator import start_emulator
from ops.local.processes import end, marked
from ops.local.toolchain import EmulatorTools
from tests.contract.embedded_aws import EmbeddedAws


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    mark = uuid.uuid4().hex
    try:
        _, endpoint_url = start_emulator(EmulatorTools.find(), tmp_path_factory.mktemp("embedded-aws"), mark)
        yield EmbeddedAws(endpoint_url)
    finally:
        end([], mark)
    assert not marked(mark)


@pytest.fixture(scope="session")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as url:
        yield url
