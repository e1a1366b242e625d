"""The live picture of a sync in a terminal: a bar for the sync, a line for each lane, and above them what happened."""

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ops.progress import View, called, folded, funnel, lane_parts, lane_waits_for, size, waits_for
from ops.rates import SILENT_SECONDS, Rates
from services.shared.library.records import MediumRecord
from services.summarizer.page.wording import lasting

_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"
_LEAST_LANES = 3  # are shown however small the terminal is
_ROWS_AROUND = 5  # of the terminal, that the lanes leave to the rest
_SIZE, _BAR, _PERCENT, _SPEED, _LEAST_NAME = 8, 10, 4, 10, 12  # columns of a lane's cells
_NARROW = 72  # columns; a terminal with fewer gets no bars in its lanes
_STYLES = {"  failed": "red", "  stored": "green", "  waiting": "yellow", "  skipped": "yellow"}


class LiveScreen:
    """Shows a sync in a terminal whose lower lines are redrawn."""

    redraws = True

    def __init__(
        self,
        stream: TextIO,
        *,
        width: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`width`: the most columns to use; by default those of the terminal."""
        self._most = width
        self._clock, self._now = clock, now
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, width=self._width())
        self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._rates = Rates()
        self._live.start()

    def _width(self) -> int:
        columns = shutil.get_terminal_size().columns
        return min(columns, self._most or columns)

    def line(self, text: str) -> None:
        """Print a line above what is redrawn."""
        style = next((style for start, style in _STYLES.items() if text.startswith(start)), "")
        for line in folded(text, self._console.width):
            self._console.print(Text(line, style=style), soft_wrap=True)

    def show(self, view: View, quiet: str) -> None:
        """Redraw how the sync stands. `quiet`: for how long nothing was new, in words; or empty."""
        now = self._clock()
        self._console.width = self._width()  # somebody may have changed the window
        self._rates.note(view.arrived, view.moments, now=now)
        lanes = max(_LEAST_LANES, shutil.get_terminal_size().lines - _ROWS_AROUND)
        self._live.update(
            picture(
                view, self._rates, now=now, moment=self._now(), width=self._console.width, lanes=lanes, quiet=quiet
            ),
            refresh=True,
        )

    def end(self) -> None:
        """Remove what is redrawn."""
        self._live.stop()


def picture(
    view: View, rates: Rates, *, now: float, moment: datetime, width: int, lanes: int = 20, quiet: str = ""
) -> RenderableType:
    """Return how a sync stands, in at most `width` columns. `now`: of the rates' clock; `moment`: UTC."""
    return Group(
        *_head(view, rates, now=now, moment=moment, width=width, quiet=quiet), _lanes(view, rates, now, width, lanes)
    )


def _head(
    view: View, rates: Rates, *, now: float, moment: datetime, width: int, quiet: str
) -> Iterator[RenderableType]:
    arrived, whole = sum(view.arrived.values()), sum(view.sizes.values())
    rate, is_known = rates.total.per_second(now), 0 not in view.sizes.values()
    if whole:
        moving = sum(view.arrived[media_id] for media_id in view.working)
        percent = min(100 if is_known else 99, 100 * arrived // whole)
        text = f" {percent:>3} %  {size(arrived)} of {'' if is_known else 'at least '}{size(whole)}"
        yield bar_of([(arrived - moving, "green"), (moving, "cyan")], whole, width - cell_len(text)) + Text(text)
    if counts := funnel(view):
        yield Text(counts, no_wrap=True, overflow="ellipsis")
    parts = [waits_for(view)] if waits_for(view) else []
    parts += [f"{size(rate)}/s"] if whole and rate is not None else []
    if requested_at := (view.sync or {}).get("requested_at"):
        parts.append(f"{lasting((moment - datetime.fromisoformat(str(requested_at))).total_seconds())} elapsed")
    if rate and is_known and whole > arrived:
        parts.append(f"about {lasting((whole - arrived) / rate)} left")
    yield Text(", ".join(parts) + quiet, style="bold", no_wrap=True, overflow="ellipsis")


def _lanes(view: View, rates: Rates, now: float, width: int, most: int) -> RenderableType:
    busy = sorted(view.working.items(), key=lambda one: (one[1].tried_at or "", one[0]))
    rows = [_lane(view, media_id, record, rates, now) for media_id, record in busy]
    rows += [[_called(view, media_id), "", "", "", "", "another sync has it"] for media_id in sorted(view.elsewhere)]
    shown, hidden = rows[:most], len(rows[most:])
    has_bars = width >= _NARROW
    ending = max((cell_len(str(row[-1])) for row in shown), default=0)
    around = _SIZE + _PERCENT + _SPEED + (_BAR + 5 if has_bars else 4)  # a space between any two columns
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(_LEAST_NAME, width - around - ending))
    table.add_column(no_wrap=True, justify="right", min_width=_SIZE)
    if has_bars:
        table.add_column(no_wrap=True, min_width=_BAR)
    table.add_column(no_wrap=True, justify="right", min_width=_PERCENT)
    table.add_column(no_wrap=True, justify="right", min_width=_SPEED)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for row in shown:
        cells = row if has_bars else [*row[:2], *row[3:]]
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return Group(table, Text(f"and {hidden} more")) if hidden else table


def _lane(view: View, media_id: str, record: MediumRecord, rates: Rates, now: float) -> list[str | Text]:
    """Return the cells of a lane's line: name, size, bar, percentage, rate, and its part or what it waits for."""
    total, arrived, waits = view.sizes.get(media_id, 0), view.arrived.get(media_id, 0), lane_waits_for(record)
    rate = rates.of(media_id)
    if not waits and rate.silence(now) >= SILENT_SECONDS:
        waits = f"no bytes for {rate.silence(now):.0f} s"
    speed = rate.per_second(now)
    return [
        _called(view, media_id),
        size(total) if total else "",
        bar_of([(arrived, "cyan")], total, _BAR),
        f"{min(99, 100 * arrived // total)} %" if total else "",
        f"{size(speed)}/s" if speed is not None and not waits else "",
        Text(waits, style="yellow") if waits else lane_parts(record),
    ]


def _called(view: View, media_id: str) -> str:
    record = view.working.get(media_id) or view.elsewhere.get(media_id)
    return called(str(view.media.get(media_id, {}).get("filename") or (record.filename if record else "") or media_id))


def bar_of(filled: list[tuple[int, str]], whole: int, width: int) -> Text:
    """Return a bar of this many columns, filled by these counts in their colours."""
    bar, done, drawn = Text(), 0, 0
    for count, colour in filled:
        done += count
        eighths = min(width * 8, width * 8 * done // whole) if whole else 0
        full, rest = divmod(eighths - drawn * 8, 8)
        is_last = (count, colour) == filled[-1]
        bar.append(_FULL * full + (_PARTS[rest] if rest and is_last else ""), style=colour)
        drawn += full + bool(rest and is_last)
    bar.append("░" * (width - drawn), style="bright_black")
    return bar
