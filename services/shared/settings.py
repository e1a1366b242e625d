"""Settings of a function: one frozen dataclass a service, read from the environment at cold start."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import msgspec

_S = TypeVar("_S")


def from_environment(settings: type[_S], environment: Mapping[str, str] = os.environ) -> _S:
    """An instance of the dataclass `settings`, each field from the variable of its name in capitals.

    Raises `RuntimeError` that names the variable that is missing or not of the field's type.
    """
    given: dict[str, Any] = {}
    for field in fields(settings):  # type: ignore[arg-type]  # a dataclass type; typing can't say so
        name = field.name.upper()
        if name not in environment:
            raise RuntimeError(f"the environment variable {name} is not set")
        given[field.name] = environment[name]
    try:
        return msgspec.convert(given, settings, strict=False)
    except msgspec.ValidationError as error:
        raise RuntimeError(f"an environment variable has an unusable value: {error}") from error
