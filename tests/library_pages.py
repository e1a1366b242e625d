"""Histories whose page is worth a look: no sync yet, one, 400 nights with gaps, a failed last night, many missing."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.shared.clock import iso
from services.shared.events import SessionEnding
from services.shared.schedule import next_daily
from services.summarizer.history import MISSING, Kind, MissingMedium, PastSync
from services.summarizer.page.library import NIGHTS, Known, library_page
from services.summarizer.records import Sync
from tests.pages import CAMERAS, HOSTILE

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 27, 7, 30, tzinfo=UTC)
LAST_NIGHT = datetime(2026, 11, 27, 1, 0, tzinfo=UTC)
NO_SESSION = "GoPro refused the refresh token: it was revoked"


def night(ago: int = 0, **more: Any) -> PastSync:
    """Return a scheduled sync of so many nights ago, which stored everything."""
    requested = LAST_NIGHT - timedelta(days=ago)
    given = {
        "sync_id": f"scheduled-{requested.astimezone(ZONE).date()}",
        "requested_at": iso(requested),
        "closed_at": iso(requested + timedelta(minutes=42)),
        "trigger": "scheduled",
        "outcome": "completed",
        "closed_because": "complete",
        "was_listed": True,
        "listed": 4_812 - ago,
        "stored": 4_812 - ago,
    }
    return PastSync(**{**given, **more})


def stored(ago: int, media: int, size: int, *, camera: str = "HERO13 Black", kind: str = "Video") -> PastSync:
    """Return a sync of so many nights ago that stored media of one camera."""
    return night(
        ago,
        discovered=media,
        downloaded=media,
        bytes=size,
        stored=4_812 - ago - media,
        kinds=(Kind(camera=camera, type=kind, media=media, bytes=size),) if media else (),
        seconds=size / 4e7,
        parts=size // (16 << 20),
        files=media,
    )


def failed(ago: int = 0) -> PastSync:
    """Return a sync of so many nights ago that had no session."""
    return night(
        ago, outcome="failed", closed_because="auth_failed", was_listed=False, listed=0, stored=0, reason=NO_SESSION
    )


def lossy(ago: int, missing: int, *, hostile: bool = False, total: int | None = None, **more: Any) -> PastSync:
    """Return a sync of so many nights ago that could not store some media."""
    named = []
    for number in range(min(missing, MISSING)):
        label = HOSTILE[number % len(HOSTILE)] if hostile else f"GX01{number:04}.MP4"
        known = number % 5 == 4
        named.append(
            MissingMedium(
                media_id=f"{number} {HOSTILE[-1 - number % len(HOSTILE)]}"[:100] if hostile else f"m{number:05}",
                filename=label[:80],
                because="failed",
                reason=label[:160] if hostile else ("GoPro has no such file" if known else "GoPro's CDN answered 503"),
                since=iso(LAST_NIGHT - timedelta(days=30 + number)) if known else "",
            )
        )
    count = total or missing
    return night(
        ago,
        outcome="partial",
        discovered=count + 2,
        downloaded=2,
        bytes=7 * 10**9,
        stored=4_812 - ago - count - 2,
        failed=count,
        dead_letters=1,
        missing=tuple(named),
        **more,
    )


def page(*history: PastSync, **more: Any) -> bytes:
    due = next_daily(2, ZONE, NOW)
    return library_page(
        Known(
            **{
                "history": history,
                "now": NOW,
                "zone": ZONE,
                "next_sync": due,
                "env": "--env prod",
                "memory_mb": 1024,
                **more,
            }
        )
    )


def many_nights() -> list[PastSync]:
    """Return as many syncs as the page tells of, with gaps, failures, and a sync by hand now and then."""
    chance, ago = random.Random(5), 0
    history: list[PastSync] = []
    while len(history) < NIGHTS:
        dice = chance.random()
        if dice < 0.03:
            ago += chance.randint(1, 4)
        elif dice < 0.06:
            history.append(failed(ago))
        elif dice < 0.12:
            history.append(lossy(ago, chance.randint(1, 3)))
        else:
            media = chance.choice([0, 0, 0, 1, 3, 8, 40])
            camera, kind = chance.choice(CAMERAS), chance.choice(["Video", "Video", "Photo", "TimeLapse"])
            history.append(stored(ago, media, media * chance.randrange(10**7, 5 * 10**9), camera=camera, kind=kind))
        ago += 1
    return history


def no_sync_yet() -> bytes:
    return page()


def one_sync() -> bytes:
    return page(stored(0, 12, 31 * 10**9))


def nights_with_gaps() -> bytes:
    return page(*many_nights())


def failed_last_night() -> bytes:
    return page(failed(), *many_nights()[1:60])


def many_missing() -> bytes:
    history = [lossy(ago, 60, total=700, pending=3, deferred=120) for ago in range(4)]
    return page(*history, *(stored(ago, 2, 10**9) for ago in range(4, 40)))


def hostile_names() -> bytes:
    kinds = tuple(Kind(camera=name, type=name[:40], media=1, bytes=10**9) for name in HOSTILE)
    return page(lossy(0, 50, hostile=True, kinds=kinds, reason=HOSTILE[0]))


def no_sync_last_night() -> bytes:
    return page(*many_nights()[2:90])


def running_now() -> bytes:
    ending = SessionEnding(
        sync_id="scheduled-2026-11-28",
        warned_on="2026-11-27",
        since=iso(NOW - timedelta(hours=9)),
        next_sync_at=iso(next_daily(2, ZONE, NOW)),
        ends_about=iso(NOW + timedelta(hours=3)),
        occurred_at=iso(NOW),
    )
    sync = Sync(sync_id="scheduled-2026-11-27", requested_at=iso(LAST_NIGHT), downloaded=3)
    return page(*many_nights()[1:20], running=[sync], warning=ending)


PAGES: Mapping[str, Callable[[], bytes]] = {
    "no sync yet": no_sync_yet,
    "one sync": one_sync,
    "400 nights with gaps": nights_with_gaps,
    "a failed last night": failed_last_night,
    "many missing": many_missing,
    "hostile names": hostile_names,
    "no sync last night": no_sync_last_night,
    "a running sync": running_now,
}
