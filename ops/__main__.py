"""`python -m ops`, and the command `cloud-sync`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    try:
        from ops.command import main as run  # noqa: PLC0415 - so that a Python without the packages gets to say so
    except ModuleNotFoundError as error:
        print(
            f"cloud-sync: {error.name} is not installed for {sys.executable}. "
            "Run `make setup`, and then .venv/bin/cloud-sync.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # the packages take half a second to load
        return 130
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
