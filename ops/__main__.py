"""The entry point of `cloud-sync` and of `python -m ops`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        from ops.command import main as run  # noqa: PLC0415 - a Python without the packages still prints the hint below
    except ModuleNotFoundError as error:
        print(
            f"cloud-sync: {error.name} is not installed for {sys.executable}. "
            "Run `make setup`, then use .venv/bin/cloud-sync.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # the packages take half a second to load
        return 130
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
