"""The figures as tables for a terminal."""

from collections.abc import Iterator, Sequence

from tests.load import bars, functions
from tests.load.bars import Results
from tests.load.embedded import Embedded
from tests.load.functions import Measured
from tests.load.nights import Night, Run
from tests.load.worst import Largest

Row = Sequence[str]

_MB, _KB = 1 << 20, 1 << 10


def text(results: Results) -> str:
    return "\n\n".join(f"{title}\n\n{_aligned(rows)}" for title, rows in _tables(results))


def _tables(results: Results) -> Iterator[tuple[str, list[Row]]]:
    if results.at_once:
        yield "The whole library by one sync (simulated), for each medium", _at_once(results.at_once)
    if results.nightly:
        yield "As much a night as is taken on by default (simulated)", _nightly(results.nightly)
    if results.functions:
        yield "Functions by themselves, each in a process of its own", _functions(results.functions)
    if results.worst:
        yield "The largest, when all media fail and all texts are as long as can be", _worst(results.worst)
    if results.embedded:
        yield f"{results.embedded.media:,} real media on the emulated AWS", _embedded(results.embedded)
    missed = [goal for goal in bars.goals(results) if not goal.met]
    met = sum(goal.met for goal in bars.goals(results))
    rows = [(goal.name, goal.wanted, goal.measured, "MISSED") for goal in missed]
    yield f"Bars: {met} met, {len(missed)} missed", [("bar", "wanted", "measured", ""), *rows] if rows else []


def _at_once(runs: Sequence[Run]) -> list[Row]:
    nights = [run.nights[0] for run in runs]
    rows: list[Row] = [("", *(f"{run.media:,}" for run in runs), "growth")]

    def row(name: str, values: Sequence[float], digits: int = 3) -> None:
        rows.append((name, *(f"{value:.{digits}f}" for value in values), f"{values[-1] / values[0]:.2f}"))

    row("processor time, ms: our reactions and the simulator", [night.cpu_per_medium * 1000 for night in nights], 2)
    for what in (*bars.STEADY, "items read", "read units"):
        row(what, [night.per_medium(what) for night in nights])
    row("kept of the listing, bytes", [night.per_medium("bytes put into listings/") for night in nights], 0)
    row("kept of the report, bytes", [night.per_medium("bytes put into reports/") for night in nights], 0)
    rows += [
        ("reviews while it was open", *(str(night.looks) for night in nights), ""),
        ("items read for each of those, beside the first", "", *_for_looks(nights), ""),
        ("virtual hours", *(f"{night.seconds / 3600:.2f}" for night in nights), ""),
        *_largest(runs),
    ]
    return rows


def _for_looks(nights: Sequence[Night]) -> list[str]:
    return [f"{bars.read_for_looks(nights[0], night):.2f}" for night in nights[1:]]


def _largest(runs: Sequence[Run]) -> list[Row]:
    kinds = ("item", "event", "SQS body", "object in listings/", "object in reports/")
    rows: list[Row] = [
        (f"largest {what}, KB", *(f"{run.largest[what] / _KB:,.1f}" for run in runs), "") for what in kinds
    ]
    rows.append(("memory of this process and the simulated world, MB", *(_mb(run.peak_memory) for run in runs), ""))
    return rows


def _nightly(runs: Sequence[Run]) -> list[Row]:
    nights = [night for run in runs for night in run.nights]
    names = [f"{run.media:,}, night {n}" for run in runs for n, _ in enumerate(run.nights, 1)]
    whole = ("invocations", "events", "PutEvents requests", "SQS messages", "GoPro requests", "DynamoDB requests")
    more = ("items read", "items written", "S3 requests")
    return [
        ("", *names),
        *((name, *(f"{getattr(night, name):,}" for night in nights)) for name in ("stored", "downloaded", "deferred")),
        ("pauses of the listing", *(str(night.reading.counts.get("LibraryListingPaused", 0)) for night in nights)),
        *((what, *(f"{night.reading.counts[what]:,}" for night in nights)) for what in (*whole, *more)),
        ("kept of the listing, MB", *(_mb(night.reading.counts["bytes put into listings/"]) for night in nights)),
        ("processor time, s", *(f"{night.reading.cpu:.1f}" for night in nights)),
    ]


def _functions(all_measured: Sequence[Measured]) -> list[Row]:
    return [
        ("", "media", "idle, MB", "peak, MB", "it has, MB", "processor time, s", "on Lambda's share, s", "invocations"),
        *(
            (
                one.case,
                f"{one.media:,}",
                _mb(one.idle),
                _mb(one.peak),
                _mb(functions.memory_of(one.case)),
                f"{one.seconds:.1f}",
                f"{bars.lambda_seconds(one):.1f}",
                str(one.invocations),
            )
            for one in all_measured
        ),
    ]


def _worst(all_largest: Sequence[Largest]) -> list[Row]:
    headings = [f"letters of {len(one.letter.encode())} bytes, KB" for one in all_largest]
    kinds = {"item": "item", "event": "event", "notification": "notification", "MediaDownloaded": "event"}
    return [
        ("", *headings, "limit, KB"),
        *(
            (what, *(f"{one.sizes[what] / _KB:,.1f}" for one in all_largest), f"{bars.LIMITS[limit] / _KB:,.0f}")
            for what, limit in kinds.items()
        ),
    ]


def _embedded(embedded: Embedded) -> list[Row]:
    return [
        ("from the request to the notification, s", f"{embedded.seconds:.1f}"),
        ("a medium, ms", f"{embedded.seconds / embedded.media * 1000:.0f}"),
        *((f"events: {name}", f"{count:,}") for name, count in sorted(embedded.events.items())),
        ("largest event, KB", f"{embedded.event / _KB:.1f}"),
        ("largest item, KB", f"{embedded.item / _KB:.1f}"),
        *(
            (f"memory of the {name}, before and after, MB", f"{_mb(before)} {_mb(embedded.after[name])}")
            for name, before in embedded.before.items()
        ),
        *((f"most memory of a {name}, MB", _mb(peak)) for name, peak in embedded.peaks.items()),
    ]


def _mb(count: int) -> str:
    return f"{count / _MB:,.1f}" if count < 10 * _MB else f"{count / _MB:,.0f}"


def _aligned(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
