"""`python -m tests.gopro_cloud`: run the fake GoPro Cloud until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from tests.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud, Library, demo


def main() -> int:
    """Print one line of JSON with the addresses once it listens; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.gopro_cloud", description="A fake GoPro Cloud.")
    parser.add_argument("--port", type=int, default=0, help="port of API and CDN (default: a free one)")
    parser.add_argument("--library", default="demo", metavar="demo|FILE.json", help="what it holds (default: demo)")
    parser.add_argument("--ready-file", type=Path, help="also write the line of JSON to this file")
    parser.add_argument("--print-credentials", action="store_true", help="print the account's credentials and end")
    arguments = parser.parse_args()
    if arguments.print_credentials:
        print(json.dumps(DEMO_CREDENTIALS))
        return 0
    try:
        library = demo.LIBRARY if arguments.library == "demo" else Library.from_file(arguments.library)
        cloud = FakeGoProCloud(library, port=arguments.port)
    except (OSError, ValueError) as error:
        print(f"the fake GoPro Cloud can't start: {error}", file=sys.stderr)
        return 1
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    with cloud:
        line = json.dumps({"url": cloud.url, "control_url": cloud.control_url, "pid": os.getpid()})
        if arguments.ready_file:
            # Whoever waits for the file must never read half of it.
            partial = arguments.ready_file.with_name(arguments.ready_file.name + ".partial")
            partial.write_text(line + "\n", encoding="utf-8")
            partial.replace(arguments.ready_file)
        print(line, flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
