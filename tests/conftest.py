"""Fixtures and options of all suites."""

from tests.scenario_report import pytest_addoption, pytest_configure
from tests.template import template

__all__ = ["pytest_addoption", "pytest_configure", "template"]
