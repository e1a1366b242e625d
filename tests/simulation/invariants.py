"""What has to hold at every moment of a run. `ending` has what has to hold once it is over.

I1   a sync has one closed summary            I9   nothing changes a closed summary; what comes late is amended
I2   each medium has an outcome               I10  every multipart upload is named by a library item
I3   STORED means: the right bytes are there  I11  what has one id says one thing
I4   nothing is written over, or stored twice I12  a session isn't used before its refresh token is safe
I5   counters are what the facts make them    I13  one worker at a time renews the session, and only when it must
I6   no secret goes anywhere                  I14  where nothing goes wrong nothing fails
I7   hops and attempts are bounded            I15  what is stored is not fetched again
I8   every sync closes in time, and is told   I16  every request is a sync, and a night is one
                                              I0   no error that nobody foresaw
"""

import json
import traceback
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.shared.library import FAILED, STORED
from services.shared.slices import MAX_HOPS
from services.summarizer.closing import NAMED
from tests.recount import recounted
from tests.simulation.bus import Accepted
from tests.simulation.dynamodb import Table
from tests.simulation.expressions import Item
from tests.simulation.gopro import CANARY
from tests.simulation.s3 import StoredObject

if TYPE_CHECKING:
    from tests.simulation.virtual import Process
    from tests.simulation.world import World

SLACK = 400.0  # seconds: deliveries and clocks
# Event types that say the same whenever they have the same id.
_FIXED = ("SyncCompleted", "SyncFailed", "SyncAmended", "MediaDiscovered", "LibraryListed")
# What the services call unforeseen though the simulator makes it happen.
_FORESEEN = ("ReadTimeoutError", "IdempotencyPersistenceLayerError", "ReviewIncomplete")
# What the services' logs tell of, where nothing else does.
_LOGGED = {
    "A file starts over": "file started over",
    "A replayed SyncRequested is passed over": "replayed request passed over",
    "An unreadable message goes to the dead letters": "unreadable message",
    "Another worker has taken over; this one says nothing more": "worker fenced",
    "The heartbeat failed; it is tried again": "heartbeat failed",
    "The library table knows results that were not told": "review learned from the library table",
    "The listing is frozen already; it is told again": "frozen listing told again",
    "The message keeps its visibility": "visibility could not be changed",
    "The refresh token is dead; the password is tried": "password in place of a dead refresh token",
    "The upload begun earlier is gone": "upload begun earlier is gone",
    "The whole batch failed; it comes again": "whole batch failed",
    "This sync has begun already": "sync asked for again",
    "Waiting in the lane": "waited in the lane",
    "A fact came while nothing seemed to move": "fact came in a quiet review",
}


@dataclass(frozen=True)
class Violation:
    """Something that had to hold and didn't."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


class Invariants:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.violations: list[Violation] = []
        self._by_event_id: dict[str, tuple[str, str]] = {}
        self._closed: set[str] = set()
        self.listing_began: dict[str, float] = {}  # by sync id
        self._copies: dict[tuple[str, ...], list[str]] = defaultdict(list)  # keys of objects by what they are copies of
        self.named_uploads: set[str | None] = set()  # those that a library item ever named
        self.frozen_at: dict[str, float] = {}  # by key
        # The lease for a renewal, and the mark of a sync that is being begun, rest on that: a known limit.
        self._clocks_agree = world.plan.skew <= 1
        self._stored_since: dict[str, float] = {}  # by media id, where the library table says STORED
        self.results: dict[str, set[tuple[str, str, int]]] = defaultdict(set)  # by media id, all that it ever said
        self._password_turn = 0.0
        self._renewing: Process | None = None  # who has the lease for a renewal of the session
        self._most_receives = world.wires.services["downloader"].max_receives
        world.bus.on_event.append(self._on_event)
        world.database.on_write.append(self._on_write)
        world.s3.on_put.append(self._on_put)
        world.secrets.on_put.append(self._on_secret)
        world.gopro.on_grant.append(self._on_grant)
        world.gopro.on_use.append(self._on_use)
        world.gopro.on_open.append(self._on_open)
        world.gopro.on_password.append(self._on_password)

    def violated(self, invariant: str, text: str) -> None:
        self.violations.append(Violation(invariant, text))
        self.world.trace.add("VIOLATED", invariant, text)

    # While it runs

    def on_log(self, level: str, message: str, more: Mapping[str, Any], error: BaseException | None) -> None:
        """Sees every line of every log."""
        if message in _LOGGED:
            self.world.trace.reach(_LOGGED[message])
        text = f"{message} {more}"
        seen: BaseException | None = error
        while seen is not None:  # the traceback that the logger would write holds each of these
            text += f" {seen}"
            seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        if CANARY in text:
            self.violated("I6", f"a secret in the log: {text}")
        unforeseen = "an unforeseen error: " in text and not any(name in text for name in _FORESEEN)
        if error is not None and _is_a_bug(error):
            self.unforeseen(error)
        elif unforeseen:
            self.violated("I0", f"an error that nobody foresaw: {text}")

    def unforeseen(self, error: BaseException) -> None:
        self.violated("I0", "an error that nobody foresaw: " + "".join(traceback.format_exception(error)))

    def _on_event(self, event: Accepted) -> None:
        if CANARY in event.detail:
            self.violated("I6", f"a secret in {event.name}")
        if event.source in ("cloud-sync.operator", "cloud-sync.schedule"):
            return
        content = event.read()
        metadata, data = content["metadata"], content["data"]
        if metadata["hops"] > MAX_HOPS:
            self.violated("I7", f"{event.name} after {metadata['hops']} hops")
        if event.name in _FIXED:
            self._check_repetition(event.name, metadata["event_id"], json.dumps(data, sort_keys=True))
        if event.name == "SessionAuthenticated":
            self.listing_began.setdefault(metadata["sync_id"], self.world.scheduler.now)
        elif event.name in ("SyncCompleted", "SyncFailed") and metadata["sync_id"] not in self._closed:
            self.violated("I1", f"{metadata['sync_id']} is told to be closed and isn't")
        elif event.name == "MediaDownloadFailed" and data["attempts"] > self._most_receives:
            self.violated("I7", f"{data['media_id']} failed after {data['attempts']} attempts")
        elif event.name == "MediaDownloaded":
            self._check_stored_files(data["media_id"], data["files"])
            if metadata["hops"]:
                self.world.trace.reach("paused download resumed")

    def _check_repetition(self, name: str, event_id: str, said: str) -> None:
        before = self._by_event_id.setdefault(event_id, (name, said))
        if before != (name, said):
            invariant = "I1" if name in ("SyncCompleted", "SyncFailed") else "I11"
            self.violated(invariant, f"two {name} of one id differ: {before[1]} and {said}")

    def _check_stored_files(self, media_id: str, files: Any) -> None:
        if not files:
            self.violated("I3", f"{media_id} is told to be downloaded without a file")
        for file in files:
            stored = self.world.s3.objects.get(file["key"])
            if stored is None or len(stored.body) != file["size"] or stored.checksum != file["checksum"]:
                self.violated("I3", f"{media_id}: {file['key']} is not what MediaDownloaded says")

    def _on_write(self, table: Table, before: Item | None, after: Item | None) -> None:
        if CANARY in repr(after):
            self.violated("I6", f"a secret in the table {table.name}")
        tables = self.world.tables
        if table is tables["Authenticator"] and (after or before or {}).get("id") == "refresh-lease":
            self._renewing = self.world.scheduler.running().process if after else None
        elif table is tables["Library"] and after is not None:
            self.named_uploads.add(after.get("upload_id"))
            if after["item"] == 0:
                self._on_medium(after)
        elif table is tables["Syncs"] and after is not None and after["record"] == "sync":
            self._on_sync(before or {}, after)

    def _on_medium(self, after: Item) -> None:
        if after.get("status") in (STORED, FAILED):
            result = after["status"], after["sync_id"], int(after.get("bytes_total", 0))
            self.results[after["media_id"]].add(result)
        if after.get("status") == STORED:
            self._stored_since.setdefault(after["media_id"], self.world.scheduler.now)
        else:
            self._stored_since.pop(after["media_id"], None)

    def _on_sync(self, before: Item, after: Item) -> None:
        sync_id = str(after["sync_id"])
        if before.get("state") == "CLOSED":
            for name in ("state", "summary", "closed_because", "outcome"):
                if before.get(name) != after.get(name):
                    self.violated("I9", f"{sync_id}: {name} of a closed sync was changed")
        elif after.get("state") == "CLOSED":
            self._closed.add(sync_id)
            self._check_summary(sync_id, after)

    def _check_summary(self, sync_id: str, sync: Item) -> None:
        """At the moment of the close the summary says what there is of the sync's media."""
        media = self.world.media_of(sync_id)
        counted = recounted(media.values())
        expected = sync.get("expected")
        discovered = counted["discovered"] if expected is None else int(expected)
        outstanding = discovered - counted["downloaded"] - counted["failed"]
        unsuccessful = counted["failed"] + outstanding
        said = {
            **counted,
            "outcome": "failed" if expected is None else "partial" if unsuccessful else "completed",
            "closed_because": sync["closed_because"],
            "discovered": discovered,
            "outstanding": outstanding,
            "failures_total": unsuccessful,
        }
        summary = sync["summary"]
        wrong = {name: (summary[name], value) for name, value in said.items() if summary[name] != value}
        if wrong:
            self.violated("I2", f"{sync_id}: the summary (says, should say): {wrong}")
        named = {failure["media_id"]: failure["reason"] for failure in summary["failures"]}
        unstored = {media_id for media_id, medium in media.items() if medium["state"] != "DOWNLOADED"}
        if (len(unstored) <= NAMED and set(named) != unstored) or not all(named.values()):
            self.violated("I2", f"{sync_id}: the summary names {named} where {sorted(unstored)} are not stored")

    def _on_put(self, key: str, before: StoredObject | None, after: StoredObject) -> None:
        if CANARY in repr(after.metadata) or CANARY.encode() in after.body:
            self.violated("I6", f"a secret in the object {key}")
        if before is not None and (key.startswith("gopro/") or key in self.frozen_at):
            self.violated("I4", f"{key} was written over")
        if key.startswith("listings/") and key.count("/") == 1 and key != "listings/_last.json":
            self.frozen_at.setdefault(key, self.world.scheduler.now)
        if key.startswith("gopro/"):
            self._check_object(key, after)

    def _check_object(self, key: str, stored: StoredObject) -> None:
        versions = {
            (body, etag)
            for medium in self.world.gopro.known(stored.metadata.get("media-id", ""))
            for file in medium.files
            for body, etag in file.versions
        }
        etag = stored.metadata.get("origin-etag", "")
        if (stored.body, etag) not in versions:
            self.violated("I3", f"{key} holds bytes that no version of its medium has")
        mark, objects = _mark(stored), self.world.s3.objects
        others = [other for other in self._copies[mark] if other != key and _mark(objects[other]) == mark]
        twins = [other for other in others if objects[other].body == stored.body]
        if twins:
            self.violated("I4", f"{key} holds what {twins[0]} holds: stored twice")
        self._copies[mark].append(key)

    def _on_secret(self, secret: str, content: str) -> None:
        kept = json.loads(content)
        token = kept.get("access_token", "")
        grants = self.world.gopro.grants
        if grants and token == grants[-1][1] and not kept.get("dead_because"):
            self._check_refresh_token_kept("a session is kept")

    def _on_use(self, token: str) -> None:
        grants = self.world.gopro.grants
        if grants and token == grants[-1][1]:
            self._check_refresh_token_kept("a session is used")

    def _check_refresh_token_kept(self, when: str) -> None:
        """The newest refresh token has to be safe before the session that came with it is cached, or used."""
        if not self._clocks_agree:
            return
        account = self.world.gopro.account
        kept = [json.loads(content or "{}") for content in self.world.secrets.content.values()]
        refresh_tokens = {content.get("refresh_token") for content in kept}
        if account.refresh_token not in refresh_tokens:
            self.violated("I12", f"{when} before its refresh token is stored")

    def _on_grant(self, access: str) -> None:
        """A login is asked for only when the session at hand won't do; one worker at a time sees to that."""
        world = self.world
        if not self._clocks_agree:
            return
        if self._renewing is not world.scheduler.running().process:
            self.violated("I13", "a session is renewed by a worker whose turn it isn't")
        for content in world.secrets.content.values():
            kept = json.loads(content or "{}")
            token = kept.get("access_token", "")
            if not token or "client_id" in kept or kept.get("dead_because") or not world.gopro.is_good(token):
                continue
            left = world.gopro.account.access[token] - world.scheduler.now
            life = world.gopro.account.lifetime
            if left > life - min(600, life / 2) + SLACK / 4 and token != f"{CANARY}access-pasted":
                self.violated("I13", "a session was renewed that had just begun, and is good")

    def _on_open(self, media_id: str) -> None:
        """What is stored is not fetched again, but by a worker that had begun before it was."""
        process = self.world.scheduler.running().process
        if self._stored_since.get(media_id, float("inf")) < process.began:
            self.violated("I15", f"{media_id} is fetched again though it is stored")

    def _on_password(self) -> None:
        """Logins by password are a minute apart: GoPro blocks accounts for less.

        What counts is when each took its turn: a worker that is frozen between that and its call comes later.
        """
        turns = self.world.tables["Authenticator"].items
        turn = float(turns.get(("password-grant",), {}).get("tried_at", "-inf"))
        if turn - self._password_turn < 59 and self.world.plan.skew <= 1:
            self.violated("I13", "two logins by password within a minute")
        self._password_turn = turn


def _mark(stored: StoredObject) -> tuple[str, ...]:
    return tuple(stored.metadata.get(name, "") for name in ("media-id", "item", "origin-etag", "origin-size"))


def _is_a_bug(error: BaseException) -> bool:
    bugs = (AttributeError, KeyError, IndexError, TypeError, NameError, AssertionError, ValueError)
    return isinstance(error, bugs)
