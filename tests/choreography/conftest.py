from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

from tests.choreography.stage import Choreography, running
from tests.gopro_cloud import FakeGoProCloud
from tests.template import Template

Stage = Callable[..., AbstractContextManager[Choreography]]


@pytest.fixture(scope="session")
def gopro() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as cloud:
        yield cloud


@pytest.fixture
def stage(template: Callable[[str], Template], gopro: FakeGoProCloud) -> Stage:
    """`stage(…)` opens the running system; options as `running` takes them."""
    gopro.reset()
    options: Any = (template("prod"), gopro)
    return partial(running, *options)
