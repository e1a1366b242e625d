"""Checks that what a sync reports adds up: its record and its summary, against the events that went over the bus."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ops.trigger import SOURCE
from services.summarizer.closing import NAMED
from tests.e2e.stage import sync_of
from tools.recount import recounted

Event = Mapping[str, Any]

CLOSING = ("SyncCompleted", "SyncFailed")
STATES = ("DISCOVERED", "SKIPPED", "FAILED", "DOWNLOADED")  # of two, the later one counts
DISCOVERED, SKIPPED, FAILED, DOWNLOADED = STATES
FACTS = ("MediaDiscovered", "MediaDownloadSkipped", "MediaDownloadFailed", "MediaDownloaded")
STATE_OF = dict(zip(FACTS, STATES, strict=True))


@dataclass(frozen=True, kw_only=True)
class Books:
    """All that there is about syncs. `left_open`: the ids of those that a test leaves open on purpose."""

    events: Sequence[Event]
    syncs: Mapping[str, Any]  # records of the syncs table, by sync id
    media: Mapping[str, Sequence[Any]]  # the records of their media there, by sync id
    library: Mapping[str, Any]  # the media's own records in the library table, by media id
    left_open: Collection[str] = ()

    @cached_property
    def published(self) -> Mapping[str, Mapping[str, list[Event]]]:
        """The facts about media, by sync id and media id."""
        found: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
        for event in self.events:
            if event["detail-type"] in STATE_OF:
                found[sync_of(event)][event["detail"]["data"]["media_id"]].append(event)
        return found

    def states(self, sync_id: str, media_id: str) -> set[str]:
        """Return the states of a medium that were published."""
        return {STATE_OF[event["detail-type"]] for event in self.published.get(sync_id, {}).get(media_id, ())}

    def of(self, sync_id: str, *detail_types: str) -> list[Event]:
        return [one for one in self.events if one["detail-type"] in detail_types and sync_of(one) == sync_id]

    def reviewed(self, sync_id: str, media_id: str) -> set[str]:
        """Return the state that a review takes from the library table where the event has not come, if any."""
        record = self.library.get(media_id, {})
        if record.get("status") == "STORED":
            return {DOWNLOADED}
        return {FAILED} if record.get("status") == "FAILED" and record.get("sync_id") == sync_id else set()

    def at_close(self, sync_id: str, media_id: str) -> set[str]:
        """Return the states that a medium may have had when its sync was closed."""
        published, reviewed = self.states(sync_id, media_id), self.reviewed(sync_id, media_id)
        if media_id in self.late(sync_id, DOWNLOADED):  # its failure before that may have been late too
            return (published - {DOWNLOADED}) | reviewed
        if media_id in self.late(sync_id, FAILED):
            return (published - {FAILED, DOWNLOADED}) | reviewed
        return {highest(published)} | reviewed if published else reviewed

    def late(self, sync_id: str, state: str) -> set[str]:
        """Return the media that came to this state after the close: those of the amendments, and those still due."""
        name = {DOWNLOADED: "recovered", FAILED: "failed"}[state]
        amended = {one for event in self.of(sync_id, "SyncAmended") for one in event["detail"]["data"][name]}
        up_to = self.syncs[sync_id]["amended"]
        return amended | {
            one["media_id"]
            for one in self.media.get(sync_id, ())
            if one["state"] == state and (one.get("late") or 0) > up_to
        }


def highest(states: Collection[str]) -> str:
    return max(states, key=STATES.index)


def wrong_accounts(books: Books) -> list[str]:
    """Return what doesn't add up, each with the number of its invariant."""
    summaries = {sync_id: sync["summary"] for sync_id, sync in books.syncs.items() if sync.get("summary")}
    return [
        *_never_closed(books),
        *_closes(books),
        *(
            f"I2: the summary of {sync_id} {what}"
            for sync_id, summary in summaries.items()
            for what in _wrong_summary(books, sync_id, summary)
        ),
        *_states(books),
        *_counters(books),
    ]


def _never_closed(books: Books) -> Iterator[str]:
    """I8: every sync that was wanted, or of which anything is known, closes."""
    requests = {
        sync_of(one) for one in books.events if (one["detail-type"], one["source"]) == ("SyncRequested", SOURCE)
    }
    for sync_id in sorted({*books.syncs, *requests} - {*books.left_open}):
        if not books.syncs.get(sync_id, {}).get("summary"):
            yield f"I8: {sync_id} never closed"


def _closes(books: Books) -> Iterator[str]:
    """I1: one summary a sync, as one kind of event; I9: it stays as it was published."""
    published = {sync_of(one) for one in books.events if one["detail-type"] in CLOSING}
    for sync_id in sorted({*books.syncs, *published}):
        closings = books.of(sync_id, *CLOSING)
        kinds = sorted({one["detail-type"] for one in closings})
        summary = books.syncs.get(sync_id, {}).get("summary")
        due = [] if summary is None else ["SyncFailed" if summary["outcome"] == "failed" else "SyncCompleted"]
        if kinds != due:
            yield f"I1: the close of {sync_id} should be published as {due}, and was as {kinds}"
        if summary and any(one["detail"]["data"] != summary for one in closings):
            yield f"I9: the summary of {sync_id} isn't what was published"


def _wrong_summary(books: Books, sync_id: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """I2: every medium is accounted for, and a sync is complete only when each has a result."""
    counts = {name: summary[name] for name in ("downloaded", "failed", "skipped", "outstanding")}
    because, failed = summary["closed_because"], summary["outcome"] == "failed"
    if summary["discovered"] != sum(counts.values()):
        yield f"doesn't add up: {summary['discovered']} discovered, {counts}"
    if because == "complete" and summary["outstanding"]:
        yield f"is complete with {summary['outstanding']} outstanding"
    if summary["failures_total"] != summary["failed"] + summary["outstanding"]:
        yield f"has {summary['failures_total']} failures in all, and {counts}"
    is_partial = summary["skipped"] or summary["failures_total"] > summary["known_losses"]
    outcome = "partial" if is_partial else "completed"
    outcome = "failed" if because in ("auth_failed", "listing_failed", "request_refused") else outcome
    if because != "deadline" and summary["outcome"] != outcome:
        yield f"is {summary['outcome']} with {counts}, {because}"
    listings = [one["detail"]["data"] for one in books.of(sync_id, "LibraryListed")]
    listed = ("listed", "stored", "discovered", "pending", "deferred")
    if not failed and not any(all(summary[name] == one[name] for name in listed) for one in listings):
        yield f"has {[summary[name] for name in listed]} of {listed}, and the listings said {listings}"
    unnamed = summary["failures_total"] - len(summary["failures"])
    if not unnamed:
        yield from _unlike_the_results(books, sync_id, summary)
    elif unnamed > summary["outstanding"] and len(summary["failures"]) < NAMED:
        yield f"names {len(summary['failures'])} of {counts}"


def _unlike_the_results(books: Books, sync_id: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """Hold each medium's place in the summary (downloaded: all that it doesn't name) against the events."""
    known = {one["media_id"]: one for one in books.media.get(sync_id, ())}
    named, failed = [one["media_id"] for one in summary["failures"]], int(summary["failed"])
    place = dict.fromkeys(named[:failed], FAILED) | dict.fromkeys(named[failed:], DISCOVERED)
    results = []
    for media_id in sorted({*known, *books.published.get(sync_id, {}), *named}):
        state, possible = place.get(media_id, DOWNLOADED), books.at_close(sync_id, media_id)
        # Once its lister is redriven, a failed sync gets media that it had not heard of when it closed.
        if summary["outcome"] == "failed" and media_id not in place and media_id in books.late(sync_id, DOWNLOADED):
            continue
        # The next sync may have stored it meanwhile: that is not this one's.
        if SKIPPED in possible and media_id not in place and known.get(media_id, {}).get("state") == SKIPPED:
            continue
        if state not in possible:
            # A sync that failed knew only what it had heard of; the listing may have gone on.
            if summary["outcome"] != "failed" or media_id in named or DISCOVERED not in possible:
                yield f"has {media_id} as {state}, and the events make it {sorted(possible)}"
        elif state == DOWNLOADED:
            results.append(_result(books, sync_id, media_id, known.get(media_id, {})))
    for name, count in {
        "downloaded": len(results),
        "already_stored": sum(1 for one in results if one.get("already_stored")),
        "bytes": sum(one["bytes"] for one in results if not one.get("already_stored")),
    }.items():
        if summary[name] != count:
            yield f"has {summary[name]} {name}, and the events make it {count}"


def _result(books: Books, sync_id: str, media_id: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a medium adds to the counts: as published, or as a review has noted it."""
    downloaded = [
        one["detail"]["data"]
        for one in books.published.get(sync_id, {}).get(media_id, ())
        if one["detail-type"] == "MediaDownloaded"
    ]
    noted = {"bytes": record.get("bytes", 0), "already_stored": record.get("already_stored")}
    # Of several, that of one's own storing counts rather than that of another sync's.
    return max(downloaded, key=lambda one: (not one.get("already_stored"), one.get("epoch", 0)), default=noted)


def _states(books: Books) -> Iterator[str]:
    """I5: of each medium the sync knows what the events say, and no more than that but by a review."""
    requested = {sync_of(one) for one in books.events if one["detail-type"] == "SyncRequested"}
    for sync_id in sorted({*books.syncs, *(requested & books.published.keys())}):
        known = {one["media_id"]: one["state"] for one in books.media.get(sync_id, ())}
        for media_id in sorted({*known, *books.published.get(sync_id, {})}):
            published = books.states(sync_id, media_id)
            possible = {
                highest({*published, *learned}) for learned in ((), books.reviewed(sync_id, media_id)) if published
            }
            if known.get(media_id) not in possible:
                yield f"I5: {media_id} of {sync_id} is {known.get(media_id)}, and the events make it {sorted(possible)}"


def _counters(books: Books) -> Iterator[str]:
    """I5: the counters are what the media of the sync make them."""
    for sync_id, sync in books.syncs.items():
        counted = recounted(books.media.get(sync_id, ()))
        wrong = {
            name: f"{sync.get(name, 0)}, not {count}" for name, count in counted.items() if sync.get(name, 0) != count
        }
        if wrong:
            yield f"I5: {sync_id} counts {wrong}"
