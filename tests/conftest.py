"""Fixtures and options of all suites."""

from typing import Any
from unittest import mock

import pytest
from botocore.loaders import create_loader
from hypothesis import Phase, settings
from xdist.scheduler import LoadScopeScheduling

from tests.environment import isolate
from tests.scenario_report import pytest_addoption, pytest_configure
from tests.template import template

__all__ = ["pytest_addoption", "pytest_configure", "template"]

# Now: pytest imports this file before any other conftest or test, and thus before any module of the services.
isolate()

# Each boto3 session would read the models of AWS's services anew: most of the time of a test with moto.
mock.patch("botocore.session.create_loader", return_value=create_loader()).start()

# The same examples on every machine, however slow it is; `--hypothesis-profile=explore` tries new ones.
settings.load_profile("ci")
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False)
# For `make mutants`: a property that fails need not be shown by its smallest example.
settings.register_profile("mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives tests that share a server to one of xdist's workers, for each worker would start one of its own.

    A file of end-to-end tests mostly waits, so it may have a local stage of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith("tests/e2e/"):
            return file
        return "contract" if file.startswith("tests/contract/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServer:
    return ByServer(config, log)
