"""The values that several tools take on their command lines."""

import argparse
import contextlib


def positive(text: str) -> int:
    """Read a whole number above 0."""
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError("a whole number above 0")
