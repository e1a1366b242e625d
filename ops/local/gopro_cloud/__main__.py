"""`python -m ops.local.gopro_cloud`: run the fake GoPro Cloud until SIGTERM or SIGINT."""

import argparse
import json
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ops.local.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud, Library, demo


def main(words: Sequence[str] | None = None) -> None:
    """Print one line of JSON with the addresses once the cloud listens; exit status 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m ops.local.gopro_cloud", description="A fake GoPro Cloud.")
    parser.add_argument("--port", type=_port, default=0, help="port of the API and the CDN (default: a free one)")
    parser.add_argument("--library", type=_library, default="demo", metavar="demo|FILE.json", help="default: demo")
    parser.add_argument("--ready-file", type=_new_file, help="also write the line of JSON to this file")
    parser.add_argument("--print-credentials", action="store_true", help="print the account's credentials and exit")
    arguments = parser.parse_args(words)
    if arguments.print_credentials:
        print(json.dumps(DEMO_CREDENTIALS))
        return
    try:
        cloud = FakeGoProCloud(arguments.library, port=arguments.port)
    except OSError as error:
        parser.error(f"argument --port: {arguments.port}: {error.strerror}")
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    with cloud:
        line = json.dumps({"url": cloud.url, "control_url": cloud.control_url, "pid": os.getpid()})
        if arguments.ready_file:
            # A reader that waits for the file must never find half of it.
            partial = arguments.ready_file.with_name(f"{arguments.ready_file.name}.partial")
            partial.write_text(f"{line}\n", encoding="utf-8")
            partial.replace(arguments.ready_file)
        print(line, flush=True)
        ended.wait()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):  # noqa: PLR2004  # the highest port
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)


def _new_file(text: str) -> Path:
    if not Path(text).parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {Path(text).parent}")
    return Path(text)


def _library(text: str) -> Library:
    if text == "demo":
        return demo.LIBRARY
    try:
        return msgspec.json.decode(Path(text).read_bytes(), type=Library)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


if __name__ == "__main__":
    main()
