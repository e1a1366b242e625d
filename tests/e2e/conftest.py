"""The local stage of end-to-end tests, which all tests that a process runs share."""

import sys
from collections.abc import Iterator

import pytest

from tests.e2e.canary import report
from tests.e2e.invariants import violations_at_rest
from tests.e2e.stage import SETTINGS, Stage, running


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage as the tests before have left it."""
    with running(tmp_path_factory.mktemp("stage"), SETTINGS) as stage:
        yield stage
        assert_no_secret_shows(stage)
        print(f"canary: {stage.canary.figures}", file=sys.stderr)


@pytest.fixture
def stage(running_stage: Stage) -> Iterator[Stage]:
    """The stage with nothing stored and nothing under way, and its GoPro Cloud as new.

    Whatever the test was about, the invariants have to hold once it is over, and no secret may be in anything that it
    made the stage put out.
    """
    running_stage.clean()
    yield running_stage
    assert violations_at_rest(running_stage) == []
    assert_no_secret_shows(running_stage)


def assert_no_secret_shows(stage: Stage) -> None:
    finds = stage.canary.search()
    assert not finds, f"{len(finds)} secrets where they should not be:\n{report(finds)}"
