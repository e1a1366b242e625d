"""A function's settings, to its environment and back."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.settings import ServiceSettings, from_environment, to_environment


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    bucket: str
    pages: int
    seconds: float
    enabled: bool
    wheels: Literal["host", "lambda"]


GOOD = {
    **to_environment(ServiceSettings()),
    "BUCKET": "media",
    "PAGES": "100",
    "SECONDS": "0.5",
    "ENABLED": "false",
    "WHEELS": "host",
    "PATH": "/usr/bin",
}


def test_each_field_comes_from_the_variable_of_its_name_in_the_type_that_it_has() -> None:
    read = from_environment(Settings, GOOD)
    assert read == Settings(bucket="media", pages=100, seconds=0.5, enabled=False, wheels="host")


def test_a_whole_number_of_seconds_is_a_number_of_seconds() -> None:
    assert from_environment(Settings, {**GOOD, "SECONDS": "30"}).seconds == 30.0


@given(st.builds(Settings, seconds=st.floats(allow_nan=False)))
def test_every_settings_object_is_read_as_it_was_written(settings: Settings) -> None:
    environment = to_environment(settings)
    assert from_environment(Settings, environment) == settings


def test_numbers_are_written_as_people_write_them() -> None:
    written = to_environment(
        Settings(bucket="media", pages=1_000_000, seconds=30.0, enabled=True, wheels="host", retry_base_seconds=0.5)
    )
    assert (written["PAGES"], written["SECONDS"], written["RETRY_BASE_SECONDS"]) == ("1000000", "30", "0.5")


def test_digits_stay_text_where_text_is_wanted() -> None:
    assert from_environment(Settings, {**GOOD, "BUCKET": "2026"}).bucket == "2026"


@pytest.mark.parametrize("name", ["BUCKET", "PAGES", "SECONDS", "ENABLED", "WHEELS"])
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(RuntimeError, match=f"{name} is not set"):
        from_environment(Settings, {key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAGES", "many"),
        ("PAGES", ""),
        ("PAGES", "1.5"),
        ("SECONDS", "soon"),
        ("SECONDS", ""),
        ("ENABLED", "maybe"),
        ("WHEELS", "both"),
    ],
)
def test_a_value_that_can_not_be_used_is_named_by_its_variable(name: str, value: str) -> None:
    with pytest.raises(RuntimeError, match=rf"\b{name}: "):
        from_environment(Settings, {**GOOD, name: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    environment = {**GOOD, "PAGES": "x", "WHEELS": "x"}
    del environment["BUCKET"]
    with pytest.raises(RuntimeError, match=r"BUCKET is not set; PAGES: .*; WHEELS: "):
        from_environment(Settings, environment)


def test_settings_do_not_change() -> None:
    read: Any = from_environment(Settings, GOOD)
    with pytest.raises(FrozenInstanceError):
        read.pages = 5


def test_it_is_the_functions_own_environment_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    assert from_environment(Settings).bucket == "media"
