"""The settings of a function: one frozen dataclass per service, which the stack writes into its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_type_hints

import msgspec

_S = TypeVar("_S")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What every service has to know. The defaults are what the stack deploys; a function is given every value."""

    event_bus_name: str = ""  # known once there is a bus; the stack's `Service` fills in this one and the next
    inbox_url: str = ""
    max_receives: int = 4  # after this many receives a failed message becomes a dead letter
    retry_base_seconds: float = 2.0  # the wait after a first failure; doubles with every further one
    retry_cap_seconds: float = 300.0  # the longest wait


def to_environment(settings: ServiceSettings) -> dict[str, str]:
    """Return the environment variables from which `from_environment` reads these settings."""
    return {field.name.upper(): _text(getattr(settings, field.name)) for field in fields(settings)}


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def from_environment(settings: type[_S], environment: Mapping[str, str] = os.environ) -> _S:
    """Return the settings of this class, each field from the environment variable of its name in capitals.

    Raises `RuntimeError` that names every variable that is missing or not of its field's type.
    """
    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, kind in get_type_hints(settings).items():
        variable = name.upper()
        if variable not in environment:
            problems.append(f"{variable} is not set")
            continue
        try:
            given[name] = msgspec.convert(environment[variable], kind, strict=False)
        except msgspec.ValidationError as error:
            problems.append(f"{variable}: {error}")
    if problems:
        raise RuntimeError(f"the function's environment is not usable: {'; '.join(problems)}")
    return settings(**given)
