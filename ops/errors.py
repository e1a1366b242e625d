"""What goes wrong and is the operator's to put right."""


class OperatorError(Exception):
    """Shown as one clear text, without a traceback: what is wrong and what to do about it."""
