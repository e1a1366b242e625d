"""One local stage for all end-to-end tests: bringing it up takes as long as all of them together."""

import sys
from collections.abc import Iterator

import pytest

from ops.local import stage as local
from tests.e2e.canary import told
from tests.e2e.invariants import violations_at_rest
from tests.e2e.stage import SETTINGS, Stage


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage as the tests before have left it."""
    wanted = local.Wanted(folder=tmp_path_factory.mktemp("stage"), settings=SETTINGS)
    stage = Stage(local.up(wanted, say=lambda text: print(f"stage: {text}", file=sys.stderr)))
    try:
        stage.listen()
        assert stage.credentials, "read before a test can change them"
        yield stage
        assert_untold(stage)
        print(f"canary: {stage.canary.figures}", file=sys.stderr)
    finally:
        stage.end()


@pytest.fixture
def stage(running_stage: Stage) -> Iterator[Stage]:
    """The stage with nothing stored and nothing under way, and its GoPro Cloud as new.

    Whatever the test was about, the invariants have to hold once it is over, and no secret may be in anything that it
    made the stage put out.
    """
    running_stage.clean()
    yield running_stage
    assert violations_at_rest(running_stage) == []
    assert_untold(running_stage)


def assert_untold(stage: Stage) -> None:
    finds = stage.canary.search()
    assert not finds, f"{len(finds)} secrets where they should not be:\n{told(finds)}"
