"""Prints the engine's plan for a file as JSON, so that other tools can use the same part size and workers.

Runs as a process of its own to keep the bench itself small: the kernel counts a parent's memory towards the processes
that it starts.
"""

import argparse
import json

from services.downloader.transfer import Limits, Version


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("size", "part_memory", "connections"):
        arguments.add_argument(name, type=int)
    options = arguments.parse_args()
    limits = Limits(connections=options.connections, memory_bytes=options.part_memory)
    part_size = limits.part_size(Version(size=options.size, etag=""))
    in_hand = min(limits.parts_in_hand(part_size), -(-options.size // part_size))
    print(json.dumps({"part_size": part_size, "workers": min(options.connections, in_hand)}))


if __name__ == "__main__":
    main()
