"""The file with the credentials for GoPro, as the credentials secret takes them."""

import json
from collections.abc import Mapping
from pathlib import Path

from ops.errors import OperatorError

_FORMS = (
    {"client_id", "client_secret", "refresh_token"},
    {"client_id", "client_secret", "username", "password"},
    {"access_token"},
)
_ALLOWED = set().union(*_FORMS)
_EXPLANATION = (
    'Allowed: {"client_id", "client_secret", "refresh_token"}, '
    'or {"client_id", "client_secret", "username", "password"}, or both, or {"access_token"}; each a text.'
)


def read_credentials(path: Path) -> dict[str, str]:
    """Raises `OperatorError` that names what is wrong, and never a value."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise OperatorError(f"The credentials file {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise OperatorError(f"The credentials file {path} is not JSON. {_EXPLANATION}") from error
    return checked(content, origin=f"The credentials file {path}")


def checked(content: object, *, origin: str) -> dict[str, str]:
    """The credentials, when they are complete and nothing else is with them; else raises `OperatorError`."""
    if not isinstance(content, Mapping):
        raise OperatorError(f"{origin} is not a JSON object. {_EXPLANATION}")
    unknown = sorted(str(name) for name in content if name not in _ALLOWED)
    if unknown:
        raise OperatorError(f"{origin} has unknown keys: {', '.join(unknown)}. {_EXPLANATION}")
    unusable = sorted(name for name, value in content.items() if not isinstance(value, str) or not value)
    if unusable:
        raise OperatorError(f"{origin} has no usable {', '.join(unusable)}. {_EXPLANATION}")
    if not any(form <= set(content) for form in _FORMS):
        raise OperatorError(f"{origin} is incomplete; it has {', '.join(sorted(content)) or 'nothing'}. {_EXPLANATION}")
    return dict(content)
