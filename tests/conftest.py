"""Fixtures and options of all suites."""

from hypothesis import Phase, settings

from tests.scenario_report import pytest_addoption, pytest_configure
from tests.template import template

__all__ = ["pytest_addoption", "pytest_configure", "template"]

# The same examples on every machine, however slow it is; `--hypothesis-profile=explore` tries new ones.
settings.load_profile("ci")
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False)
# For `make mutants`: a property that fails need not be shown by its smallest example.
settings.register_profile("mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
