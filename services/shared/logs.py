"""What may stand in a log: no token, password, cookie or signed URL, so nothing that might repeat one."""

import logging
from traceback import extract_tb

from botocore.exceptions import ClientError

from services.shared.errors import PermanentError, TransientError

# At DEBUG these tell whole requests and answers: what Secrets Manager sends, and the signed URLs that are fetched.
_TALKATIVE = ("aws_lambda_powertools", "aws_xray_sdk", "boto3", "botocore", "requests", "s3transfer", "urllib3")


def quiet_libraries() -> None:
    """Keeps libraries from logging at DEBUG, which Lambda would let them do at that level of a function's log."""
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.INFO)


def why(error: BaseException | None) -> str:
    """What is to be said of an error: its kind, and its text where that is known to hold nothing secret.

    The text of an error that nobody foresaw might repeat what it choked on.
    """
    if isinstance(error, TransientError | PermanentError | ClientError):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def where(error: BaseException) -> list[str]:
    """The calls that led to an error, outermost first, which a traceback would give together with its text."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
