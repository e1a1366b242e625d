"""Runs all measurements, each in a process of its own."""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.load import embedded, functions, nights, worst
from tools.load.bars import Results
from tools.simulator.wiring import wires

PARTS = ("one sync", "nights", "functions", "worst", "embedded")

_REAL = 1000  # media for the emulated AWS
_LETTERS = ("x", "\N{CJK UNIFIED IDEOGRAPH-20BB7}")


def measure(sizes: Sequence[int], parts: Sequence[str], jobs: int) -> Results:
    """Run these of `PARTS`. Raises `OperatorError` and `Unfinished` where the emulated AWS does."""
    wires()  # synthesize once, for all processes
    context = multiprocessing.get_context("spawn")  # so that each process's memory is its own
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:

        def begin(part: str, call: Callable[..., Any], *rounds: dict[str, Any]) -> list[Future[Any]]:
            return [pool.submit(_timed, part, call, one) for one in rounds] if part in parts else []

        # The longest first, so that the others run beside it.
        at_once = begin("one sync", nights.run, *({"media": n, "at_once": n} for n in reversed(sizes)))
        nightly = begin("nights", nights.run, *({"media": n, "nights": _nights(n)} for n in reversed(sizes)))
        cases = [{"case": case, "media": media} for case in functions.CASES for media in sizes]
        measured = begin("functions", functions.measure, *cases)
        largest = begin("worst", worst.measure, *({"letter": letter} for letter in _LETTERS))
        results = Results(
            at_once=[one.result() for one in reversed(at_once)],
            nightly=[one.result() for one in reversed(nightly)],
            functions=[one.result() for one in measured],
            worst=[one.result() for one in largest],
        )
    if "embedded" in parts:
        with tempfile.TemporaryDirectory() as folder:
            real = _timed("embedded", embedded.run, {"folder": Path(folder) / "stage", "media": _REAL})
        results = replace(results, embedded=real)
    return results


def _nights(media: int) -> int:
    """Return 2 where the first night defers enough media for a second, or else 1."""
    return 2 if media >= 2 * int(wires().services["lister"].environment["MAX_MEDIA_PER_SYNC"]) else 1


def _timed(part: str, call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    began = time.monotonic()
    done = call(**arguments)
    about = ", ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in arguments.values())
    print(f"load: {part} ({about}): {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return done
