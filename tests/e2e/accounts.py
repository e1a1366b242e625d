"""Whether what a sync has told adds up: its record and its summary, held against the events that went over the bus."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from ops.trigger import SOURCE
from services.summarizer.closing import NAMED
from tests.e2e.stage import sync_of
from tests.recount import recounted

CLOSING = ("SyncCompleted", "SyncFailed")
STATES = ("DISCOVERED", "FAILED", "DOWNLOADED")  # of two, the later one counts
STATE_OF = dict(zip(("MediaDiscovered", "MediaDownloadFailed", "MediaDownloaded"), STATES, strict=True))
ON_ITS_WAY = timedelta(seconds=5)  # for longer no event is, from its publisher to the summarizer


@dataclass(frozen=True, kw_only=True)
class Told:
    """The events of one sync about one of its media."""

    events: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> str:
        return max((STATE_OF[one["detail-type"]] for one in self.events), key=STATES.index)

    def since(self, state: str) -> datetime | None:
        """When it was first told to be in this state."""
        return min((_when(one) for one in self.events if STATE_OF[one["detail-type"]] == state), default=None)

    @property
    def result(self) -> Mapping[str, Any]:
        """Of its MediaDownloaded, the one that counts: of one's own storing rather than of another sync's."""
        data = [one["detail"]["data"] for one in self.events if one["detail-type"] == "MediaDownloaded"]
        return max(data, key=lambda one: (not one.get("already_stored"), one.get("epoch", 0)))


@dataclass(frozen=True, kw_only=True)
class Books:
    """All that there is about syncs. `left_open`: the ids of those that a test leaves open on purpose."""

    events: Sequence[Mapping[str, Any]]
    syncs: Mapping[str, Any]  # records of the syncs table, by sync id
    media: Mapping[str, Sequence[Any]]  # the records of their media there, by sync id
    library: Mapping[str, Any]  # the media's own records in the library table, by media id
    left_open: Collection[str] = ()

    @cached_property
    def told(self) -> Mapping[str, Mapping[str, Told]]:
        """By sync id and media id."""
        told: dict[str, dict[str, Told]] = defaultdict(lambda: defaultdict(Told))
        for event in self.events:
            if event["detail-type"] in STATE_OF:
                told[sync_of(event)][event["detail"]["data"]["media_id"]].events.append(event)
        return told

    def of(self, sync_id: str, *detail_types: str) -> list[Mapping[str, Any]]:
        return [one for one in self.events if one["detail-type"] in detail_types and sync_of(one) == sync_id]

    def seen_by_a_review(self, sync_id: str, media_id: str) -> str | None:
        """The state that a review takes from the library table, where the event of it has not come."""
        record = self.library.get(media_id, {})
        if record.get("status") == "STORED":
            return "DOWNLOADED"
        return "FAILED" if record.get("status") == "FAILED" and record.get("sync_id") == sync_id else None

    def late(self, sync_id: str, state: str) -> set[str]:
        """The media that came to this state after the close: those of the amendments, and those still to be told."""
        name = {"DOWNLOADED": "recovered", "FAILED": "failed"}[state]
        amended = {one for event in self.of(sync_id, "SyncAmended") for one in event["detail"]["data"][name]}
        told_up_to = self.syncs[sync_id]["amended"]
        return amended | {
            one["media_id"]
            for one in self.media.get(sync_id, ())
            if one["state"] == state and (one.get("late") or 0) > told_up_to
        }


def wrong_accounts(books: Books) -> list[str]:
    """What doesn't add up, each with the number of its invariant."""
    return [*_never_closed(books), *_closes(books), *_summaries(books), *_states(books), *_counters(books)]


def _never_closed(books: Books) -> Iterator[str]:
    """I8: every sync that was wanted, or of which anything is known, closes."""
    requests = {
        sync_of(one) for one in books.events if (one["detail-type"], one["source"]) == ("SyncRequested", SOURCE)
    }
    for sync_id in sorted({*books.syncs, *requests} - {*books.left_open}):
        if not books.syncs.get(sync_id, {}).get("summary"):
            yield f"I8: {sync_id} never closed"


def _closes(books: Books) -> Iterator[str]:
    """I1: one summary a sync, as one kind of event; I9: it stays as it was told."""
    told = {sync_of(one) for one in books.events if one["detail-type"] in CLOSING}
    for sync_id in sorted({*books.syncs, *told}):
        closings = books.of(sync_id, *CLOSING)
        kinds = sorted({one["detail-type"] for one in closings})
        summary = books.syncs.get(sync_id, {}).get("summary")
        if summary is None:
            if kinds:
                yield f"I1: {sync_id} is told to be closed and isn't"
            continue
        due = "SyncFailed" if summary["outcome"] == "failed" else "SyncCompleted"
        if kinds != [due]:
            yield f"I1: the close of {sync_id} is a {due}, and was told as {' and '.join(kinds) or 'nothing'}"
        if any(one["detail"]["data"] != summary for one in closings):
            yield f"I9: the summary of {sync_id} isn't what was told"


def _summaries(books: Books) -> Iterator[str]:
    """I2: every medium is accounted for, and a sync is complete only when each has a result."""
    for sync_id, sync in books.syncs.items():
        if summary := sync.get("summary"):
            yield from (f"I2: the summary of {sync_id} {what}" for what in _wrong_summary(books, sync_id, summary))


def _wrong_summary(books: Books, sync_id: str, summary: Mapping[str, Any]) -> Iterator[str]:
    counts = {name: summary[name] for name in ("downloaded", "failed", "outstanding")}
    if summary["discovered"] != sum(counts.values()):
        yield f"doesn't add up: {summary['discovered']} discovered, {counts}"
    if summary["closed_because"] == "complete" and summary["outstanding"]:
        yield f"is complete with {summary['outstanding']} outstanding"
    if summary["failures_total"] != summary["failed"] + summary["outstanding"]:
        yield f"has {summary['failures_total']} failures in all, and {counts}"
    outcome = "partial" if summary["failures_total"] else "completed"
    if summary["closed_because"] in ("auth_failed", "listing_failed"):
        outcome = "failed"
    if summary["closed_because"] != "deadline" and summary["outcome"] != outcome:
        yield f"is {summary['outcome']} with {counts}, {summary['closed_because']}"
    if summary["outcome"] != "failed":
        yield from _unlike_the_listing(books, sync_id, summary)
    unnamed = summary["failures_total"] - len(summary["failures"])
    if not unnamed:
        yield from _unlike_the_results(books, sync_id, summary)
    elif unnamed > summary["outstanding"] and len(summary["failures"]) < NAMED:
        yield f"names {len(summary['failures'])} of {counts}"


def _unlike_the_listing(books: Books, sync_id: str, summary: Mapping[str, Any]) -> Iterator[str]:
    listings = books.of(sync_id, "LibraryListed")
    if not listings:
        yield "is of a library that was never told to be listed"
    for name in ("listed", "stored", "discovered", "pending", "deferred"):
        said = {one["detail"]["data"][name] for one in listings}
        if listings and summary[name] not in said:
            yield f"has {summary[name]} {name}, and the listing said {sorted(said)}"


def _unlike_the_results(books: Books, sync_id: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """Each medium has the place in the summary that the events, as far as they came before the close, give it."""
    place = _Places(books, sync_id, summary)
    yield from place.of_the_failed()
    yield from place.of_the_outstanding()
    yield from place.of_all_others()


class _Places:
    """Which media a summary has as failed, as outstanding, and as downloaded: all that it doesn't name."""

    def __init__(self, books: Books, sync_id: str, summary: Mapping[str, Any]) -> None:
        self._books, self._sync_id, self._summary = books, sync_id, summary
        self._told = books.told.get(sync_id, {})
        self._known = {one["media_id"]: one for one in books.media.get(sync_id, ())}
        self._closed_at = datetime.fromisoformat(summary["closed_at"])
        named, failed = [one["media_id"] for one in summary["failures"]], int(summary["failed"])
        self._failed, self._outstanding = named[:failed], named[failed:]
        self._late = {state: books.late(sync_id, state) for state in ("FAILED", "DOWNLOADED")}

    def _since(self, media_id: str, state: str) -> datetime | None:
        return self._told[media_id].since(state) if media_id in self._told else None

    def _reviewed(self, media_id: str) -> str | None:
        return self._books.seen_by_a_review(self._sync_id, media_id)

    def of_the_failed(self) -> Iterator[str]:
        for media_id in self._failed:
            since = self._since(media_id, "FAILED")
            if since is None and self._reviewed(media_id) != "FAILED":
                yield f"has {media_id} as failed, which nobody has told"
            elif since is not None and since > self._closed_at:
                yield f"has {media_id} as failed before that was told"
            yield from self._was_told_before(media_id, "DOWNLOADED", "failed")

    def of_the_outstanding(self) -> Iterator[str]:
        for media_id in self._outstanding:
            if self._since(media_id, "DISCOVERED") is None:
                yield f"has {media_id} as outstanding, which was never discovered"
            for state in ("FAILED", "DOWNLOADED"):
                yield from self._was_told_before(media_id, state, "outstanding")

    def _was_told_before(self, media_id: str, state: str, place: str) -> Iterator[str]:
        """What is told after the close, or was on its way just then, is told as late; it stands in no summary."""
        since = self._since(media_id, state)
        # What was late to fail may have been recovered since.
        late = self._late["DOWNLOADED"] | (self._late["FAILED"] if state == "FAILED" else set())
        if since is not None and (since < self._closed_at - ON_ITS_WAY or media_id not in late):
            yield f"has {media_id} as {place}, which was told to be {state}"

    def of_all_others(self) -> Iterator[str]:
        others = {*self._told, *self._known} - {*self._failed, *self._outstanding}
        if self._summary["outcome"] == "failed":  # it knew only what it had heard of, and the listing may have gone on
            waiting = {one["media_id"] for one in self._known.values() if one["state"] == "DISCOVERED"}
            others -= waiting | self._late["FAILED"] | self._late["DOWNLOADED"]
        for media_id in sorted(others):
            state = self._told[media_id].state if media_id in self._told else None
            if "DOWNLOADED" not in (state, self._reviewed(media_id)):
                yield f"doesn't name {media_id}, which was told to be {state}"
        results = [_result(self._told.get(one), self._known.get(one, {})) for one in others]
        for name, count in {
            "downloaded": len(results),
            "already_stored": sum(1 for one in results if one.get("already_stored")),
            "bytes": sum(one["bytes"] for one in results if not one.get("already_stored")),
        }.items():
            if self._summary[name] != count:
                yield f"has {self._summary[name]} {name}, and the events make it {count}"


def _result(told: Told | None, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a medium adds to the counts: as told, or as a review has noted it."""
    if told and told.state == "DOWNLOADED":
        return told.result
    return {"bytes": record.get("bytes", 0), "already_stored": record.get("already_stored")}


def _states(books: Books) -> Iterator[str]:
    """I5: of each medium the sync knows what the events have told, and no more than that but by a review."""
    requested = {sync_of(one) for one in books.events if one["detail-type"] == "SyncRequested"}
    for sync_id in sorted({*books.syncs, *(requested & books.told.keys())}):
        known = {one["media_id"]: one["state"] for one in books.media.get(sync_id, ())}
        told = {media_id: one.state for media_id, one in books.told.get(sync_id, {}).items()}
        for media_id in sorted({*known, *told}):
            state, said = known.get(media_id), told.get(media_id)
            learned = state == books.seen_by_a_review(sync_id, media_id) and _rank(state) > _rank(said)
            if state != said and not (said and learned):
                yield f"I5: {media_id} of {sync_id} is {state}, and was told to be {said}"


def _rank(state: str | None) -> int:
    return STATES.index(state) if state else -1


def _counters(books: Books) -> Iterator[str]:
    """I5: the counters are what the media of the sync make them."""
    for sync_id, sync in books.syncs.items():
        counted = recounted(books.media.get(sync_id, ()))
        wrong = {name: f"{sync[name]}, not {count}" for name, count in counted.items() if sync[name] != count}
        if wrong:
            yield f"I5: {sync_id} counts {wrong}"


def _when(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["detail"]["metadata"].get("occurred_at") or event["time"])
