"""The library's page: what the syncs so far came to, decided from their history."""

from calendar import monthrange
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import takewhile
from typing import Literal

from services.shared.events import SessionEnding
from services.summarizer.history import OTHERS, MissingMedium, PastSync
from services.summarizer.page import prices, wording
from services.summarizer.page.costs import dollars, keeping, table_writes, upload_requests, working
from services.summarizer.page.rendering import render
from services.summarizer.page.verdict import Tone
from services.summarizer.page.wording import some_media
from services.summarizer.records import Sync
from services.summarizer.texts import line, name, size, some

NIGHTS = 400  # the most syncs that the page tells of
MONTHS = 15  # the most months that it shows; 400 nights are 14
CATCHES_UP = timedelta(hours=3)  # after the daily hour, the schedule and its catch-up have requested the night's sync
_DAY_PITCH = 100 / 31  # percent of a month's row
_RECENT = 10
_SHOWN = 10  # missing media, before one opens the others
_BAD_NIGHTS = 40
_KINDS = 20
_SESSION_FAILED = ("auth_failed", "request_refused")

State = Literal["well", "partial", "failed", "none", "running", "unknown"]
_WORDS: Mapping[State, str] = {
    "well": "all well",
    "partial": "partial",
    "failed": "failed",
    "none": "no sync",
    "running": "running",
    "unknown": "not known",
}
_NAMED: Sequence[State] = ("partial", "failed", "running")  # nights that the calendar's alternative names
_TONES: Mapping[State, Tone] = {"well": "good", "running": "good", "partial": "warn", "none": "warn", "failed": "bad"}


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that the page is made of."""

    history: Sequence[PastSync]  # the sync that was requested last first
    running: Sequence[Sync] = ()  # the open syncs
    stored: Collection[str] = ()  # ids of media that are in the bucket by now
    warning: SessionEnding | None = None  # the last one about the session
    next_sync: datetime | None = None  # None if the schedule requests none
    now: datetime
    zone: tzinfo  # the schedule's, in which people read times
    env: str = ""  # the option of `cloud-sync` that selects this deployment
    memory_mb: int | None = None  # of the downloader; None: unknown, and its cost is left out


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The state of the library in a sentence, and the commands to type."""

    tone: Tone
    sentence: str
    note: str = ""  # when
    reason: str = ""  # why, in words from elsewhere
    commands: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Night:
    """A day of the calendar."""

    day: date
    state: State
    title: str  # the day, its state, and what came


@dataclass(frozen=True, kw_only=True)
class Month:
    """A month of the calendar, and what it brought."""

    first: date
    nights: Sequence[Night]  # all of its days
    syncs: Sequence[PastSync]

    @property
    def name(self) -> str:
        """Such as Nov 2026."""
        return f"{self.first:%b %Y}"

    @property
    def media(self) -> int:
        return sum(past.new for past in self.syncs)

    @property
    def bytes(self) -> int:
        return sum(past.bytes for past in self.syncs)

    def count(self, state: State) -> int:
        """Return how many of its days are in a state."""
        return sum(night.state == state for night in self.nights)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What the syncs of a month stored."""

    month: str
    media: int
    size: str
    usd: str
    share: float  # of the month with most bytes, in percent


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A medium that is missing from the bucket."""

    name: str
    reason: str
    since: str  # local date
    lasting: str  # from then until now
    for_good: bool


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the syncs stored of one camera and type."""

    name: str
    media: int
    size: str
    share: float  # of the kind with most bytes, in percent


@dataclass(frozen=True, kw_only=True)
class Row:
    """One of the last syncs."""

    sync_id: str
    when: str  # local time
    tone: Tone
    word: str  # how it ended
    said: str  # more about that
    stored: str
    took: str


def library_page(known: Known) -> bytes:
    """Return the page as HTML."""
    months = calendar(known)
    lost = missing(known)
    nights = [night for month in months for night in reversed(month.nights)]
    return render(
        "library.html",
        verdict=verdict(known),
        facts=facts(known),
        months=months,
        pitch=_DAY_PITCH,
        legend=[(state, word) for state, word in _WORDS.items() if state != "unknown"],
        bad_nights=[night for night in nights if night.state in _NAMED][:_BAD_NIGHTS],
        growth=growth(known, months),
        keeping=keeping(sum(month.bytes for month in months)),
        prices_of=prices.PRICES_OF,
        missing=lost,
        shown=_SHOWN,
        missing_total=missing_in_all(known),
        waiting=list(waiting(known)),
        kept=kept(known.history),
        recent=recent(known),
        since=covered(known),
        written_at=_time(known, known.now),
        zone=str(known.zone),
        report_command=_command(known, "report SYNC"),
    )


def verdict(known: Known) -> Verdict:
    """Return what a reader has to know first."""
    if known.running:
        sync = min(known.running, key=lambda one: (one.requested_at, one.sync_id))
        return Verdict(
            tone="good",
            sentence=f"A sync is running: {some_media(sync.downloaded)} stored so far.",
            note=f"It was requested at {_at(known, sync.requested_at)}.",
            commands=[_command(known, f"watch {sync.sync_id}")],
        )
    if not known.history:
        return Verdict(tone="warn", sentence="No sync has closed yet.", commands=[_command(known, "trigger --wait")])
    last = known.history[0]
    began = f"The last sync was at {_at(known, last.requested_at)}."
    if night := _night_without(known):
        return Verdict(
            tone="bad",
            sentence=f"No sync ran at {_time(known, night)}.",
            note=began,
            commands=[_command(known, "status"), _command(known, "trigger --wait")],
        )
    if last.verdict == "failed":
        return Verdict(
            tone="bad",
            sentence="The last sync failed.",
            note=began,
            reason=line(last.reason, 300),
            commands=_after_failure(known, last),
        )
    came = f"{some_media(last.new)} stored ({size(last.bytes)})" if last.new else "nothing new to store"
    if last.verdict == "well":
        losses = f", {some_media(last.known_losses)} missing for good" if last.known_losses else ""
        return Verdict(tone="good", sentence=f"All is well: {came}{losses}.", note=began)
    left = some_media(last.unexpected) if last.unexpected else "An unknown number of media"
    redrive = [_command(known, "redrive --wait")] if last.dead_letters else []
    return Verdict(
        tone="warn",
        sentence=f"{left} not stored by the last sync; {came}.",
        note=began,
        reason=line(last.reason, 300),
        commands=[*redrive, _command(known, f"report {last.sync_id}")],
    )


def _after_failure(known: Known, last: PastSync) -> list[str]:
    session = [_command(known, "credentials login")] if last.closed_because == "auth_failed" else []
    return [*session, _command(known, "trigger --wait")]


def _night_without(known: Known) -> datetime | None:
    """Return when the last scheduled sync was due, if none has closed since and none is running; else None."""
    if known.next_sync is None:
        return None
    due = known.next_sync - timedelta(days=1)
    last = _moment(known.history[0].requested_at)
    is_overdue = known.now - due > CATCHES_UP
    # On the two nights that change the clock, a day before the next sync is an hour beside the last one.
    return due if is_overdue and last < due - timedelta(hours=1) else None


def facts(known: Known) -> list[tuple[str, str]]:
    """Return what people ask first, each question with its answer."""
    next_sync = _time(known, known.next_sync) if known.next_sync else "none: the schedule is off"
    answers = [("Next sync", next_sync), ("Session with GoPro", _session(known))]
    if base := _base(known.history):
        held = f"{base.stored + base.downloaded:,} of the {some_media(base.listed)} in the GoPro library"
        answers.append(("In the bucket", f"{held}, as of {_at(known, base.requested_at)}"))
    return answers


def _session(known: Known) -> str:
    """Return what is known of the session, and as of when: from the last sync that says, or a later warning."""
    last = next((past for past in known.history if past.was_listed or past.closed_because in _SESSION_FAILED), None)
    warning = known.warning
    if warning and (last is None or _moment(warning.occurred_at) > _moment(last.requested_at)):
        if warning.ends_about is None:
            state = f"refused by GoPro, as of {_at(known, warning.occurred_at)}"
        else:
            state = f"expected to end about {_at(known, warning.ends_about)}"
        return f"{state}. To renew it: {_command(known, 'credentials login')}"
    if last is None:
        return "unknown: no sync has used one yet"
    if last.was_listed:
        return f"accepted by GoPro, as of the sync at {_at(known, last.requested_at)}"
    return f"none, as of the sync at {_at(known, last.requested_at)}: {line(last.reason, 200)}"


def calendar(known: Known) -> list[Month]:
    """Return the months from the first sync until now, at most `MONTHS` of them, the latest first."""
    if not known.history and not known.running:
        return []
    today = known.now.astimezone(known.zone).date()
    by_day: dict[date, list[PastSync]] = {}
    for past in known.history:
        by_day.setdefault(_day(known, past.requested_at), []).append(past)
    running = {_day(known, sync.requested_at) for sync in known.running}
    first_day = min([*by_day, *running])
    still_to_come = known.next_sync is not None and known.next_sync.astimezone(known.zone).date() == today
    months: list[Month] = []
    first = today.replace(day=1)
    while len(months) < MONTHS and first >= first_day.replace(day=1):
        _, length = monthrange(first.year, first.month)
        nights = []
        for day in (first.replace(day=number) for number in range(1, length + 1)):
            syncs = by_day.get(day, [])
            state: State = "none"
            if not first_day <= day <= today:
                state = "unknown"
            elif day in running:
                state = "running"
            elif syncs:
                state = syncs[0].verdict
            elif day == today and still_to_come:
                state = "unknown"
            nights.append(Night(day=day, state=state, title=_title(day, state, syncs)))
        syncs = [past for night in nights for past in by_day.get(night.day, [])]
        months.append(Month(first=first, nights=nights, syncs=syncs))
        first = (first - date.resolution).replace(day=1)
    return months


def _title(day: date, state: State, syncs: Sequence[PastSync]) -> str:
    new = sum(past.new for past in syncs)
    came = f", {some_media(new)} stored ({size(sum(past.bytes for past in syncs))})" if new else ""
    return f"{_date(day)}: {_WORDS[state]}{came}"


def growth(known: Known, months: Sequence[Month]) -> list[Growth]:
    """Return what each month brought, and what that cost."""
    sizes = [month.bytes for month in months]
    return [
        Growth(
            month=month.name,
            media=month.media,
            size=size(month.bytes),
            usd=dollars(sum(_usd(past, known.memory_mb) for past in month.syncs)),
            share=_share(month.bytes, sizes),
        )
        for month in months
    ]


def _usd(past: PastSync, memory_mb: int | None) -> float:
    """Return what a sync cost, as far as its record tells."""
    return (
        working(past.seconds, memory_mb or 0)
        + upload_requests(past.parts, past.files) * prices.S3_PUT
        + table_writes(past.discovered) * prices.TABLE_WRITE
    )


def _share(part: int, parts: Iterable[int]) -> float:
    """Return how large a part is, in percent of the largest."""
    most = max(parts)
    return round(100 * part / most, 1) if most else 0.0


def _base(history: Sequence[PastSync]) -> PastSync | None:
    """Return the last sync that listed the whole library."""
    return next((past for past in history if past.covers_the_library), None)


def named_as_missing(history: Sequence[PastSync]) -> dict[str, MissingMedium]:
    """Return by media id what was missing when the whole library was listed last, or in a later sync."""
    named: dict[str, MissingMedium] = {}
    for past in history:
        for medium in past.missing:
            named.setdefault(medium.media_id, medium)
        if past.covers_the_library:
            break
    return named


def missing(known: Known) -> list[Missing]:
    """Return what is missing by name, the longest first."""
    found = [
        (_missing_since(known.history, medium), name(medium.filename, media_id), media_id, medium)
        for media_id, medium in named_as_missing(known.history).items()
        if media_id not in known.stored
    ]
    return [
        Missing(
            name=called,
            reason=line(medium.reason, 200) or "reason unknown",
            since=wording.date(since, known.zone),
            lasting=some(max(0, (known.now - since).days), "day"),
            for_good=medium.because == "failed" and bool(medium.since),
        )
        for since, called, _, medium in sorted(found)
    ]


def _missing_since(history: Sequence[PastSync], medium: MissingMedium) -> datetime:
    """Return since when a medium has been missing: as it says itself, or since the first of the syncs that name it.

    Syncs of a part of the library may not have met the medium, and are passed over.
    """
    moments = [medium.since] if medium.since else []
    for past in history:
        if any(one.media_id == medium.media_id for one in past.missing):
            moments.append(past.requested_at)
        elif past.covers_the_library:
            break
    return min(map(_moment, moments))


def missing_in_all(known: Known) -> int:
    """Return how many media are missing, with those that no record names."""
    base = _base(known.history)
    named = len(missing(known))
    if base is None:
        return named
    told = sum(medium.because != "not ready" for medium in base.missing)
    return named + max(0, base.failed + base.outstanding + base.skipped - told)


def waiting(known: Known) -> Iterator[str]:
    """Yield a sentence for what is missing without a failure."""
    base = _base(known.history)
    if base and base.deferred:
        since = _date(_day(known, _since_when(known.history, "deferred")))
        yield f"{some_media(base.deferred)} left for later syncs, since each has a limit. Some have been since {since}."
    if base and base.pending:
        since = _date(_day(known, _since_when(known.history, "pending")))
        yield f"{some_media(base.pending)} not ready at GoPro. Some have been since {since}."


def _since_when(history: Sequence[PastSync], count: Literal["deferred", "pending"]) -> str:
    """Return when the first of the last syncs was requested, of those in a row that counted any."""
    covering = (past for past in history if past.covers_the_library)
    *_, first = takewhile(lambda past: getattr(past, count), covering)
    return first.requested_at


def kept(history: Sequence[PastSync]) -> list[Kept]:
    """Return media and bytes by camera and type, the most bytes first. Those that no record tells apart come last."""
    media: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    rest = OTHERS, OTHERS
    for past in history:
        for kind in past.kinds:
            media[kind.camera, kind.type] += kind.media
            sizes[kind.camera, kind.type] += kind.bytes
        media[rest] += max(0, past.new - sum(kind.media for kind in past.kinds))
        sizes[rest] += max(0, past.bytes - sum(kind.bytes for kind in past.kinds))
    kinds = sorted(media, key=lambda kind: (kind == rest, -sizes[kind], kind))
    return [
        Kept(
            name="others"
            if kind == rest
            else f"{line(kind[0], 60) or 'unknown camera'}, {line(kind[1], 40) or 'unknown type'}",
            media=media[kind],
            size=size(sizes[kind]),
            share=_share(sizes[kind], sizes.values()),
        )
        for kind in kinds[:_KINDS]
        if media[kind]
    ]


def recent(known: Known) -> list[Row]:
    """Return the last syncs, the one that was requested last first."""
    return [_row(known, past) for past in known.history[:_RECENT]]


def _row(known: Known, past: PastSync) -> Row:
    amended = f"after {some(past.amendments, 'amendment')}" if past.amendments else ""
    return Row(
        sync_id=past.sync_id,
        when=_at(known, past.requested_at),
        tone=_TONES[past.verdict],
        word=_WORDS[past.verdict],
        said="; ".join(filter(None, [_said(past), amended])),
        stored=f"{some_media(past.new)}, {size(past.bytes)}" if past.new else "nothing new",
        took=wording.lasting((_moment(past.closed_at) - _moment(past.requested_at)).total_seconds()),
    )


def _said(past: PastSync) -> str:
    if past.verdict == "well":
        return f"{some_media(past.known_losses)} missing for good" if past.known_losses else ""
    if past.verdict == "partial" and past.unexpected:
        return f"{some_media(past.unexpected)} not stored"
    return line(past.reason, 200)


def covered(known: Known) -> str:
    """Return what the history covers, in a sentence."""
    if not known.history:
        return "The history begins with the first sync that closes."
    own = [past for past in known.history if not past.imported]
    first = _date(_day(known, known.history[-1].requested_at))
    if len(known.history) >= NIGHTS:
        return f"The last {NIGHTS} syncs, since {first}."
    if len(own) == len(known.history):
        return f"Every sync since {first}."
    began = f"Every sync since {_date(_day(known, own[-1].requested_at))}" if own else "Every sync from now on"
    return f"{began}, and the scheduled ones since {first} that an earlier version has left."


def _command(known: Known, text: str) -> str:
    return f"cloud-sync {text} {known.env}".rstrip()


def _at(known: Known, moment: str) -> str:
    return _time(known, _moment(moment))


def _time(known: Known, moment: datetime) -> str:
    return f"{wording.date(moment, known.zone)}, {wording.clock(moment, known.zone)}"


def _day(known: Known, moment: str) -> date:
    return _moment(moment).astimezone(known.zone).date()


def _date(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
