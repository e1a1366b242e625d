"""What a function is given is what it reads: its `Settings` against its environment in the template, both ways."""

import dataclasses
import importlib

import pytest

from services.shared.settings import from_environment
from tests.template import SERVICES, ServiceWiring, Synthesize


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, template: Synthesize) -> ServiceWiring:
    return template("prod").services[request.param]


def settings_of(service: ServiceWiring) -> type:
    settings: type = importlib.import_module(f"services.{service.name}.settings").Settings
    assert dataclasses.is_dataclass(settings)
    return settings


def ours(service: ServiceWiring) -> dict[str, object]:
    """The variables that are not for the libraries."""
    libraries = ("POWERTOOLS_", "BOTO_", "MALLOC_")
    return {name: value for name, value in service.environment.items() if not name.startswith(libraries)}


def test_a_function_is_given_exactly_what_it_reads(service: ServiceWiring) -> None:
    read = {field.name.upper() for field in dataclasses.fields(settings_of(service))}
    assert set(ours(service)) == read


def test_every_value_is_of_the_kind_that_the_function_expects(service: ServiceWiring) -> None:
    # What only the deployment knows, such as a queue's URL, is text.
    values = {name: value if isinstance(value, str) else "known later" for name, value in ours(service).items()}
    from_environment(settings_of(service), values)
