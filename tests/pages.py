"""Syncs whose pages are worth a look: made of facts, as the summarizer gets them."""

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from zoneinfo import ZoneInfo

from services.shared.clock import iso, precise
from services.shared.events import (
    AuthenticationFailed,
    Event,
    LibraryListed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    SessionAuthenticated,
    SessionRejected,
    Slice,
    SyncRequested,
)
from services.summarizer.closing import amend, close, why_to_close
from services.summarizer.page.pages import Place, sync_page
from services.summarizer.records import ClosedSync, Medium, Sync
from services.summarizer.tally import media_ids, tally

SYNC = "scheduled-2026-11-23"
BEGIN = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
PLACE = Place(env="--env prod", zone=ZoneInfo("Europe/Berlin"), memory_mb=1024)
CAMERAS = ("HERO12 Black", "HERO12 Black", "MAX2", "HERO9 Black")
HOSTILE = (
    "<script>alert(1)</script>.MP4",
    "</style><img src=x onerror=alert(1)>.MP4",
    "\N{RIGHT-TO-LEFT OVERRIDE}4PM.exe.MP4",
    "שלום עולם.MP4",
    "x" * 1000 + ".MP4",
    "' onload='alert(1)",
    '"><svg onload=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "`$(reboot)`.MP4",
    "a\nb\tc\0.MP4",
    "javascript:alert(1)",
    "&lt;b&gt; & ]]>.MP4",
)


def at(seconds: float) -> str:
    return precise(BEGIN + timedelta(seconds=seconds))


class Told:
    """A sync and its media after some facts."""

    def __init__(self, *facts: Event) -> None:
        self.sync: Sync = Sync(sync_id=SYNC)
        self.media: dict[str, Medium] = {}
        self.take(facts)

    def take(self, facts: Sequence[Event]) -> None:
        known = {media_id: self.media[media_id] for media_id in media_ids(facts) if media_id in self.media}
        tallied = tally(self.sync, known, facts, now=BEGIN + timedelta(days=30))
        if tallied:
            self.sync = tallied.sync
            self.media |= {medium.media_id: medium for medium in tallied.media}

    def closed(self, seconds: float) -> ClosedSync:
        because = why_to_close(self.sync)
        assert because is not None
        now = BEGIN + timedelta(seconds=seconds)
        self.sync = closed = close(self.sync, list(self.media.values()), because, now=now, deadline=timedelta(hours=12))
        return closed

    def amended(self) -> ClosedSync:
        assert isinstance(self.sync, ClosedSync)
        self.sync = amended = amend(self.sync, list(self.media.values()))
        return amended

    def page(self) -> bytes:
        assert isinstance(self.sync, ClosedSync)
        return sync_page(self.sync, self.media.values(), PLACE)


def begun(count: int, *, listed: int, names: Sequence[str] = ()) -> list[Event]:
    """Return the facts of a sync up to its first download."""
    chance = random.Random(count)
    facts: list[Event] = [
        SyncRequested(sync_id=SYNC, trigger="scheduled", occurred_at=iso(BEGIN)),
        SessionAuthenticated(
            sync_id=SYNC, session_version=41, requested_at=iso(BEGIN), occurred_at=at(3), expires_at=at(4 * 3600)
        ),
    ]
    for number in range(count):
        filename = names[number] if number < len(names) else f"GX01{number:04}.{'MP4' if number % 3 else 'JPG'}"
        captured = BEGIN - timedelta(days=chance.uniform(0.2, 2 if count < 100 else 400))
        facts.append(
            MediaDiscovered(
                sync_id=SYNC,
                media_id=f"m{number:04}x{chance.randrange(16**9):09x}",
                type="Video" if number % 3 else "Photo",
                filename=filename,
                camera=chance.choice(CAMERAS),
                captured_at=iso(captured),
                size=chance.randrange(3 * 10**6, 9 * 10**9),
                item_count=1 + number % 3 * (number % 5 == 0),
                occurred_at=at(9),
            )
        )
    facts.append(
        LibraryListed(
            sync_id=SYNC,
            listed=listed + count,
            stored=listed,
            discovered=count,
            pending=2 if count else 0,
            deferred=0,
            library_media=listed + count,
            occurred_at=at(12),
            hops=1 if count > 100 else 0,
        )
    )
    return facts


def results(told: Told, *, failing: Mapping[int, MediaDownloadFailed], lanes: int = 5) -> tuple[list[Event], float]:
    """Return a result for each medium, and when the last one came, in seconds after the request."""
    chance = random.Random(7)
    free = [13.0 + lane / 3 for lane in range(lanes)]
    facts: list[Event] = []
    for number, medium in enumerate(told.media.values()):
        lane = min(range(lanes), key=lambda one: free[one])
        begin, size = free[lane], medium.size or 0
        if number in failing:
            free[lane] = begin + 40
            facts.append(
                MediaDownloadFailed(
                    **{
                        **vars(failing[number]),
                        "media_id": medium.media_id,
                        "occurred_at": at(free[lane]),
                    }
                )
            )
            continue
        slices, left = [], size
        hops = 1 if size > 7 * 10**9 else 0
        for part in range(hops + 1):
            bytes_ = left if part == hops else left * 2 // 3
            seconds = 0.6 + bytes_ / chance.uniform(3e7, 6e7)
            slices.append(
                Slice(
                    began_at=at(begin),
                    seconds=round(seconds, 3),
                    bytes=bytes_,
                    parts=-(-bytes_ // (16 << 20)),
                    connections=chance.randint(1, 4),
                    retries=1 if number % 11 == 5 and not part else 0,
                )
            )
            begin, left = begin + seconds + 1.2, left - bytes_
        free[lane] = begin
        facts.append(
            MediaDownloaded(
                sync_id=SYNC,
                media_id=medium.media_id,
                epoch=1,
                files_total=medium.item_count,
                bytes=size,
                seconds=sum(one.seconds for one in slices),
                proven_by_etag=medium.item_count if number % 4 else 0,
                warning="smaller than listed: 30,000 of 90,000 bytes" if number == 8 else "",
                hops=hops,
                slices=tuple(slices),
                occurred_at=at(begin),
            )
        )
    return facts, max(free)


DEAD = MediaDownloadFailed(
    sync_id=SYNC,
    media_id="",
    reason="GoPro's CDN answered 503 to every try",
    epoch=4,
    attempts=4,
    files_stored=1,
    files_total=3,
    dead_letter=True,
)
GONE = MediaDownloadFailed(
    sync_id=SYNC, media_id="", reason="GoPro no longer has this medium", epoch=1, attempts=1, known_since="2026-10-02"
)
FORBIDDEN = MediaDownloadFailed(
    sync_id=SYNC,
    media_id="",
    reason="the host cdn.example.com is not allowed",
    epoch=1,
    attempts=1,
    remedy="GoPro may have moved its files. If the host is GoPro's, allow it in the setting download_hosts.",
)


@cache
def sync_of(count: int, *, is_hostile: bool = False) -> Told:
    """Return a closed sync of so many media, of which some failed."""
    told = Told(*begun(count, listed=4812, names=HOSTILE if is_hostile else ()))
    failing = {} if count < 12 else {3: DEAD, 7: GONE, 10: FORBIDDEN}
    facts, end = results(told, failing=failing)
    told.take(facts)
    if count > 100:
        told.take([SessionRejected(sync_id=SYNC, session_version=41, occurred_at=at(600))])
    told.closed(end + 2)
    return told


def all_stored(count: int) -> Told:
    """Return a closed sync that has stored everything."""
    told = Told(*begun(count, listed=4812))
    facts, end = results(told, failing={})
    told.take(facts)
    told.closed(end + 2)
    return told


def failed_sync() -> Told:
    """Return a sync that had no session."""
    told = Told(
        SyncRequested(sync_id=SYNC, trigger="scheduled", occurred_at=iso(BEGIN)),
        AuthenticationFailed(
            sync_id=SYNC,
            reason="GoPro refused the refresh token: it was revoked",
            remedy="Sign in again:\n  cloud-sync credentials login\nThen send a new SyncRequested.",
            occurred_at=at(5),
        ),
    )
    told.closed(6)
    return told


def amended_sync() -> Told:
    """Return a sync of which a failed medium was stored after its close."""
    told = Told(*begun(12, listed=4812))
    facts, end = results(told, failing={3: DEAD, 7: GONE, 10: FORBIDDEN})
    told.take(facts)
    told.closed(end + 2)
    medium = list(told.media.values())[3]
    told.take(
        [
            MediaDownloaded(
                sync_id=SYNC,
                media_id=medium.media_id,
                epoch=5,
                files_total=3,
                bytes=10**9,
                proven_by_etag=3,
                slices=(Slice(began_at=at(30_000), seconds=31, bytes=10**9, parts=60, connections=2),),
                occurred_at=at(30_031),
            )
        ]
    )
    told.amended()
    return told


EXAMPLES: Mapping[str, Callable[[], Told]] = {
    "no-media": partial(all_stored, 0),
    "12-stored": partial(all_stored, 12),
    "12-with-failures": partial(sync_of, 12),
    "1000": partial(sync_of, 1000),
    "failed": failed_sync,
    "amended": amended_sync,
    "hostile": partial(sync_of, 12, is_hostile=True),
}


def main() -> None:
    """Write the example pages to the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in EXAMPLES.items():
        (folder / f"{name}.html").write_bytes(made().page())
    print(f"{len(EXAMPLES)} pages in {folder}")


if __name__ == "__main__":
    main()
