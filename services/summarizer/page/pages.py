"""The page of a sync, which people read beside its report."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from services.summarizer.closing import closing_event
from services.summarizer.page import choreography, costs, failures, funnel, lanes, media, prices, sessions
from services.summarizer.page.rendering import render
from services.summarizer.page.verdict import standing, sync_was_not_listed, verdict
from services.summarizer.page.wording import clock, lasting, weekday
from services.summarizer.records import ClosedSync, Medium
from services.summarizer.texts import line, name, some


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a page has to know of the deployment that it is about."""

    env: str  # the option of the `cloud-sync` command that selects it; empty where none is needed
    zone: tzinfo  # in which people read times
    memory_mb: int | None  # of the downloader; None: unknown


def sync_page(sync: ClosedSync, all_media: Iterable[Medium], place: Place) -> bytes:
    """Return the page of a closed sync as HTML: the results of all media as of now. `all_media`: all of the sync's."""
    known = sorted(all_media, key=lambda medium: medium.media_id)
    summary = closing_event(sync)
    closed_at = datetime.fromisoformat(summary.closed_at)
    requested_at = datetime.fromisoformat(sync.requested_at) if sync.requested_at else None
    now = standing(sync)
    work = lanes.spans(known)
    shown = lanes.axis(sync, closed_at, work)
    found = choreography.counts(sync, known)
    warnings = (*summary.warnings, *summary.known_warnings)
    return render(
        "sync.html",
        sync_id=sync.sync_id,
        verdict=verdict(sync, summary),
        now=now,
        day=weekday(requested_at or closed_at, place.zone),
        began=clock(requested_at, place.zone),
        closed=clock(closed_at, place.zone),
        zone=f"{closed_at.astimezone(place.zone):%Z}",
        took=lasting((closed_at - requested_at).total_seconds()) if requested_at else "",
        trigger=line(summary.trigger, 40),
        was_listed=not sync_was_not_listed(summary) and summary.outcome != "failed",
        came=media.came(known, place.zone),
        steps=failures.steps_of(summary.remedy, place.env),
        reason=line(summary.reason, 1500),
        failures=failures.failures(sync, known, place.env),
        warnings=[line(warning, 400) for warning in warnings],
        not_ready=[
            f"{name(one.filename, one.media_id)}: {line(one.state, 40)}, since {line(one.since, 40).partition('T')[0]}"
            for one in summary.not_ready
        ],
        bars=funnel.funnel(summary, now, known),
        picture=choreography.picture(sync, found),
        layout=choreography,
        timeline=lanes.timeline(sync, known, work, shown, place.zone) if work else None,
        throughput=lanes.throughput(work, shown, place.zone) if work else None,
        row_height=lanes.ROW,
        bar_height=lanes.BAR,
        table=media.table(known, place.zone),
        proofs=media.proofs(known),
        costs=costs.costs(sync, known, work, found, memory_mb=place.memory_mb),
        prices_of=prices.PRICES_OF,
        sessions=sessions.sessions(sync.sessions, place.zone),
        session_problem=line(sync.session_problem, 1500),
        amendments=some(sync.announcement.number, "amendment") if sync.announcement.number else "",
        report=f"{sync.sync_id}.json",
    )
