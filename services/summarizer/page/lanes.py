"""The work of a sync over time: which slices ran side by side, and how many bytes came when."""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo

from services.shared.events import Slice
from services.summarizer.page.wording import clock, lasting, rate
from services.summarizer.records import ClosedSync, Medium
from services.summarizer.texts import name, size

MOST_LANES = 60
NAMED_BARS = 150  # up to so many bars say what they are; more would make the page large
MOST_BARS = 1500  # bars beside each other are drawn as one where there are more
ROW = 18  # pixels, of a lane
BAR = 12
_LEAST_WIDTH = 0.15  # percent: what happened can be seen
_SEVERITY = ("new-fill", "warn-fill", "bad-fill")  # the fills of bars
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)  # seconds
_TICKS = 5
BINS = 60
TABLE_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class Span:
    """A slice of work on a medium."""

    medium: Medium
    slice: Slice
    begin: datetime
    is_last: bool  # of those on this medium

    @property
    def end(self) -> datetime:
        """When the slice ended."""
        return self.begin + timedelta(seconds=max(0.0, self.slice.seconds))


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A stretch of time, drawn from 0 to 100 percent."""

    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.begin).total_seconds()

    def at(self, moment: datetime) -> float:
        """Return a moment's place in percent."""
        share = (moment - self.begin).total_seconds() / self.seconds
        return _percent(100 * min(1.0, max(0.0, share)))

    def stretch(self, begin: datetime, end: datetime) -> tuple[float, float]:
        """Return where the time between two moments begins, and how wide it is, in percent."""
        x = self.at(begin)
        return x, max(_LEAST_WIDTH, _percent(self.at(end) - x))


def _percent(value: float) -> float:
    """Return percents with the digits that can be seen."""
    return round(value, 2)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A time on the axis."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A slice as it is drawn. Marks say that it was tried again, and that it ended with a pause."""

    x: float
    y: int
    width: float
    fill: str
    title: str  # empty where bars have none
    is_retried: bool
    is_paused: bool

    @property
    def end(self) -> float:
        """Where it ends."""
        return _percent(self.x + self.width)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A row of slices that followed one another, as a row of the table."""

    number: int
    media: int
    begin: str
    end: str
    busy: str
    size: str
    rate: str
    pauses: int
    retries: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """When a medium was given up."""

    x: float
    y: int
    title: str


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the sync before the downloads."""

    name: str
    x: float
    width: float
    seconds: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The lanes as a picture and as a table."""

    height: int
    ticks: tuple[Tick, ...]
    phases: tuple[Phase, ...]
    bars: tuple[Bar, ...]
    failures: tuple[Failure, ...]
    lanes: tuple[Lane, ...]
    hidden_lanes: int
    is_named: bool  # whether bars have titles and marks: too many would hide one another
    unknown: int  # media with a result, of which no fact tells when they were worked on
    after_close: int  # media worked on after the close, which the picture leaves out


def spans(media: Iterable[Medium]) -> list[Span]:
    """Return the slices of all media, in the order in which they began."""
    found = []
    for medium in media:
        for place, one in enumerate(medium.slices, start=1):
            begin = datetime.fromisoformat(one.began_at)
            found.append(Span(medium=medium, slice=one, begin=begin, is_last=place == len(medium.slices)))
    return sorted(found, key=lambda span: (span.begin, span.medium.media_id))


def axis(sync: ClosedSync, closed_at: datetime, work: Sequence[Span]) -> Axis:
    """Return the time from the request to the close. It includes work that a clock has before the request."""
    begin = datetime.fromisoformat(sync.requested_at) if sync.requested_at else closed_at
    begin = min([begin, *(span.begin for span in work)])
    return Axis(begin=begin, end=max(closed_at, begin + timedelta(seconds=1)))


def timeline(sync: ClosedSync, media: Sequence[Medium], work: Sequence[Span], shown: Axis, zone: tzinfo) -> Timeline:
    """Return the lanes of a sync. `work`: from `spans`, `shown`: from `axis`."""
    lanes = pack([span for span in work if span.begin < shown.end])
    drawn = lanes[:MOST_LANES]
    is_named = sum(map(len, drawn)) <= NAMED_BARS
    bars = [
        bar
        for place, lane in enumerate(drawn)
        for bar in merged([_bar(span, shown, y=ROW * place, is_named=is_named) for span in lane], _gap(drawn))
    ]
    row = ROW * len(drawn)
    given_up = [medium for medium in media if medium.state == "FAILED" and medium.ended_at and medium.late is None]
    failures = _failures(given_up, shown, y=row)
    return Timeline(
        height=row + (ROW if failures else 0),
        ticks=ticks(shown, zone),
        phases=tuple(_phases(sync, shown)),
        bars=tuple(bars),
        failures=tuple(failures),
        lanes=tuple(_lane(number, lane, zone) for number, lane in enumerate(drawn, start=1)),
        hidden_lanes=len(lanes) - len(drawn),
        is_named=is_named,
        unknown=sum(
            medium.state == "DOWNLOADED" and not medium.already_stored and not medium.slices for medium in media
        ),
        after_close=sum(span.begin >= shown.end and span.is_last for span in work),
    )


def _failures(given_up: Sequence[Medium], shown: Axis, *, y: int) -> list[Failure]:
    """Return the marks of the media that were given up. Where there are many, those beside each other have one."""
    marks = [
        Failure(
            x=shown.at(datetime.fromisoformat(medium.ended_at)),
            y=y,
            title=f"{name(medium.filename, medium.media_id)}: given up",
        )
        for medium in given_up
    ]
    if len(marks) <= NAMED_BARS:
        return marks
    return [Failure(x=float(x), y=y, title="") for x in sorted({round(mark.x) for mark in marks})]


def _gap(lanes: Sequence[Sequence[Span]]) -> float:
    """Return how far apart bars have to begin to be drawn apart, in percent; 0 if all of them can be."""
    return 0.0 if sum(map(len, lanes)) <= MOST_BARS else 100 * len(lanes) / MOST_BARS


def merged(bars: Sequence[Bar], gap: float) -> list[Bar]:
    """Return the bars of a lane, of which those that begin within `gap` percent of each other are one."""
    drawn: list[Bar] = []
    for bar in bars:
        if drawn and bar.x < drawn[-1].x + gap:
            first = drawn[-1]
            fill = max(first.fill, bar.fill, key=_SEVERITY.index)
            drawn[-1] = replace(first, width=_percent(max(first.end, bar.end) - first.x), fill=fill)
        else:
            drawn.append(bar)
    return drawn


def pack(work: Iterable[Span]) -> list[list[Span]]:
    """Return the slices in as few rows as hold them without overlapping. `work`: by their beginning.

    A row is what one worker could have done. Of several free rows, the first takes the slice.
    """
    rows: list[list[Span]] = []
    free: list[int] = []  # rows, the first on top
    busy: list[tuple[datetime, int]] = []  # ends and rows
    for span in work:
        while busy and busy[0][0] <= span.begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            row = heapq.heappop(free)
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(span)
        heapq.heappush(busy, (span.end, row))
    return rows


def ticks(shown: Axis, zone: tzinfo) -> tuple[Tick, ...]:
    """Return a few round times on the axis."""
    step = next((step for step in _STEPS if shown.seconds / step <= _TICKS), _STEPS[-1])
    local = shown.begin.astimezone(zone)
    since_midnight = local - datetime.combine(local, time(), zone)
    offset = -since_midnight.total_seconds() % step
    found: list[Tick] = []
    while offset <= shown.seconds and len(found) <= 2 * _TICKS:
        moment = shown.begin + timedelta(seconds=offset)
        found.append(Tick(x=shown.at(moment), text=clock(moment, zone, seconds=step < _STEPS[6])))
        offset += step
    return tuple(found)


def _phases(sync: ClosedSync, shown: Axis) -> list[Phase]:
    began = [session.authenticated_at for session in sync.sessions if session.authenticated_at]
    if not sync.requested_at:
        return []
    requested = datetime.fromisoformat(sync.requested_at)
    signed_in = datetime.fromisoformat(min(began)) if began else None
    listed = datetime.fromisoformat(sync.listed_at) if sync.listed_at else None
    phases = []
    if signed_in:
        phases.append(_phase("signing in", requested, signed_in, shown))
    if listed and signed_in:
        phases.append(_phase("listing the library", signed_in, listed, shown))
    return phases


def _phase(called: str, begin: datetime, end: datetime, shown: Axis) -> Phase:
    x, width = shown.stretch(begin, end)
    return Phase(name=called, x=x, width=width, seconds=lasting((end - begin).total_seconds()))


def _bar(span: Span, shown: Axis, *, y: int, is_named: bool) -> Bar:
    one = span.slice
    x, width = shown.stretch(span.begin, span.end)
    is_paused = not span.is_last
    title = ""
    if is_named:
        title = f"{name(span.medium.filename, span.medium.media_id)}: {size(one.bytes)} in {lasting(one.seconds)}, "
        title += rate(one.bytes, one.seconds) + (f", after {one.retries} failed tries" if one.retries else "")
    fill = "bad-fill" if span.medium.state == "FAILED" else "warn-fill" if one.retries else "new-fill"
    return Bar(
        x=x,
        y=y,
        width=width,
        fill=fill,
        title=title + (", then paused" if is_named and is_paused else ""),
        is_retried=is_named and one.retries > 0,
        is_paused=is_named and is_paused,
    )


def _lane(number: int, lane: Sequence[Span], zone: tzinfo) -> Lane:
    stored = sum(span.slice.bytes for span in lane)
    busy = sum(span.slice.seconds for span in lane)
    return Lane(
        number=number,
        media=len({span.medium.media_id for span in lane}),
        begin=clock(lane[0].begin, zone, seconds=True),
        end=clock(lane[-1].end, zone, seconds=True),
        busy=lasting(busy),
        size=size(stored),
        rate=rate(stored, busy),
        pauses=sum(not span.is_last for span in lane),
        retries=sum(span.slice.retries for span in lane),
    )


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A row of the throughput's table."""

    begin: str
    size: str
    rate: str


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Bytes over the time of a sync. A slice's bytes are spread evenly over its time: it says no more than their sum.

    `path`: the outline of the area, in a box from 0 to 100 each way, upside down as SVG has it.
    """

    path: str
    most: str
    average: str  # over the time in which any slice ran
    rows: tuple[Interval, ...]


def throughput(work: Sequence[Span], shown: Axis, zone: tzinfo) -> Throughput | None:
    """Return the throughput of a sync; None if no bytes are known to have come in its time.

    `shown`: from `axis`, so that no work is before it.
    """
    width = shown.seconds / BINS
    amounts = [0.0] * BINS
    for span in work:
        begin = (span.begin - shown.begin).total_seconds()
        length = max(span.slice.seconds, 0.001)
        end = begin + length
        for place in range(int(begin / width), min(BINS, math.ceil(end / width))):
            overlap = min(end, (place + 1) * width) - max(begin, place * width)
            amounts[place] += span.slice.bytes * overlap / length
    most = max(amounts)
    if not most:
        return None
    points = ["M0 100"]
    for place, amount in enumerate(amounts):
        x, top = 100 * place / BINS, 100 - 100 * amount / most
        points.append(f"L{x:.4g} {top:.4g}H{x + 100 / BINS:.4g}")
    step = BINS // TABLE_ROWS
    rows = [
        Interval(
            begin=clock(shown.begin + timedelta(seconds=width * place), zone, seconds=True),
            size=size(round(sum(amounts[place : place + step]))),
            rate=rate(sum(amounts[place : place + step]), width * step),
        )
        for place in range(0, BINS, step)
    ]
    return Throughput(
        path="".join(points) + "V100Z",
        most=rate(most, width),
        average=rate(sum(span.slice.bytes for span in work), busy_seconds(work)),
        rows=tuple(rows),
    )


def busy_seconds(work: Iterable[Span]) -> float:
    """Return for how long at least one slice ran. `work`: by its beginning."""
    total, until = 0.0, None
    for span in work:
        begin = max(span.begin, until or span.begin)
        until = max(span.end, begin)
        total += (until - begin).total_seconds()
    return total
