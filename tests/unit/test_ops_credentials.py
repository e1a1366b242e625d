"""The credentials file of a local stage."""

import json
from pathlib import Path

import pytest

from ops.credentials.forms import read_credentials
from ops.errors import OperatorError


@pytest.mark.parametrize(
    "content",
    [
        {"client_id": "i", "client_secret": "s", "refresh_token": "r"},
        {"client_id": "i", "client_secret": "s", "username": "u", "password": "p"},
        {"client_id": "i", "client_secret": "s", "username": "u", "password": "p", "refresh_token": "r"},
        {"access_token": "t"},
    ],
)
def test_every_form_of_credentials_is_accepted(tmp_path: Path, content: dict[str, str]) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(content))

    assert read_credentials(file) == content


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "is incomplete; it has nothing"),
        ('{"client_id": "hush", "client_secret": "hush"}', "is incomplete; it has client_id, client_secret"),
        ('{"access_token": "hush", "acess": "hush"}', "unknown keys: acess"),
        ('{"access_token": ""}', "no usable access_token"),
        ('{"access_token": 5}', "no usable access_token"),
    ],
)
def test_wrong_credentials_are_refused_with_the_allowed_keys_and_without_a_value(
    tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)

    with pytest.raises(OperatorError, match=problem) as caught:
        read_credentials(file)

    assert '{"client_id", "client_secret", "refresh_token"}' in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_missing_credentials_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.json can't be read"):
        read_credentials(tmp_path / "none.json")
