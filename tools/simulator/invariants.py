"""The invariants of every moment of a run. `ending` has those of a finished run.

I1   a sync has one closed summary            I9   nothing changes a closed summary; what comes late is amended
I2   each medium has an outcome               I10  every multipart upload is named by a library item
I3   STORED means: the right bytes are there  I11  what has one id says one thing
I4   nothing is written over, or stored twice I12  a session isn't used before its refresh token is safe
I5   counters are what the facts make them    I13  one worker at a time renews the session, and only when it must
I6   no secret goes anywhere                  I14  where nothing goes wrong nothing fails
I7   hops and attempts are bounded            I15  what is stored is not fetched again
I8   every sync closes in time, announced     I16  every request is a sync, and a night is one
I0   no error that nobody foresaw             I17  every file is stored, or named with its reason
                                              I18  nothing of a cancelled sync is begun
                                              I19  the history has each closed sync once, as it is
"""

import json
import traceback
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from services.shared.inbox.heartbeat import MAX_HOPS
from services.shared.inbox.inbox import Outcome
from services.shared.library.records import Status
from services.summarizer.closing import NAMED
from services.summarizer.news import REPEATED_AFTER
from tools.recount import recounted
from tools.simulator.bus import Accepted
from tools.simulator.dynamodb import Table
from tools.simulator.expressions import Item
from tools.simulator.gopro import CANARY
from tools.simulator.s3 import StoredObject

if TYPE_CHECKING:
    from tools.simulator.virtual import Process
    from tools.simulator.world import World

SLACK = 400.0  # seconds: deliveries and clocks
# Event types with the same content whenever they have the same id.
_FIXED = ("SyncCompleted", "SyncFailed", "SyncAmended", "MediaDiscovered", "LibraryListed")
# Log events, and outcomes of messages, that show which scenarios a run has reached, where nothing else does.
LOGGED = frozenset(
    {
        "file_restarted",
        "frozen_listing_found",
        "heartbeat_failed",
        "missed_results_found",
        "refresh_token_dead",
        "sync_begun_before",
        "upload_gone",
        "visibility_unchanged",
        "waiting_for_gopro",
        Outcome.FENCED,
        Outcome.IGNORED,
        Outcome.UNREADABLE,
    }
)


@dataclass(frozen=True)
class Violation:
    """An invariant that was violated."""

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
        self._cancelled_at: dict[str, float] = {}  # by sync id
        self.listing_began: dict[str, float] = {}  # by sync id
        self._copies: dict[tuple[str, ...], list[str]] = defaultdict(list)  # object keys by the file they are copies of
        self.named_uploads: set[str | None] = set()  # every upload that a library item has named
        self.frozen_at: dict[str, float] = {}  # by key
        # The renewal lease, and the mark of a sync that is starting, need synchronized clocks: a known limit.
        self._clocks_agree = world.plan.skew <= 1
        self._stored_since: dict[str, float] = {}  # by media id, since the library table says STORED
        self.results: dict[str, set[tuple[str, str, int]]] = defaultdict(set)  # by media id, past and present
        self.silenced: dict[tuple[str, int], str] = {}  # why operators were not notified, by sync id and number
        self._told_at = float("-inf")  # when operators were last told of something that is wrong
        self._password_turn = 0.0
        self._renewing: Process | None = None  # holder of the lease for a renewal of the session
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

    def on_log(self, event: str, more: Mapping[str, Any]) -> None:
        """Check every log line of every service."""
        for scenario in LOGGED & {event, more.get("outcome", "")}:
            self.world.trace.reach(str(scenario))
        text = f"{event} {more}"
        if CANARY in text:
            self.violated("I6", f"a secret in the log: {text}")
        # The services log unforeseen errors with these words; the simulator itself causes the time-outs.
        if "unexpected error: " in text and "unexpected error: ReadTimeoutError" not in text:
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
            self.violated("I1", f"{metadata['sync_id']} is announced as closed and is not")
        elif event.name == "MediaDownloadFailed" and data["attempts"] > self._most_receives:
            self.violated("I7", f"{data['media_id']} failed after {data['attempts']} attempts")
        elif event.name == "MediaDownloaded":
            self._check_stored_files(data["media_id"], data["files"], may_be_none=data.get("looked_again", False))
            if metadata["hops"]:
                self.world.trace.reach("paused download resumed")

    def _check_repetition(self, name: str, event_id: str, said: str) -> None:
        before = self._by_event_id.setdefault(event_id, (name, said))
        if before != (name, said):
            invariant = "I1" if name in ("SyncCompleted", "SyncFailed") else "I11"
            self.violated(invariant, f"two {name} of one id differ: {before[1]} and {said}")

    def _check_stored_files(self, media_id: str, files: Any, *, may_be_none: bool) -> None:
        """Check what a MediaDownloaded names. A look at a stored medium may have added nothing."""
        if not files and not may_be_none:
            self.violated("I3", f"{media_id} is reported as downloaded without a file")
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
        elif table is tables["Syncs"] and after is not None and after["sync_id"] == "#told" and after["cause"]:
            self._told_at = self.world.scheduler.now

    def _on_medium(self, after: Item) -> None:
        if after.get("status") in (Status.STORED, Status.FAILED):
            result = after["status"], after["sync_id"], int(after.get("bytes_total", 0))
            self.results[after["media_id"]].add(result)
        if after.get("status") == Status.STORED:
            self._stored_since.setdefault(after["media_id"], self.world.scheduler.now)
        else:
            self._stored_since.pop(after["media_id"], None)

    def _on_sync(self, before: Item, after: Item) -> None:
        sync_id = str(after["sync_id"])
        if "announcement" in after:
            self._check_silence(sync_id, after["announcement"])
        if after.get("cancel_requested_at"):
            self._cancelled_at.setdefault(sync_id, self.world.scheduler.now)
        if before.get("state") == "CLOSED":
            for name in ("state", "summary", "closed_because", "outcome"):
                if before.get(name) != after.get(name):
                    self.violated("I9", f"{sync_id}: {name} of a closed sync was changed")
        elif after.get("state") == "CLOSED":
            self._closed.add(sync_id)
            self._check_summary(sync_id, after)

    def _check_silence(self, sync_id: str, announcement: Item) -> None:
        """Check that operators were told something within a day when they are told nothing now."""
        number, silence = int(announcement["number"]), str(announcement.get("silence", ""))
        if not silence or (sync_id, number) in self.silenced:
            return
        self.silenced[sync_id, number] = silence
        self.world.trace.reach("notification withheld")
        ago = self.world.scheduler.now - self._told_at
        if silence != "repeated" or ago > REPEATED_AFTER.total_seconds() + SLACK + 2 * self.world.plan.skew:
            self.violated(
                "I8", f"{sync_id}: operators hear nothing of it ({silence}), and heard something {ago:.0f} s ago"
            )

    def _check_summary(self, sync_id: str, sync: Item) -> None:
        """Check that the summary at the close matches the records of the sync's media."""
        media = self.world.media_of(sync_id)
        counted = recounted(media.values())
        expected = sync.get("expected")
        discovered = counted["discovered"] if expected is None else int(expected)
        outstanding = discovered - counted["downloaded"] - counted["failed"] - counted["skipped"]
        unexpected = counted["failed"] - counted["known_losses"] + outstanding
        is_partial = unexpected or counted["skipped"] or expected is None
        is_cancelled = sync["closed_because"] == "cancelled"
        said = {
            **counted,
            "outcome": "failed" if expected is None and not is_cancelled else "partial" if is_partial else "completed",
            "closed_because": sync["closed_because"],
            "discovered": discovered,
            "outstanding": outstanding,
            "failures_total": counted["failed"] + outstanding,
        }
        summary = sync["summary"]
        wrong = {name: (summary[name], value) for name, value in said.items() if summary[name] != value}
        if wrong:
            self.violated("I2", f"{sync_id}: the summary (says, should say): {wrong}")
        named = {failure["media_id"]: failure["reason"] for failure in summary["failures"]}
        unstored = {media_id for media_id, medium in media.items() if medium["state"] in ("DISCOVERED", "FAILED")}
        if (len(unstored) <= NAMED and set(named) != unstored) or not all(named.values()):
            self.violated("I2", f"{sync_id}: the summary names {named} where {sorted(unstored)} are not stored")

    def _on_put(self, key: str, before: StoredObject | None, after: StoredObject) -> None:
        if CANARY in repr(after.metadata) or CANARY.encode() in after.body:
            self.violated("I6", f"a secret in the object {key}")
        if before is not None and (key.startswith("gopro/") or key in self.frozen_at):
            self.violated("I4", f"{key} was written over")
        if key.startswith("listings/") and key.count("/") == 1 and not key.startswith("listings/_"):
            self.frozen_at.setdefault(key, self.world.scheduler.now)
            self._check_not_cancelled(key.removeprefix("listings/").removesuffix(".json"))
        if key.startswith("gopro/"):
            self._check_object(key, after)

    def _check_object(self, key: str, stored: StoredObject) -> None:
        media = self.world.gopro.known(stored.metadata.get("media-id", ""))
        etag = stored.metadata.get("origin-etag", "")
        if not any(medium.has_had(stored.body, etag) for medium in media):
            self.violated("I3", f"{key} holds bytes that no version of its medium has")
        mark, objects = _mark(stored), self.world.s3.objects
        others = [other for other in self._copies[mark] if other != key and _mark(objects[other]) == mark]
        twins = [other for other in others if objects[other].body == stored.body]
        # Validators of no use tell no worker that the object of a killed one is this version.
        if twins and not any(medium.validators for medium in media):
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
        """Check that the newest refresh token is safe before its session is cached or used."""
        if not self._clocks_agree:
            return
        account = self.world.gopro.account
        kept = [json.loads(content or "{}") for content in self.world.secrets.content.values()]
        refresh_tokens = {content.get("refresh_token") for content in kept}
        if account.refresh_token not in refresh_tokens:
            self.violated("I12", f"{when} before its refresh token is stored")

    def _on_grant(self, access: str) -> None:
        """Check that only one worker at a time logs in, and only when the current session is not usable."""
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
        """Check that a stored medium is not fetched again, except by a worker that began before."""
        process = self.world.scheduler.running().process
        if self._stored_since.get(media_id, float("inf")) < process.began:
            self.violated("I15", f"{media_id} is fetched again though it is stored")
        taken = self.world.tables["Library"].items.get((media_id, Decimal(0)), {})
        self._check_not_cancelled(str(taken.get("sync_id", "")))

    def _check_not_cancelled(self, sync_id: str) -> None:
        """Check that a worker of a cancelled sync had begun before it was cancelled."""
        process = self.world.scheduler.running().process
        if self._cancelled_at.get(sync_id, float("inf")) < process.began:
            self.violated("I18", f"{process.name} works for {sync_id}, which was cancelled before")

    def _on_password(self) -> None:
        """Check that logins by password are a minute apart: GoPro blocks accounts for less.

        The time of a worker's turn counts, since a worker that is frozen afterwards makes its call later.
        """
        turns = self.world.tables["Authenticator"].items
        turn = float(turns.get(("password-grant",), {}).get("tried_at", "-inf"))
        if turn - self._password_turn < 59 and self.world.plan.skew <= 1:
            self.violated("I13", "two logins by password within a minute")
        self._password_turn = turn


def _mark(stored: StoredObject) -> tuple[str, ...]:
    return tuple(stored.metadata.get(name, "") for name in ("media-id", "item", "origin-etag", "origin-size"))
