"""A process that copies files and times each copy: the command line that ours and the Python peers share."""

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Lap:
    """One transfer, as measured by the process that did it."""

    size: int  # bytes
    wall: float  # seconds
    cpu: float  # seconds, of all threads
    rss: int  # bytes: the process's peak so far


def parser(purpose: str) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=purpose)
    for name in ("url", "endpoint", "bucket", "key"):
        arguments.add_argument(name)
    arguments.add_argument("--warm-up", metavar="URL", help="what to copy before, in the same way")
    return arguments


def run(options: argparse.Namespace, copy: Callable[[str, str], int]) -> None:
    """Copy files and print a line for each copy.

    `copy` takes a URL and a key, and returns how many bytes it copied.
    """
    warm_up = [(options.warm_up, f"{options.key}-warm-up")] if options.warm_up else []
    for url, key in (*warm_up, (options.url, options.key)):
        wall, cpu = time.monotonic(), time.process_time()
        size = copy(url, key)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"size": size, "wall": wall, "cpu": cpu, "rss": rss}), flush=True)


def last(output: str) -> Lap:
    """Return the last transfer in a process's output."""
    fields: Mapping[str, float] = json.loads(output.splitlines()[-1])
    return Lap(size=int(fields["size"]), wall=fields["wall"], cpu=fields["cpu"], rss=int(fields["rss"]))
