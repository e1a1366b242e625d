"""What a log may hold: no token, password, cookie or signed URL, and nothing that might repeat one."""

import logging
import os
from traceback import extract_tb

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from services.shared.errors import reason_of

# At DEBUG these log whole requests and answers: secrets from Secrets Manager, and signed URLs.
_TALKATIVE = ("aws_lambda_powertools", "aws_xray_sdk", "boto3", "botocore", "requests", "s3transfer", "urllib3")


def function_logger() -> Logger:
    """Create the logger of a function. The loggers of all its modules write through it.

    Lambda reads the level of a line only beside a timestamp of RFC 3339; it takes any other line for one of INFO.
    """
    logger = Logger(use_rfc3339=True)
    # On the handler: Powertools prefers the level of Lambda, which is never above INFO, so that Lambda keeps metrics.
    logger.registered_handler.setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO"))
    return logger


def quiet_libraries() -> None:
    """Keep libraries from logging at DEBUG, which Lambda would allow when a function's log level is DEBUG."""
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.INFO)


def why(error: BaseException) -> str:
    """Return what the log may say of an error. Unlike `reason_of`, it includes AWS's own message."""
    return str(error) if isinstance(error, ClientError) else reason_of(error)


def where(error: BaseException) -> list[str]:
    """Return the calls that led to an error, outermost first. A traceback would also hold the error's text."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
