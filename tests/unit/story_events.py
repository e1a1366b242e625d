"""Events, receives and dead letters of a story, with what a test doesn't care about filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ops.story import Letter, Published, Receive, Story, tell

BEGAN = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
REACTS = {
    "SyncRequested": ("authenticator", "summarizer"),
    "SessionAuthenticated": ("lister",),
    "MediaDiscovered": ("downloader", "summarizer"),
    "MediaDownloadPaused": ("downloader",),
    "MediaDownloaded": ("summarizer",),
    "MediaDownloadFailed": ("summarizer",),
    "LibraryListed": ("summarizer",),
}
HOSTILE = "\x1b[2J\r<script>alert(1)</script>\u202e"


def event(event_id: str, kind: str = "MediaDiscovered", cause: str = "", *, at: float = 0.0, **more: Any) -> Published:
    own = {"id": f"published-{event_id}", "publisher": "lister", "sync_id": "s", **more}
    return Published(event_id=event_id, type=kind, causation_id=cause, at=BEGAN + timedelta(seconds=at), **own)


def receive(
    event_id: str,
    service: str = "downloader",
    number: int = 1,
    outcome: str = "done",
    *,
    message: str = "",
    **more: Any,
) -> Receive:
    own = {"ended_at": BEGAN, "waited": 0.5, "took": 1.0, **more}
    return Receive(
        service=service,
        event_id=event_id,
        message_id=message or f"{event_id}-{service}",
        number=number,
        outcome=outcome,
        **own,
    )


def letter(event_id: str, service: str = "downloader", *, message: str = "", why: str = "") -> Letter:
    return Letter(
        service=service, event_id=event_id, message_id=message or f"{event_id}-{service}", since=BEGAN, why=why
    )


def medium(name: str, *kinds: str, retried: bool = False) -> tuple[list[Published], list[Receive]]:
    """A medium whose events cause one another, each taken at the first try by all that react to it."""
    path = ("MediaDiscovered", *kinds)
    events = [
        event(f"{name}-{n}", kind, f"{name}-{n - 1}" if n else "", at=n, media_id=name) for n, kind in enumerate(path)
    ]
    receives = [receive(one.event_id, service) for one in events for service in REACTS[one.type]]
    if retried:
        receives += [receive(f"{name}-0", number=2)]
    return events, receives


def a_retried_medium() -> Story:
    """It was retried, cut off, paused, made a dead letter, and redriven."""
    events = [
        event("session", "SessionAuthenticated", publisher="authenticator"),
        event("found-it-first", cause="session", at=4, media_id="m1", name="GX01.MP4"),
        event("pause", "MediaDownloadPaused", "found-it-first", at=70, media_id="m1", publisher="downloader", hops=1),
        event("failed", "MediaDownloadFailed", "pause", at=90, media_id="m1", publisher="downloader", reason="cut"),
        event("stored", "MediaDownloaded", "pause", at=3700, media_id="m1", publisher="downloader"),
    ]
    receives = [
        receive("session", "lister", took=None),
        receive("found-it-first", number=1, outcome="retry", error="Incomplete", why="1 of 2"),
        receive("found-it-first", number=3, outcome="paused", waited=61.2),
        receive("found-it-first", "summarizer"),
        receive("pause", number=4, outcome="dead_letter", message="p1", why="cut"),
        receive("pause", message="p2", ended_at=BEGAN + timedelta(hours=1)),
        receive("failed", "summarizer"),
    ]
    return Story(
        about="Sync s",
        roots=tell(events, receives, [letter("stored", "summarizer", why="no permission")], reacts=REACTS),
    )


def hostile() -> Story:
    events = [
        event("a", name=HOSTILE, media_id=HOSTILE, reason=HOSTILE, publisher=HOSTILE),
        event(HOSTILE, HOSTILE, "a", at=1),
    ]
    receives = [receive("a", outcome=HOSTILE, error=HOSTILE, why=HOSTILE), receive("a", HOSTILE, message="x")]
    letters = [letter("a", "summarizer", why=HOSTILE)]
    roots = tell(events, receives, letters, reacts=REACTS)
    return Story(about=HOSTILE, roots=roots, now=(HOSTILE,), gaps=(HOSTILE,))
