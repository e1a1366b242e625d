"""The error that an operator can fix."""


class OperatorError(Exception):
    """What is wrong and what to do about it, in one text that is shown without a traceback."""
