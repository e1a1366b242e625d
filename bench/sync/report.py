"""The results in words: tables for a terminal, the document, and what its plot shows. Nothing but computation."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from bench.sync.results import LEAST_SHARE, LanesRun, PeerRun, Results, goals, share

Row = Sequence[str]

OURS = "Cloud Sync"
PLOT = "performance-sync.svg"

_AGAIN = """\
```sh
make bench-sync                                  # all of it; best with nothing else to do for the machine
.venv/bin/python -m bench.sync --only lanes      # one part, or several: lanes,peer,growth; writes no document
.venv/bin/python -m bench.sync --quick           # small libraries: whether everything works
.venv/bin/python -m bench.sync --report          # this document from the last results, bench/results-sync.json
```"""


def tables(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """Each table's title and its rows, the first of which are the headings."""
    if results.lanes or results.peer:
        yield "Through the lanes", _lanes_table(results)
    if results.lanes:
        yield "Where the time of the sync goes", _time_table(results.lanes)
    if results.growth:
        yield "Growth", _growth_table(results)
    if judged := goals(results):
        rows = [(goal.name, goal.wanted, goal.measured, "met" if goal.met else "MISSED") for goal in judged]
        yield "Goals", [("goal", "wanted", "measured", ""), *rows]


def text(results: Results) -> str:
    """All tables for a terminal, and what was left out."""
    blocks = [f"{title}\n\n{_aligned(rows)}" for title, rows in tables(results)]
    blocks += [f"Not measured: {name}. {why}" for name, why in results.skipped.items()]
    return "\n\n".join(blocks)


def document(results: Results) -> str:
    """The Markdown of a whole run."""
    found = dict(tables(results))
    words = (
        _opening_words(found),
        _lanes_words(results, found),
        _peer_words(results),
        _growth_words(results, found),
        _setting_words(results),
    )
    return "\n\n".join(map(_wrapped, itertools.chain.from_iterable(words))) + "\n"


def plot(results: Results) -> dict[str, Any]:
    """What `plot.py` draws: MB/s through the lanes, and by length of the library the milliseconds for each medium."""
    run, growth = results.lanes, results.growth
    if run is None or growth is None:
        raise ValueError("only a whole run has a plot")
    bars = [(OURS, _megabytes(run.workload.bytes / run.moments.notified))]
    if peer := results.peer:
        bars.append((peer.name, _megabytes(peer.workload.bytes / peer.seconds)))
    return {
        "bars": bars,
        "ideal": _megabytes(run.lane.together),
        "least": _megabytes(run.lane.together * LEAST_SHARE),
        "growth": [(one.media, one.per_medium * 1000) for one in growth.runs],
    }


# --- the tables -----------------------------------------------------------------------------------------------------


def _lanes_table(results: Results) -> list[Row]:
    columns = [column for column in (_our_column(results.lanes), _peer_column(results.peer)) if column]
    headings = (
        "",
        "media, bytes",
        "whole, from the start to the end",
        "of the ideal",
        "from the first discovery to the last one stored",
        "from the first byte asked for to the last byte sent",
        "connections at once",
        "copies that are the originals",
    )
    return [tuple(row) for row in zip(headings, *columns, strict=True)]


def _our_column(run: LanesRun | None) -> Row | None:
    if run is None:
        return None
    moments, total = run.moments, run.workload.bytes
    return (
        OURS,
        f"{run.workload.media}, {_size(total)}",
        _pace(total, moments.notified),
        f"{run.share:.1%}",
        _pace(total, moments.stored - moments.discovered),
        _pace(total, moments.last_byte - moments.first_byte),
        str(run.connections_at_once),
        f"all but {len(run.wrong)}" if run.wrong else "all",
    )


def _peer_column(run: PeerRun | None) -> Row | None:
    if run is None:
        return None
    total = run.workload.bytes
    return (
        f"{run.name} {run.version}",
        f"{run.workload.media}, {_size(total)}",
        _pace(total, run.seconds),
        f"{share(run.workload, run.lane, run.seconds):.1%}",
        "not seen from outside",
        _pace(total, run.last_byte - run.first_byte),
        str(run.connections_at_once),
        f"all but {len(run.wrong)}" if run.wrong else "all",
    )


def _time_table(run: LanesRun) -> list[Row]:
    moments = run.moments
    ideal = run.workload.bytes / run.lane.together
    phases = {
        "until the first medium is discovered: two functions start, a session, the listing": moments.discovered,
        "until the first byte is asked for: the downloaders start": moments.first_byte - moments.discovered,
        "the bytes, at the lanes' own speed": ideal,
        "between the bytes: parts sent to S3, objects put together, the next medium taken": (
            moments.last_byte - moments.first_byte - ideal
        ),
        "after the last byte, until the last medium is stored": moments.stored - moments.last_byte,
        "until the sync is closed and told": moments.notified - moments.stored,
    }
    rows = [(name, f"{seconds:.1f} s") for name, seconds in phases.items()]
    return [("what", "time"), *rows, ("together", f"{moments.notified:.1f} s")]


def _growth_table(results: Results) -> list[Row]:
    runs = results.growth.runs if results.growth else ()
    rows = [
        (f"{run.media:,}", str(len(run.seconds)), f"{median(run.seconds):.2f} s", f"{run.per_medium * 1000:.0f} ms")
        for run in runs
    ]
    return [("media", "syncs", "whole sync", "for each medium"), *rows]


# --- the document ---------------------------------------------------------------------------------------------------


def _opening_words(found: dict[str, list[Row]]) -> Iterator[str]:
    yield "# How fast a whole sync is"
    yield (
        "`make bench-sync` has written this, and every figure in it is from that one run. What a single transfer costs "
        "is measured by another bench, `make bench`."
    )
    yield f"![What the lanes carried, and the time a medium takes]({PLOT})"
    yield "## Goals"
    yield _markdown(found["Goals"])


def _lanes_words(results: Results, found: dict[str, list[Row]]) -> Iterator[str]:
    run = results.lanes
    if run is None:
        return
    lane, workload = run.lane, run.workload
    yield f"## {lane.count} lanes"
    yield (
        f"A library of {workload.media} videos of {_size(workload.smallest)} to {_size(workload.largest)}, "
        f"{_size(workload.bytes)} together, is copied by {lane.count} downloads at once. Each has one connection, to "
        f"which the CDN gives {lane.bytes_per_second * 8 / 1e6:.0f} Mbit/s: {_megabytes(lane.together):.2f} MB/s is "
        "the most that can be had. (With the default settings a download has several connections. Here it has one, so "
        "that a lane has a speed to be compared with.)"
    )
    yield (
        "*Whole* is from the request for the sync (`SyncRequested`) to the arrival of the notification about its end, "
        "on a stage on which no function had run before. The videos of the first round differ in size, so that the "
        "lanes don't go in step; those of the last make up for it, so that every lane carries the same and none waits "
        "for another at the end."
    )
    yield _markdown(found["Through the lanes"])
    yield "Where the time of the sync goes, over all lanes:"
    yield _markdown(found["Where the time of the sync goes"])
    names = {"ministack": "the emulated AWS", "gopro-cloud": "the GoPro Cloud", "functions": "all functions together"}
    used = ", ".join(f"{names.get(name, name)} {seconds:.1f} s" for name, seconds in run.cpu_seconds.items())
    yield f"Processor time in that sync: {used}."


def _peer_words(results: Results) -> Iterator[str]:
    yield "## Beside another tool"
    if run := results.peer:
        yield (
            f"{run.name} copied the same library from the same GoPro Cloud, with {run.lane.count} downloads at once, "
            "which is more than by default, and one connection each; its column above is from the start of its process "
            "to its end. It is not quite the same job: it writes to a local disk, where Cloud Sync writes to S3, "
            f"starts its functions and tells about it. It used {run.cpu_seconds:.1f} s of processor time. It has no "
            "option for another address than GoPro's, so the constant that holds the address is replaced as it starts, "
            "and nothing else. Its files were compared with the originals by SHA-256, as ours were."
        )
    for name, why in results.skipped.items():
        yield f"Not measured: {name}. {why}"


def _growth_words(results: Results, found: dict[str, list[Row]]) -> Iterator[str]:
    growth = results.growth
    if growth is None:
        return
    before, last = growth.runs[-2:]
    yield "## Growth"
    yield (
        f"Libraries of small media, {_size(growth.medium_bytes)} each, from a CDN without a limit; every function has "
        "run before. Where several syncs were made, the time is their median. A short sync consists mostly of its "
        f"beginning and its end; from {before.media:,} media to {last.media:,} the time a medium takes changes by a "
        f"factor of {growth.ratio:.2f}."
    )
    yield _markdown(found["Growth"])


def _setting_words(results: Results) -> Iterator[str]:
    machine = results.machine
    yield "## What this was measured with"
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']} of memory, {machine['kernel']}; "
        f"{', '.join(f'{name} {one}' for name, one in results.versions.items())}; load before "
        f"it {results.load:.1f}; on {results.measured_at[:10]}."
    )
    yield (
        "Everything ran on this one machine, over loopback and without TLS: the functions, the GoPro Cloud, and the "
        "emulated AWS, which keeps S3 in memory and does one thing after the other."
    )
    settings = ", ".join(f"`{name}={value}`" for name, value in results.settings.items())
    yield f"Set for the bench: {settings}. All other settings are the defaults."
    yield "## Again"
    yield _AGAIN


# --- how things are written -----------------------------------------------------------------------------------------


def _pace(count: int, seconds: float) -> str:
    return f"{seconds:.1f} s, {_megabytes(count / seconds):.2f} MB/s"


def _megabytes(count: float) -> float:
    return count / 1e6


def _size(count: float) -> str:
    """Bytes for people."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count:.0f} bytes"


def _wrapped(block: str) -> str:
    """A paragraph in lines; a table or a heading as it is."""
    if block.startswith(("|", "#", "!", "```")):
        return block
    return textwrap.fill(block, 120, break_long_words=False, break_on_hyphens=False)


def _markdown(rows: Sequence[Row]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|" + "---|" * len(rows[0])
    return "\n".join([head, rule, *body])


def _aligned(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)
