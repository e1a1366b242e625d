"""Settings of a function: one frozen dataclass a service, read from the environment at cold start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec

_S = TypeVar("_S")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What every service has to know."""

    event_bus_name: str
    inbox_url: str
    max_receives: int  # the inbox's own limit: after so many receives a message becomes a dead letter
    retry_base_seconds: float  # the wait after a first failure
    retry_cap_seconds: float  # the longest wait


def from_environment(settings: type[_S], environment: Mapping[str, str] = os.environ) -> _S:
    """An instance of the dataclass `settings`, each field from the variable of its name in capitals.

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
        raise RuntimeError(f"the function's environment can't be used: {'; '.join(problems)}")
    return settings(**given)
