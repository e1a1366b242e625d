"""The results as text: tables for a terminal, the document, and the data of its plot. Pure functions."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from tools.bench.sync.results import LEAST_SHARE, LanesRun, PeerRun, Results, TimeLapseRun, goals, share

Row = Sequence[str]

OURS = "Cloud Sync"
PLOT = "performance-sync.svg"

_AGAIN = """\
```sh
make bench-sync                                  # everything; best on an idle machine
.venv/bin/python -m tools.bench.sync --only lanes      # some parts of lanes,peer,time-lapse,growth; writes no document
.venv/bin/python -m tools.bench.sync --quick           # small libraries: whether everything works
.venv/bin/python -m tools.bench.sync --report          # this document from tools/bench/results-sync.json
```"""


def tables(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """Yield each table's title and its rows, the headings first."""
    if results.lanes or results.peer:
        yield "Through the lanes", _lanes_table(results)
    if results.lanes:
        yield "Where the time of the sync goes", _time_table(results.lanes)
    if results.time_lapse:
        yield "A time-lapse", _time_lapse_table(results.time_lapse)
    if results.growth:
        yield "Growth", _growth_table(results)
    if judged := goals(results):
        rows = [(goal.name, goal.wanted, goal.measured, "met" if goal.met else "MISSED") for goal in judged]
        yield "Goals", [("goal", "wanted", "measured", ""), *rows]


def text(results: Results) -> str:
    """Return all tables for a terminal, and the parts that were not measured."""
    blocks = [f"{title}\n\n{_aligned(rows)}" for title, rows in tables(results)]
    blocks += [f"Not measured: {name}. {why}" for name, why in results.skipped.items()]
    return "\n\n".join(blocks)


def document(results: Results) -> str:
    """Return the Markdown of a whole run."""
    found = dict(tables(results))
    words = (
        _opening_words(found),
        _lanes_words(results, found),
        _peer_words(results),
        _time_lapse_words(results, found),
        _growth_words(results, found),
        _setting_words(results),
    )
    return "\n\n".join(map(_wrapped, itertools.chain.from_iterable(words))) + "\n"


def plot(results: Results) -> dict[str, Any]:
    """Return the data for `plot.py`: MB/s of the tools, and the milliseconds per medium by size of the library."""
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
        "from the first medium discovered to the last one stored",
        "from the first byte requested to the last byte sent",
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
        "until the first medium is discovered: two functions start, sign-in, listing": moments.discovered,
        "until the first byte is requested: the downloaders start": moments.first_byte - moments.discovered,
        "the bytes, at the lanes' own speed": ideal,
        "between the bytes: parts sent to S3, objects completed, the next medium begun": (
            moments.last_byte - moments.first_byte - ideal
        ),
        "after the last byte, until the last medium is stored": moments.stored - moments.last_byte,
        "until the sync is closed and announced": moments.notified - moments.stored,
    }
    rows = [(name, f"{seconds:.1f} s") for name, seconds in phases.items()]
    return [("phase", "time"), *rows, ("total", f"{moments.notified:.1f} s")]


def _time_lapse_table(run: TimeLapseRun) -> list[Row]:
    total = run.files * run.file_bytes
    ideal = total / run.bytes_per_second / run.connections_at_once
    return [
        (
            "photos, bytes",
            "from discovered to stored",
            "connections at once",
            "the bytes alone over these",
        ),
        (f"{run.files}, {_size(total)}", _pace(total, run.seconds), str(run.connections_at_once), f"{ideal:.1f} s"),
    ]


def _growth_table(results: Results) -> list[Row]:
    runs = results.growth.runs if results.growth else ()
    rows = [
        (f"{run.media:,}", str(len(run.seconds)), f"{median(run.seconds):.2f} s", f"{run.per_medium * 1000:.0f} ms")
        for run in runs
    ]
    return [("media", "syncs", "whole sync", "per medium"), *rows]


# --- the document ---------------------------------------------------------------------------------------------------


def _opening_words(found: dict[str, list[Row]]) -> Iterator[str]:
    yield "# How fast a whole sync is"
    yield (
        "`make bench-sync` wrote this, and every figure is from that one run. Another bench, `make bench`, measures "
        "what a single transfer costs."
    )
    yield f"![Speed of the tools, and time per medium]({PLOT})"
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
        f"{_size(workload.bytes)} in all, is copied by {lane.count} downloads at once. Each has one connection, which "
        f"the CDN limits to {lane.bytes_per_second * 8 / 1e6:.0f} Mbit/s. The ideal is therefore "
        f"{_megabytes(lane.together):.2f} MB/s. (By default a download has several connections. Here it has one, so "
        "that the speed of a lane is known.)"
    )
    yield (
        "*Whole* is the time from `SyncRequested` to the arrival of the notification, on a stage where no function had "
        "run before. The first videos differ in size, so that the lanes do not work in step. The last ones make up for "
        "that: every lane carries the same number of bytes, and none waits for another at the end."
    )
    yield _markdown(found["Through the lanes"])
    yield "Where the time of the sync goes, over all lanes:"
    yield _markdown(found["Where the time of the sync goes"])
    yield f"Processor time of that sync: {_used(run.cpu_seconds)}."


def _peer_words(results: Results) -> Iterator[str]:
    yield "## Beside another tool"
    if run := results.peer:
        yield (
            f"{run.name} copied the same library from the same fake GoPro Cloud, with {run.lane.count} downloads at "
            "once (more than its default) and one connection each. Its column above covers its process from start to "
            "end. "
            "The jobs differ: it writes to a local disk, while Cloud Sync writes to S3, starts its functions and sends "
            f"a notification. It used {run.cpu_seconds:.1f} s of processor time. It has no option for another address "
            "than GoPro's, so the bench replaces that constant as it starts, and nothing else. Its files were compared "
            "with the originals by SHA-256, as ours were."
        )
    for name, why in results.skipped.items():
        yield f"Not measured: {name}. {why}"


def _time_lapse_words(results: Results, found: dict[str, list[Row]]) -> Iterator[str]:
    run = results.time_lapse
    if run is None:
        return
    yield "## A time-lapse"
    yield (
        f"One medium of {run.files} photos of {_size(run.file_bytes)}, with the default number of connections. The CDN "
        f"limits each to {run.bytes_per_second * 8 / 1e6:.0f} Mbit/s, and takes {run.latency_seconds * 1000:.0f} ms to "
        "answer a request. Small files of a medium are copied side by side. The time includes the function's start."
    )
    yield _markdown(found["A time-lapse"])
    yield f"Processor time of that sync: {_used(run.cpu_seconds)}."


def _growth_words(results: Results, found: dict[str, list[Row]]) -> Iterator[str]:
    growth = results.growth
    if growth is None:
        return
    before, last = growth.runs[-2:]
    yield "## Growth"
    yield (
        f"Libraries of small media, {_size(growth.medium_bytes)} each, from a CDN without a limit; every function had "
        "run before. The time of several syncs is their median. A short sync is mostly its beginning and its end. From "
        f"{before.media:,} media to {last.media:,}, the time per medium changes by a factor of {growth.ratio:.2f}."
    )
    yield _markdown(found["Growth"])


def _setting_words(results: Results) -> Iterator[str]:
    machine = results.machine
    yield "## Measured with"
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']} of memory, {machine['kernel']}; "
        f"{', '.join(f'{name} {one}' for name, one in results.versions.items())}; load before "
        f"it {results.load:.1f}; on {results.measured_at[:10]}."
    )
    yield (
        "Everything ran on this one machine, over loopback and without TLS: the functions, the fake GoPro Cloud, and "
        "the emulated AWS, which keeps S3 in memory and handles one request at a time."
    )
    settings = ", ".join(f"`{name}={value}`" for name, value in results.settings.items())
    yield f"Settings of the bench: {settings}. All others are the defaults."
    yield "## Run it again"
    yield _AGAIN


# --- formatting -----------------------------------------------------------------------------------------------------


def _pace(count: int, seconds: float) -> str:
    return f"{seconds:.1f} s, {_megabytes(count / seconds):.2f} MB/s"


def _megabytes(count: float) -> float:
    return count / 1e6


def _used(cpu_seconds: Mapping[str, float]) -> str:
    names = {"ministack": "the emulated AWS", "gopro-cloud": "the fake GoPro Cloud", "functions": "all functions"}
    return ", ".join(f"{names.get(name, name)} {seconds:.1f} s" for name, seconds in cpu_seconds.items())


def _size(count: float) -> str:
    """Format a number of bytes for people."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count:.0f} bytes"


def _wrapped(block: str) -> str:
    """Wrap a paragraph; leave a table or a heading as it is."""
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
