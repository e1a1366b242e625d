"""What may stand in a log: no token, password, cookie or signed URL, so nothing that might repeat one."""

import logging
from traceback import extract_tb

from botocore.exceptions import ClientError

from services.shared.errors import reason_of

# At DEBUG these tell whole requests and answers: what Secrets Manager sends, and the signed URLs that are fetched.
_TALKATIVE = ("aws_lambda_powertools", "aws_xray_sdk", "boto3", "botocore", "requests", "s3transfer", "urllib3")


def quiet_libraries() -> None:
    """Keeps libraries from logging at DEBUG, which Lambda would let them do at that level of a function's log."""
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.INFO)


def why(error: BaseException) -> str:
    """What a log may say of an error; of a refusal of AWS's that is more than others are told."""
    return str(error) if isinstance(error, ClientError) else reason_of(error)


def where(error: BaseException) -> list[str]:
    """The calls that led to an error, outermost first, which a traceback would give together with its text."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
