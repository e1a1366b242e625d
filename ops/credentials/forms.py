"""Reads the file with GoPro credentials, in the form of the credentials secret."""

import json
from collections.abc import Mapping
from pathlib import Path

from ops.errors import OperatorError

_COMPLETE = (
    {"client_id", "client_secret", "refresh_token"},
    {"client_id", "client_secret", "username", "password"},
    {"access_token"},
)
_ALLOWED = set().union(*_COMPLETE)
FORMS = (
    'Allowed: {"client_id", "client_secret", "refresh_token"}, '
    'or {"client_id", "client_secret", "username", "password"}, or both, or {"access_token"}; every value is a string.'
)


def read_credentials(path: Path) -> dict[str, str]:
    """Read and check a credentials file. Raises `OperatorError`, which never shows a value of the file."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise OperatorError(f"The credentials file {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise OperatorError(f"The credentials file {path} is not JSON. {FORMS}") from error
    return checked(content, origin=f"The credentials file {path}")


def checked(content: object, *, origin: str) -> dict[str, str]:
    """Return the credentials if they are complete and hold nothing else. Raises `OperatorError` otherwise."""
    if not isinstance(content, Mapping):
        raise OperatorError(f"{origin} is not a JSON object. {FORMS}")
    # A key that is no plain word may be a secret in the wrong place.
    unknown = sorted(name if name.isidentifier() else "(no plain word)" for name in content.keys() - _ALLOWED)
    if unknown:
        raise OperatorError(f"{origin} has unknown keys: {', '.join(unknown)}. {FORMS}")
    unusable = sorted(name for name, value in content.items() if not isinstance(value, str) or not value)
    if unusable:
        raise OperatorError(f"{origin} has no usable {', '.join(unusable)}. {FORMS}")
    if not any(form <= set(content) for form in _COMPLETE):
        raise OperatorError(f"{origin} is incomplete; it has {', '.join(sorted(content)) or 'nothing'}. {FORMS}")
    return dict(content)
