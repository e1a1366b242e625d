"""The invariants of a finished run: nothing is left to happen, so nothing may be left undone."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.shared.library.records import Status
from services.summarizer.history import HISTORY, sync_at
from tools.recount import recounted
from tools.simulator.every_file import EveryFile
from tools.simulator.faults import Fault
from tools.simulator.gopro import CANARY, Medium
from tools.simulator.invariants import SLACK, Invariants

if TYPE_CHECKING:
    from tools.simulator.world import World

# Of a sync, as its record in the history has them.
_KEPT = (
    *("requested_at", "outcome", "closed_because", "listed", "stored", "downloaded", "already_stored", "failed"),
    *("known_losses", "skipped", "pending", "deferred", "bytes"),
)
_LISTED = ("listed", "stored", "pending", "deferred")
_LATE = 600.0  # seconds
_PASSING = ("MediaDownloadPaused", "LibraryListingPaused", "SessionRejected")
_MANY_HOPS = 16
_RANK = {"DISCOVERED": 0, "SKIPPED": 1, "FAILED": 2, "DOWNLOADED": 3}
_RESULT_OF = {
    "MediaDiscovered": "DISCOVERED",
    "MediaDownloadSkipped": "SKIPPED",
    "MediaDownloadFailed": "FAILED",
    "MediaDownloaded": "DOWNLOADED",
}
_TALLIED: Mapping[str, str] = {Status.STORED: "DOWNLOADED", Status.FAILED: "FAILED"}
_ANNOUNCEMENTS = ("SyncCompleted", "SyncFailed", "SyncAmended")


class Ending:
    """Checks the final state of a run against its history."""

    def __init__(self, world: "World", watched: Invariants) -> None:
        self.world = world
        self.violated = watched.violated
        self._watched = watched

    def check(self) -> None:
        self._check_settled()
        self._check_requests()
        for sync_id, sync in self._syncs().items():
            self._check_sync(sync_id, sync)
        self._check_history()
        self._check_library()
        self._check_uploads()
        self._check_receives()
        self._check_every_file()
        self._check_calm()
        self._count_scenarios()

    def _check_calm(self) -> None:
        """Check that nothing fails in a run without faults."""
        if self.world.plan.name != "calm" or not self._has_access():
            return
        if self.world.sqs.dead:
            self.violated("I14", "dead letters in a calm run")
        good = {m.id for m in self.world.gopro.ever() if m.available and m.seconds_per_byte < 20}
        for sync_id, sync in self._syncs().items():
            if sync["state"] != "CLOSED" or sync.get("expected") is None:
                continue  # covered by another invariant, or a refused request
            media = self.world.media_of(sync_id)
            failed = {i for i, m in media.items() if m["state"] in ("DISCOVERED", "FAILED")}
            if sync["closed_because"] not in ("complete", "cancelled") or failed & good:
                self.violated("I14", f"{sync_id} closed as {sync['closed_because']} without {failed & good}, in calm")

    def _check_every_file(self) -> None:
        """Check that every file that the origin would have given is stored, or named with its reason."""
        filtered = {str(a.sync_id) for a in self.world.plan.actions if a.detail.get("filters")}
        closed = {
            sync_id: sync
            for sync_id, sync in self._syncs().items()
            if sync["state"] == "CLOSED" and f"listings/{sync_id}.json" in self.world.s3.objects
        }
        if filtered:
            return
        self._check_listed(closed)
        if not closed:
            return
        last = max(closed, key=lambda sync_id: self._watched.frozen_at[f"listings/{sync_id}.json"])
        began = self._watched.listing_began.get(last, self.world.plan.start)
        if closed[last]["closed_because"] == "cancelled":
            return
        states = self._library_between(began, self._watched.frozen_at[f"listings/{last}.json"])
        every_file = EveryFile(self.world, self._watched)
        for wrong in every_file.unaccounted(last, states):
            self.violated("I17", wrong)

    def _check_listed(self, listed: Mapping[str, Any]) -> None:
        """Check that nothing odd about some media keeps a sync from the others."""
        gopro, plan = self.world.gopro, self.world.plan
        if plan.name != "field" or not self._has_access() or gopro.refused:
            return
        readable = {one.id for one in gopro.library.values() if not one.odd_row and not one.breaks_pages}
        for sync_id, sync in self._syncs().items():
            began = self._watched.listing_began.get(sync_id, plan.start)
            some_could_be_read = any(readable & state.keys() for state in self._library_between(began, began))
            if sync_id not in listed and some_could_be_read and sync.get("closed_because") != "cancelled":
                self.violated("I17", f"{sync_id}: nothing was listed, though GoPro shows media")

    def _has_access(self) -> bool:
        """Return whether there is always a session to be had."""
        plan = self.world.plan
        return plan.access not in ("wrong", "pasted", "empty") and plan.rotates and plan.password_works

    def _syncs(self) -> Mapping[str, dict[str, Any]]:
        return {i["sync_id"]: i for i in self.world.tables["Syncs"].plain() if i["record"] == "sync"}

    def _check_settled(self) -> None:
        world = self.world
        open_syncs = [sync_id for sync_id, sync in self._syncs().items() if sync["state"] == "OPEN"]
        if open_syncs:
            self.violated("I8", f"never closed: {', '.join(open_syncs)}")
        unsettled = [sync_id for sync_id in world.unsettled() if sync_id not in open_syncs]
        if unsettled:
            self.violated("I8", f"closed and never announced, or never settled: {', '.join(unsettled)}")
        waiting = {name: len(function.queue.messages) for name, function in world.functions.items()}
        if any(waiting.values()):
            self.violated("I8", f"messages that are never done with: {waiting}")

    def _check_requests(self) -> None:
        """Check that every request has a sync, and that the schedule and its catch-up request the same one."""
        syncs = set(self._syncs())
        scheduled = {sync_id for sync_id in syncs if sync_id.startswith("scheduled-")}
        if len(scheduled) > 1:
            self.violated("I16", f"one night has several syncs: {sorted(scheduled)}")
        if self._something_was_lost():
            return
        for request in self.world.events("SyncRequested"):
            content = request.read()
            asked = content.get("sync_id") or content.get("data", {}).get("sync_id") or request.id
            if not (scheduled if request.source == "cloud-sync.schedule" else {asked, request.id} & syncs):
                self.violated("I16", f"nothing is known of the sync that {request.id} asked for")

    def _check_sync(self, sync_id: str, sync: Mapping[str, Any]) -> None:
        media = self.world.media_of(sync_id)
        self._check_counters(sync_id, sync, media)
        self._check_facts(sync_id, media)
        if sync["state"] != "CLOSED":
            return
        summary = sync["summary"]
        self._check_announced(sync_id, sync, media)
        self._check_times(sync_id, summary)
        if summary["closed_because"] == "complete" and summary["outstanding"]:
            self.violated("I2", f"{sync_id} closed as complete with {summary['outstanding']} outstanding")
        if (summary["closed_because"] == "complete" and sync["cancel_requested_at"]) or (
            summary["closed_because"] == "cancelled" and summary["outstanding"]
        ):
            self.violated("I18", f"{sync_id} was cancelled, and closed as {summary}")
        self._check_listing(sync_id, sync, media)
        # A delivery that takes longer than the time between two reviews looks like a stall.
        late = summary["closed_because"] == "stalled" and self.world.bus.latest > _LATE
        if summary["closed_because"] in ("deadline", "stalled") and not self._something_was_lost() and not late:
            self.violated("I2", f"{sync_id} closed as {summary['closed_because']}, and nothing was lost on the way")

    def _something_was_lost(self) -> bool:
        """Return whether a missing result has a cause: a dropped event, or a message among the dead letters."""
        dropped = any(strike.fault is Fault.DROPPED for strike in self.world.faults.struck)
        return dropped or any("poison" not in message.body for _, message in self.world.sqs.dead)

    def _check_counters(self, sync_id: str, sync: Mapping[str, Any], media: Mapping[str, Any]) -> None:
        counted = recounted(media.values())
        wrong = {name: (sync[name], count) for name, count in counted.items() if sync[name] != count}
        if wrong:
            self.violated("I5", f"{sync_id}: counters (kept, counted): {wrong}")

    def _check_facts(self, sync_id: str, media: Mapping[str, Any]) -> None:
        """Check that each medium has the highest-ranking result of its facts and of the library table."""
        facts: dict[str, set[tuple[str, int]]] = defaultdict(set)  # (state, bytes)
        for event in self.world.bus.archive:
            if event.name in _RESULT_OF:
                content = event.read()
                if content["metadata"]["sync_id"] == sync_id:
                    data = content["data"]
                    facts[data["media_id"]].add((_RESULT_OF[event.name], data.get("bytes", 0)))
        for media_id, said in facts.items():
            kept, highest = (
                media.get(media_id, {}).get("state"),
                max((state for state, _ in said), key=lambda state: _RANK[state]),
            )
            if (kept is None or _RANK[kept] < _RANK[highest]) and not self._something_was_lost():
                self.violated("I5", f"{sync_id}: {media_id} is {kept}; a fact says {highest}")
        for media_id, medium in media.items():
            known = {
                (_TALLIED[status], size)
                for status, by, size in self._watched.results[media_id]
                if status == Status.STORED or by == sync_id
            }
            known |= facts[media_id] | {("DISCOVERED", 0)}
            result = medium["state"], medium["bytes"]
            if result not in known:
                self.violated("I5", f"{sync_id}: {media_id} is {result}; what is known of it: {sorted(known)}")

    def _check_announced(self, sync_id: str, sync: Mapping[str, Any], media: Mapping[str, Any]) -> None:
        """Check that the close and each amendment were published and notified."""
        if not sync["announcement"]["notified"]:
            return  # still unsettled, which is reported already
        number = int(sync["announcement"]["number"])
        kinds = self._check_notified(sync_id, number)
        events = [(event.name, event.read()) for event in self.world.bus.archive if event.name in _ANNOUNCEMENTS]
        announced = [(name, content["data"]) for name, content in events if content["metadata"]["sync_id"] == sync_id]
        closing = "SyncFailed" if sync["outcome"] == "failed" else "SyncCompleted"
        if (closing, sync["summary"]) not in announced:
            self.violated("I8", f"{sync_id} closed, and no event said so")
        if any(name != "SyncAmended" and (name, data) != (closing, sync["summary"]) for name, data in announced):
            self.violated("I1", f"{sync_id} is announced otherwise than by its summary")
        if kinds - {closing, "SyncAmended"}:
            self.violated("I1", f"{sync_id} ended by {closing}, and was notified as {kinds}")
        amendments = [data for name, data in announced if name == "SyncAmended"]
        if {data["number"] for data in amendments} != set(range(1, number + 1)):
            self.violated("I8", f"{sync_id}: not every one of its {number} amendments was announced")
        late = {media_id: m["state"] for media_id, m in media.items() if m.get("late") is not None}
        recovered = {media_id for data in amendments for media_id in data["recovered"]}
        named = recovered.union(*(data["failed"] for data in amendments))
        if named != set(late) or any(late[media_id] != "DOWNLOADED" for media_id in recovered):
            self.violated("I9", f"{sync_id}: late results are {late}; amendments name {named}, as stored {recovered}")

    def _check_notified(self, sync_id: str, number: int) -> set[str]:
        """Check that operators were notified, unless that was decided otherwise. Returns of which events."""
        sent = [n for n in self.world.topic.sent if sync_id in n.attributes["sync_id"].replace(",", " ").split()]
        if any(CANARY in notification.body + notification.subject for notification in sent):
            self.violated("I6", "a secret in a notification")
        kinds = {notification.attributes["event"] for notification in sent}
        loud = {one for one in range(number + 1) if (sync_id, one) not in self._watched.silenced}
        if 0 in loud and not {"SyncCompleted", "SyncFailed"} & kinds:
            self.violated("I8", f"{sync_id} closed, and nobody was notified")
        if loud - {0} and "SyncAmended" not in kinds:
            self.violated("I8", f"{sync_id} was amended, and nobody was notified")
        said = [event.read()["data"] for event in self.world.bus.archive if event.name == "OperatorsNotified"]
        unsaid = {(n.subject, n.body) for n in sent} - {(data["subject"], data["text"]) for data in said}
        if unsaid:
            self.violated("I8", f"{sync_id}: no event says that these notifications were sent: {unsaid}")
        return kinds

    def _check_times(self, sync_id: str, summary: Mapping[str, Any]) -> None:
        took = datetime.fromisoformat(summary["closed_at"]) - datetime.fromisoformat(summary["requested_at"])
        deadline = float(self.world.wires.services["summarizer"].environment["SYNC_DEADLINE_HOURS"]) * 3600
        limit = deadline + self.world.wires.review_seconds + SLACK + 2 * self.world.plan.skew
        if took.total_seconds() > limit:
            self.violated("I8", f"{sync_id} closed after {took}")

    def _check_listing(self, sync_id: str, sync: Mapping[str, Any], media: Mapping[str, Any]) -> None:
        """Check that the listing matches a past state of the library, and accounts for each of its media."""
        frozen = self.world.s3.objects.get(f"listings/{sync_id}.json")
        summary = sync["summary"]
        if frozen is None:
            if sync.get("expected") is not None:
                self.violated("I2", f"{sync_id} has an expected number and no frozen listing")
            return
        listing = json.loads(frozen.body)
        admitted = {medium["media_id"] for medium in listing["media"]}
        if listing["listed"] != listing["stored"] + listing["pending"] + listing["deferred"] + len(admitted):
            self.violated("I2", f"{sync_id}: media that the listing doesn't account for")
        if sync.get("expected") not in (None, len(admitted)):
            self.violated("I5", f"{sync_id}: {sync['expected']} expected; the frozen listing has {len(admitted)}")
        wrong = {name: (summary[name], listing[name]) for name in _LISTED if summary[name] != listing[name]}
        if listing["warnings"] and not summary["warnings"]:
            wrong["warnings"] = summary["warnings"], listing["warnings"]
        # A sync that was cancelled early, or failed, may have closed before its listing was heard of.
        unheard_of = summary["closed_because"] == "cancelled" and not summary["discovered"]
        if wrong and summary["outcome"] != "failed" and not unheard_of:
            self.violated("I2", f"{sync_id}: of the library (summary, frozen listing): {wrong}")
        if set(media) - admitted:
            self.violated("I5", f"{sync_id}: media that it never took on: {sorted(set(media) - admitted)}")
        if summary["closed_because"] == "complete":
            unsettled = admitted - {m["media_id"] for m in media.values() if m["state"] != "DISCOVERED"}
            if unsettled or sync.get("expected") is None:
                self.violated("I2", f"{sync_id} closed as complete without results of {sorted(unsettled)}")
        self._check_against_library(sync_id, listing, admitted)

    def _check_against_library(self, sync_id: str, listing: Mapping[str, Any], admitted: set[str]) -> None:
        began = self._watched.listing_began.get(sync_id, self.world.plan.start)
        frozen_at = self._watched.frozen_at[f"listings/{sync_id}.json"]
        states = self._library_between(began, frozen_at)
        # A walk through the newest media cannot see that one that waits was deleted, and another added below its pages.
        is_full = listing["walk"] == "full"
        known = states if is_full else self._library_between(self.world.plan.start, frozen_at)
        if not admitted <= {medium_id for state in known for medium_id in state}:
            self.violated("I2", f"{sync_id}: listed media that were never in the library")
        filtered = any(a.detail.get("filters") for a in self.world.plan.actions if a.detail)
        if listing["warnings"] or listing["known_warnings"] or filtered:
            return
        fits = [
            state for state in states if listing["listed"] == len(state) and (not is_full or admitted <= set(state))
        ]
        if not fits:
            sizes = [len(state) for state in states]
            self.violated("I2", f"{sync_id}: {listing['listed']} listed without a warning; the library had {sizes}")

    def _library_between(self, began: float, ended: float) -> list[Mapping[str, int]]:
        history = self.world.gopro.history
        ends = [*(when for when, _ in history[1:]), float("inf")]
        return [state for (when, state), end in zip(history, ends, strict=True) if when <= ended and end >= began]

    def _check_history(self) -> None:
        """Check that the history has one record of each closed sync, with the counts that the sync has."""
        closed = {sync_id: sync for sync_id, sync in self._syncs().items() if sync["state"] == "CLOSED"}
        records = self.world.tables["Syncs"].plain(HISTORY)
        if sorted(sync_at(record["record"]) for record in records) != sorted(closed):
            self.violated("I19", f"closed are {sorted(closed)}, and the history has {[r['record'] for r in records]}")
            return
        for record in records:
            sync = closed[sync_at(record["record"])]
            kept = {name: record[name] for name in _KEPT if name in record}
            should = {name: sync[name] for name in _KEPT if name in sync}
            if kept != should:
                self.violated("I19", f"{record['record']}: the history has {kept}, and the sync is {should}")
            media = self.world.media_of(sync_at(record["record"]))
            own = [m for m in media.values() if m["state"] == "DOWNLOADED" and not m["already_stored"]]
            told = sum(kind["media"] for kind in record["kinds"])
            # A sync may take a medium over from another one after its close, which no amendment reports.
            if told > len(own):
                self.violated("I19", f"{record['record']}: {told} by camera and type, of {len(own)} that are stored")

    def _check_library(self) -> None:
        """Check that the bucket has every file that the library table calls stored, with the bytes of one version."""
        world = self.world
        records: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for item in world.tables["Library"].plain():
            records[item["media_id"]][item["item"]] = item
        media = {medium.id: medium for medium in self.world.gopro.ever()}
        for media_id, items in records.items():
            medium = media[media_id]
            for number, record in items.items():
                if number and record["status"] == "STORED":
                    self._check_file(medium, record)
            own = items.get(0)
            if own and own["status"] == "STORED":
                stored = [i for n, i in items.items() if n and i["status"] == "STORED"]
                raws = sum(file.is_raw for file in medium.offered) if not medium.changed_at else 0
                if len(stored) < own.get("item_count", 0) + raws or len(stored) < own["files_total"]:
                    self.violated("I3", f"{media_id} is STORED with {len(stored)} files")

    def _check_file(self, medium: Medium, record: Mapping[str, Any]) -> None:
        stored = self.world.s3.objects.get(record["key"])
        if stored is None or not medium.has_had(stored.body, record["origin_etag"], record["origin"]):
            self.violated("I3", f"{medium.id} {record['origin']} is STORED, and its object isn't that file")
        elif (len(stored.body), stored.checksum, stored.etag) != (record["size"], record["checksum"], record["etag"]):
            self.violated("I3", f"{medium.id} {record['origin']}: the record of its object is wrong")

    def _check_uploads(self) -> None:
        """Check that a library item names every upload, unless the upload's creator could not record its id."""
        named = {item.get("upload_id") for item in self.world.tables["Library"].plain()}
        for upload in self.world.s3.uploads.values():
            if upload.id in named:
                continue
            excuse = upload.excuse or ("its maker was killed" if upload.by.name in self.world.killed else "")
            if excuse and upload.id not in self._watched.named_uploads:
                self.world.trace.reach(f"upload left to the lifecycle rule: {excuse}")
            else:
                self.violated("I10", f"the upload {upload.id} of {upload.key} is named by no library item")

    def _check_receives(self) -> None:
        for service in self.world.wires.services.values():
            receives, message_id = self.world.sqs.queues[service.inbox].received_most
            if receives > service.max_receives:
                self.violated("I7", f"{service.name} received {message_id} {receives} times")

    def _count_scenarios(self) -> None:
        """Count the scenarios that the run's final state shows."""
        reach = self.world.trace.reach
        for sync in self._syncs().values():
            number = (sync.get("announcement") or {"number": 0})["number"]
            tried = {
                f"sync closed: {sync.get('closed_because')}": True,
                "media deferred": sync["deferred"],
                "media skipped": sync["skipped"],
                "media pending": sync["pending"],
                "medium stored by another sync": sync["already_stored"],
                "amendment sent": number,
                "second amendment sent": number > 1,
                "nothing to do": sync.get("expected") == 0,
                "listing with a warning": sync["warnings"],
            }
            for scenario in (name for name, happened in tried.items() if happened):
                reach(scenario)
        for listed in self.world.events("LibraryListed"):
            if listed.source != "cloud-sync.operator":
                reach(f"library listed by a {listed.read()['data'].get('walk', 'full')} walk")
        for event in self.world.bus.archive:
            if event.name in _PASSING and event.source != "cloud-sync.operator":
                reach(f"{event.name} published")
                if event.read()["metadata"]["hops"] > _MANY_HOPS:
                    reach("more pauses than Lambda lets a chain have")
        for name, _ in self.world.sqs.dead:
            reach(f"dead letter: {name}")
        if any(item.get("part_count", 1) > 1 for item in self.world.tables["Library"].plain()):
            reach("file of several parts stored")
