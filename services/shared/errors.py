"""The two kinds of failure that matter: those that another try may mend, and those that it can't."""


class TransientError(Exception):
    """May pass. `retry_after`: seconds that the other side asked for, if it did."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(Exception):
    """Another try would end the same way."""
