"""The verdict on a sync: one sentence, and how good the news is."""

from dataclasses import dataclass
from typing import Literal

from services.shared.events import Summary
from services.summarizer.page.wording import some_media
from services.summarizer.records import ClosedSync
from services.summarizer.texts import some, walked, wanted

Tone = Literal["good", "warn", "bad"]

_NOTHING = {
    "auth_failed": "Nothing was copied: Cloud Sync could not sign in to GoPro.",
    "request_refused": "Nothing was copied: the request for this sync has a mistake.",
    "listing_failed": "Nothing was copied: the GoPro library could not be listed.",
}
_MANY = 3  # media; if this many fail and none is stored, something is wrong as a whole


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reader has to know first."""

    tone: Tone
    sentence: str
    notes: tuple[str, ...]  # a sentence each


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The media of a sync as they stand now, late results included. The groups do not overlap."""

    taken_on: int
    stored: int
    failed: int  # without the known losses
    known_losses: int
    skipped: int
    outstanding: int

    @property
    def missing(self) -> int:
        """The media that this sync should have stored, and has not."""
        return self.failed + self.skipped + self.outstanding


def standing(sync: ClosedSync) -> Standing:
    """Return how the media of a closed sync stand now."""
    taken_on = max(sync.discovered, sync.expected or 0)
    return Standing(
        taken_on=taken_on,
        stored=sync.downloaded,
        failed=sync.failed - sync.known_losses,
        known_losses=sync.known_losses,
        skipped=sync.skipped,
        outstanding=max(0, taken_on - sync.settled_media),
    )


def verdict(sync: ClosedSync, summary: Summary) -> Verdict:
    """Return the verdict as of now. `summary`: as of the close."""
    now = standing(sync)
    return Verdict(tone=_tone(now, summary), sentence=_sentence(now, summary), notes=tuple(_notes(sync, now, summary)))


def _tone(now: Standing, summary: Summary) -> Tone:
    if summary.closed_because == "request_refused":
        return "warn"
    has_one_cause = not now.stored and now.failed >= _MANY
    if summary.outcome == "failed" or (has_one_cause and summary.closed_because != "cancelled"):
        return "bad"
    unlisted = sync_was_not_listed(summary)
    return "warn" if now.missing or unlisted or summary.warnings or summary.suspicious_total else "good"


def sync_was_not_listed(summary: Summary) -> bool:
    """Return whether a sync was cancelled before it had listed anything."""
    return summary.closed_because == "cancelled" and not summary.listed and not summary.discovered


def _sentence(now: Standing, summary: Summary) -> str:
    if summary.outcome == "failed":
        return _why_nothing(now, summary)
    if sync_was_not_listed(summary):
        return "This sync was cancelled before it had begun."
    said = _what_is_stored(now, "new or changed" if summary.looked_again else "new")
    if summary.closed_because == "cancelled":
        return f"This sync was cancelled: {said[0].lower()}{said[1:]}"
    return said


def _why_nothing(now: Standing, summary: Summary) -> str:
    if now.stored:
        return f"The listing of the GoPro library did not end; {_stored_all_the_same(now.stored)}."
    other = "Nothing was copied: the listing of the GoPro library did not end in time."
    return _NOTHING.get(summary.closed_because, other)


def _stored_all_the_same(count: int) -> str:
    return f"{some_media(count)} {'was' if count == 1 else 'were'} stored all the same"


def _what_is_stored(now: Standing, kind: str) -> str:
    sought = now.taken_on - now.known_losses
    if not sought:
        return f"No {kind} media to copy."
    if not now.missing:
        return f"The one {kind} medium is stored." if sought == 1 else f"All {sought:,} {kind} media are stored."
    missing = [
        f"{now.failed:,} failed" if now.failed else "",
        f"{now.outstanding:,} {'has' if now.outstanding == 1 else 'have'} no result" if now.outstanding else "",
        f"{now.skipped:,} {'is' if now.skipped == 1 else 'are'} left for the next sync" if now.skipped else "",
    ]
    stored = f"{now.stored:,}" if now.stored else "None"
    are = "is" if now.stored == 1 else "are"
    return f"{stored} of {sought:,} {kind} media {are} stored: {', '.join(filter(None, missing))}."


def _notes(sync: ClosedSync, now: Standing, summary: Summary) -> list[str]:
    notes = []
    if sync.announcement.number:
        since = now.stored - summary.downloaded
        was = "was" if summary.downloaded == 1 else "were"
        then = f"When the sync closed, {summary.downloaded:,} of them {was} stored"
        notes.append(
            f"{then}; {since:,} came in after that." if since else f"{then}; other results came in after that."
        )
    if covered := wanted(summary.filters):
        notes.append(f"This sync covers a part of the library: {covered}.")
    if how := walked(summary):
        notes.append(f"{how[0].upper()}{how[1:]}.")
    if now.known_losses:
        notes.append(f"{some(now.known_losses, 'known loss', 'known losses')}, the same as before.")
    if summary.suspicious_total:
        notes.append(f"{some_media(summary.suspicious_total)} stored, but suspicious: see below.")
    if summary.pending:
        takes = "takes it" if summary.pending == 1 else "takes them"
        notes.append(f"{some_media(summary.pending)} not ready at GoPro yet: a later sync {takes}.")
    if summary.deferred:
        notes.append(f"{some_media(summary.deferred)} left for later syncs: this one reached its limit.")
    if summary.warnings:
        notes.append(f"The listing of the library has {some(len(summary.warnings), 'warning')}: see below.")
    return notes
