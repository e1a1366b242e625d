"""The two kinds of failure that matter: those that another try may mend, and those that it can't."""

from botocore.exceptions import ClientError


class TransientError(Exception):
    """May pass. `retry_after`: seconds that the other side asked for, if it did."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(Exception):
    """Another try would end the same way."""


def reason_of(error: BaseException) -> str:
    """What may be told of an error outside this service.

    The text of one that nobody foresaw might repeat what it choked on, so of that only the kind is told.
    """
    if isinstance(error, TransientError | PermanentError):
        return str(error)
    if isinstance(error, ClientError):
        return f"AWS refused {error.operation_name}: {error.response.get('Error', {}).get('Code', 'no code')}"
    return f"an unforeseen error: {type(error).__name__}"
