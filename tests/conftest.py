"""Fixtures of all suites."""

from tests.template import template

__all__ = ["template"]
