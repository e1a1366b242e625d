"""What has to hold once a run is over: nothing is left to happen, so nothing may be left undone."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.shared.library import FAILED, STORED
from tests.recount import recounted
from tests.simulation.faults import Fault
from tests.simulation.gopro import CANARY, Medium
from tests.simulation.invariants import SLACK, Invariants

if TYPE_CHECKING:
    from tests.simulation.world import World

_LISTED = ("listed", "stored", "pending", "deferred")
_LATE = 600.0  # seconds
_PASSING = ("MediaDownloadPaused", "LibraryListingPaused", "SessionRejected")
_MANY_HOPS = 16
_RANK = {"DISCOVERED": 0, "FAILED": 1, "DOWNLOADED": 2}
_RESULT_OF = {"MediaDiscovered": "DISCOVERED", "MediaDownloadFailed": "FAILED", "MediaDownloaded": "DOWNLOADED"}
_TALLIED = {STORED: "DOWNLOADED", FAILED: "FAILED"}
_TOLD = ("SyncCompleted", "SyncFailed", "SyncAmended")


class Ending:
    """The state at the end of a run, held against all that happened in it."""

    def __init__(self, world: "World", watched: Invariants) -> None:
        self.world = world
        self.violated = watched.violated
        self._watched = watched

    def check(self) -> None:
        self._check_settled()
        self._check_requests()
        for sync_id, sync in self._syncs().items():
            self._check_sync(sync_id, sync)
        self._check_library()
        self._check_uploads()
        self._check_receives()
        self._check_calm()
        self._count_scenarios()

    def _check_calm(self) -> None:
        """Where nothing went wrong, nothing fails."""
        plan = self.world.plan
        if plan.name != "calm" or plan.access in ("wrong", "pasted") or not plan.rotates or not plan.password_works:
            return
        if self.world.sqs.dead:
            self.violated("I14", "dead letters in a calm run")
        good = {m.id for m in self.world.gopro.ever() if m.available and m.seconds_per_byte < 20}
        for sync_id, sync in self._syncs().items():
            if sync["state"] != "CLOSED" or sync.get("expected") is None:
                continue  # another invariant's, or a request that was refused
            failed = {i for i, m in self.world.media_of(sync_id).items() if m["state"] != "DOWNLOADED"}
            if sync["closed_because"] != "complete" or failed & good:
                self.violated("I14", f"{sync_id} closed as {sync['closed_because']} without {failed & good}, in calm")

    def _syncs(self) -> Mapping[str, dict[str, Any]]:
        return {i["sync_id"]: i for i in self.world.tables["Syncs"].plain() if i["record"] == "sync"}

    def _check_settled(self) -> None:
        world = self.world
        open_syncs = [sync_id for sync_id, sync in self._syncs().items() if sync["state"] == "OPEN"]
        if open_syncs:
            self.violated("I8", f"never closed: {', '.join(open_syncs)}")
        untold = [sync_id for sync_id in world.unsettled() if sync_id not in open_syncs]
        if untold:
            self.violated("I8", f"closed and never told, or never finished with: {', '.join(untold)}")
        waiting = {name: len(function.queue.messages) for name, function in world.functions.items()}
        if any(waiting.values()):
            self.violated("I8", f"messages that are never done with: {waiting}")

    def _check_requests(self) -> None:
        """Every request is a sync; the schedule and its catch-up ask for the same one."""
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
        self._check_told(sync_id, sync, media)
        self._check_times(sync_id, summary)
        if summary["closed_because"] == "complete" and summary["outstanding"]:
            self.violated("I2", f"{sync_id} closed as complete with {summary['outstanding']} outstanding")
        self._check_listing(sync_id, sync, media)
        # What is under way for longer than the time between two reviews has stalled as far as anybody can tell.
        late = summary["closed_because"] == "stalled" and self.world.bus.latest > _LATE
        if summary["closed_because"] in ("deadline", "stalled") and not self._something_was_lost() and not late:
            self.violated("I2", f"{sync_id} closed as {summary['closed_because']}, and nothing was lost on the way")

    def _something_was_lost(self) -> bool:
        """Whether there is a reason why a result never came: an event dropped, or a message among the dead letters."""
        dropped = any(strike.fault is Fault.DROPPED for strike in self.world.faults.struck)
        return dropped or any("poison" not in message.body for _, message in self.world.sqs.dead)

    def _check_counters(self, sync_id: str, sync: Mapping[str, Any], media: Mapping[str, Any]) -> None:
        counted = recounted(media.values())
        wrong = {name: (sync[name], count) for name, count in counted.items() if sync[name] != count}
        if wrong:
            self.violated("I5", f"{sync_id}: counters (kept, counted): {wrong}")

    def _check_facts(self, sync_id: str, media: Mapping[str, Any]) -> None:
        """Each medium is what the heaviest of its facts, and of what the library table knew, made of it."""
        facts: dict[str, set[tuple[str, int]]] = defaultdict(set)  # (state, bytes)
        for event in self.world.bus.archive:
            if event.name in _RESULT_OF:
                content = event.read()
                if content["metadata"]["sync_id"] == sync_id:
                    data = content["data"]
                    facts[data["media_id"]].add((_RESULT_OF[event.name], data.get("bytes", 0)))
        for media_id, told in facts.items():
            kept, highest = media.get(media_id, {}).get("state"), max((state for state, _ in told), key=_RANK.get)
            if (kept is None or _RANK[kept] < _RANK[highest]) and not self._something_was_lost():
                self.violated("I5", f"{sync_id}: {media_id} is {kept}; a fact says {highest}")
        for media_id, medium in media.items():
            known = {
                (_TALLIED[status], size)
                for status, by, size in self._watched.results[media_id]
                if status == STORED or by == sync_id
            }
            known |= facts[media_id] | {("DISCOVERED", 0)}
            result = medium["state"], medium["bytes"]
            if result not in known:
                self.violated("I5", f"{sync_id}: {media_id} is {result}; what is known of it: {sorted(known)}")

    def _check_told(self, sync_id: str, sync: Mapping[str, Any], media: Mapping[str, Any]) -> None:
        """The close and each amendment were told: by an event, and by a notification."""
        if not sync["announcement"]["notified"]:
            return  # told already: it is unsettled
        sent = [n for n in self.world.topic.sent if sync_id in n.attributes["sync_id"].replace(",", " ").split()]
        if any(CANARY in notification.body + notification.subject for notification in sent):
            self.violated("I6", "a secret in a notification")
        kinds = {notification.attributes["event"] for notification in sent}
        number = sync["announcement"]["number"]
        if not {"SyncCompleted", "SyncFailed"} & kinds:
            self.violated("I8", f"{sync_id} closed, and nobody was notified")
        if number and "SyncAmended" not in kinds:
            self.violated("I8", f"{sync_id} was amended, and nobody was notified")
        events = [(event.name, event.read()) for event in self.world.bus.archive if event.name in _TOLD]
        told = [(name, content["data"]) for name, content in events if content["metadata"]["sync_id"] == sync_id]
        closing = "SyncFailed" if sync["outcome"] == "failed" else "SyncCompleted"
        if (closing, sync["summary"]) not in told:
            self.violated("I8", f"{sync_id} closed, and no event said so")
        if any(name != "SyncAmended" and (name, data) != (closing, sync["summary"]) for name, data in told):
            self.violated("I1", f"{sync_id} is told to have ended otherwise than by its summary")
        if kinds - {closing, "SyncAmended"}:
            self.violated("I1", f"{sync_id} ended by {closing}, and was notified as {kinds}")
        amendments = [data for name, data in told if name == "SyncAmended"]
        if {data["number"] for data in amendments} != set(range(1, number + 1)):
            self.violated("I8", f"{sync_id}: not every one of its {number} amendments was told")
        late = {media_id: m["state"] for media_id, m in media.items() if m.get("late") is not None}
        recovered = {media_id for data in amendments for media_id in data["recovered"]}
        named = recovered.union(*(data["failed"] for data in amendments))
        if named != set(late) or any(late[media_id] != "DOWNLOADED" for media_id in recovered):
            self.violated("I9", f"{sync_id}: late results are {late}; amendments name {named}, as stored {recovered}")

    def _check_times(self, sync_id: str, summary: Mapping[str, Any]) -> None:
        took = datetime.fromisoformat(summary["closed_at"]) - datetime.fromisoformat(summary["requested_at"])
        deadline = float(self.world.wires.services["summarizer"].environment["SYNC_DEADLINE_HOURS"]) * 3600
        limit = deadline + self.world.wires.review_seconds + SLACK + 2 * self.world.plan.skew
        if took.total_seconds() > limit:
            self.violated("I8", f"{sync_id} closed after {took}")

    def _check_listing(self, sync_id: str, sync: Mapping[str, Any], media: Mapping[str, Any]) -> None:
        """What was listed is a library that there was, and each of its media is accounted for."""
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
        if wrong and summary["outcome"] != "failed":
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
        if not admitted <= {medium_id for state in states for medium_id in state}:
            self.violated("I2", f"{sync_id}: listed media that were never in the library")
        filtered = any(a.detail.get("filters") for a in self.world.plan.actions if a.detail)
        if listing["warnings"] or filtered:
            return
        fits = [state for state in states if listing["listed"] == len(state) and admitted <= set(state)]
        if not fits:
            sizes = [len(state) for state in states]
            self.violated("I2", f"{sync_id}: {listing['listed']} listed without a warning; the library had {sizes}")

    def _library_between(self, began: float, ended: float) -> list[Mapping[str, int]]:
        history = self.world.gopro.history
        ends = [*(when for when, _ in history[1:]), float("inf")]
        return [state for (when, state), end in zip(history, ends, strict=True) if when <= ended and end >= began]

    def _check_library(self) -> None:
        """What the library table says is stored lies in the bucket, whole, and as one of its versions."""
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
                raws = sum(file.origin.startswith("raw_photo") for file in medium.files)
                if len(stored) < own["item_count"] + raws or len(stored) < own["files_total"]:
                    self.violated("I3", f"{media_id} is STORED with {len(stored)} files")

    def _check_file(self, medium: Medium, record: Mapping[str, Any]) -> None:
        stored = self.world.s3.objects.get(record["key"])
        versions = [v for file in medium.files if file.origin == record["origin"] for v in file.versions]
        if stored is None or (stored.body, record["origin_etag"]) not in versions:
            self.violated("I3", f"{medium.id} {record['origin']} is STORED, and its object isn't that file")
        elif (len(stored.body), stored.checksum, stored.etag) != (record["size"], record["checksum"], record["etag"]):
            self.violated("I3", f"{medium.id} {record['origin']}: the record of its object is wrong")

    def _check_uploads(self) -> None:
        """Every upload is named by a library item, but those whose maker could not get to write down their ids."""
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
        """What this run has tried, as far as its end tells."""
        reach = self.world.trace.reach
        for sync in self._syncs().values():
            number = (sync.get("announcement") or {"number": 0})["number"]
            tried = {
                f"sync closed: {sync.get('closed_because')}": True,
                "media deferred": sync["deferred"],
                "media pending": sync["pending"],
                "medium stored by another sync": sync["already_stored"],
                "amendment sent": number,
                "second amendment sent": number > 1,
                "nothing to do": sync.get("expected") == 0,
                "listing with a warning": sync["warnings"],
            }
            for scenario in (name for name, happened in tried.items() if happened):
                reach(scenario)
        for event in self.world.bus.archive:
            if event.name in _PASSING and event.source != "cloud-sync.operator":
                reach(f"{event.name} published")
                if event.read()["metadata"]["hops"] > _MANY_HOPS:
                    reach("more pauses than Lambda lets a chain have")
        for name, _ in self.world.sqs.dead:
            reach(f"dead letter: {name}")
        if any(item.get("part_count", 1) > 1 for item in self.world.tables["Library"].plain()):
            reach("file of several parts stored")
