"""Calm simulated nights with many media: the reactions of the four services, and no faults."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from awscrt import checksums

from services.shared.gopro.client import PAGE_SIZE
from tools.load.meter import CountingTrace, Meter, Reading
from tools.simulator.gopro import Medium, make_file
from tools.simulator.s3 import encoded_crc
from tools.simulator.scenario import Action, Options, Scenario, quiet
from tools.simulator.world import World

_FIRST_CAPTURE = datetime(2020, 1, 1, tzinfo=UTC)
_FILE_BYTES = 5  # the size of one part in the simulator
_LOOKED_AT = 50  # messages of a queue, of which one is received
_QUERY_ITEMS = 3000  # about as many of a sync's media as fit a page of 1 MB


@dataclass(frozen=True, kw_only=True)
class Night:
    """One sync, from its request to its notification."""

    listed: int
    stored: int
    downloaded: int
    deferred: int
    looks: int  # reviews while the sync was open
    reading: Reading

    def per_medium(self, what: str) -> float:
        """Return a count per downloaded medium."""
        return self.reading.counts.get(what, 0) / self.downloaded

    @property
    def cpu_per_medium(self) -> float:
        """Return the CPU seconds per downloaded medium, of the services and the simulator together."""
        return self.reading.cpu / self.downloaded


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of all nights of one library."""

    media: int
    nights: tuple[Night, ...]
    wrong: tuple[str, ...]  # errors in the result
    largest: Mapping[str, int]  # bytes, by kind


def run(media: int, *, at_once: int | None = None, nights: int = 1) -> Run:
    """Run the nights of a library of small media.

    `at_once` is the most that a sync admits; None stands for the default.
    """
    settings = {} if at_once is None else {"MAX_MEDIA_PER_SYNC": str(at_once)}
    world = Nights(calm([medium(number) for number in range(media)], settings=settings, another_night=nights > 1))
    outcome = world.run()
    most = int(world.wires.services["lister"].environment["MAX_MEDIA_PER_SYNC"]) if at_once is None else at_once
    wrong = [*map(str, outcome.violations), *lost(world, most=most, nights=nights)]
    return Run(
        media=media,
        nights=tuple(world.nights()),
        wrong=tuple(wrong),
        largest=world.meter.largest,
    )


def medium(number: int) -> Medium:
    """Return one photo of the library; a higher number is a later one."""
    media_id = f"6a93{number:020x}"
    captured = f"{_FIRST_CAPTURE + timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}"
    return Medium(
        id=media_id,
        type="Photo",
        filename=f"GOPR{number % 10_000:04}.JPG",
        captured_at=captured,
        created_at=captured,
        shape="single",
        etags="plain",
        files=[make_file(media_id, "source/default/1", 1, _FILE_BYTES, 0, "plain")],
        listed_size=_FILE_BYTES,
        seconds_per_byte=0.001,
    )


def calm(library: list[Medium], **particulars: Any) -> Scenario:
    """Return a scenario of one or two nights without faults. `particulars` are fields of `Scenario`."""
    return quiet(library, actions=(Action(0.0, "daily"),), page_size=PAGE_SIZE, name="calm", **particulars)


class Nights(World):
    """A world that meters each of its nights."""

    trace_kind = CountingTrace
    most_steps = sys.maxsize

    def __init__(self, plan: Scenario) -> None:
        super().__init__(plan, Options())
        self.database.page_items = _QUERY_ITEMS
        self.sqs.looked_at = _LOOKED_AT
        self.meter = Meter(self)
        self._began: list[Reading] = []  # the meter at the beginning of each night
        self._readings: list[Reading] = []  # the meter's counts for each finished night

    def nights(self) -> Iterator[Night]:
        reviews = [event.at for event in self.events("SyncReviewDue")]
        for event, began, reading in zip(self.events("SyncCompleted"), self._began, self._readings, strict=True):
            data = event.read()["data"]
            counts = {name: data[name] for name in ("listed", "stored", "downloaded", "deferred")}
            yield Night(
                **counts,
                looks=sum(began.at < moment < event.at for moment in reviews),
                reading=reading,
            )

    def readings(self) -> Sequence[Reading]:
        """Return what the meter counted in each finished night."""
        return tuple(self._readings)

    def _act(self, action: Action) -> None:
        self._began.append(self.meter.read())
        super()._act(action)

    def _review(self) -> None:
        if len(self._readings) < len(self.topic.sent) and not self.unsettled():
            self._readings.append(self.meter.read().since(self._began[-1]))
        super()._review()


def lost(world: World, *, most: int, nights: int) -> Iterator[str]:
    """Yield a line for each medium that was lost or not accounted for. `most` is the admission of a sync."""
    library = sorted(world.plan.library, key=lambda medium: medium.captured_at)
    admitted = [library[start : start + most] for start in range(0, most * nights, most)]
    yield from _lost_syncs(world, admitted)
    records = {key: item for key, item in world.tables["Library"].items.items() if key[1] == 0}
    taken = [medium for night in admitted for medium in night]
    if set(records) != {(medium.id, 0) for medium in taken}:
        yield f"the library table has {len(records)} media; {len(taken)} were to be taken on"
    objects = {stored.metadata["media-id"]: stored for key, stored in _originals(world)}
    if len(objects) != len(taken) or sum(1 for _ in _originals(world)) != len(taken):
        yield f"the bucket has originals of {len(objects)} media; {len(taken)} were to be stored"
    for medium in taken:
        (file,) = medium.files
        stored, record = objects.get(medium.id), records.get((medium.id, 0), {})
        if stored is None or stored.body != file.body or stored.checksum != encoded_crc(checksums.crc64nvme(file.body)):
            yield f"{medium.id}: its object is not the original"
        if record.get("status") != "STORED":
            yield f"{medium.id} is {record.get('status')} in the library table"
    for queue in world.sqs.queues.values():
        if queue.messages:
            yield f"{len(queue.messages)} messages are left in {queue.name}"
    if world.sqs.dead:
        yield f"{len(world.sqs.dead)} dead letters"


def _lost_syncs(world: World, admitted: list[list[Medium]]) -> Iterator[str]:
    syncs = {key[0]: item for key, item in world.tables["Syncs"].items.items() if key[1] == "sync"}
    closed, sent = world.events("SyncCompleted"), world.topic.sent
    for what, count in (("syncs", len(syncs)), ("SyncCompleted", len(closed)), ("notifications", len(sent))):
        if count != len(admitted):
            yield f"{count} {what}, in {len(admitted)} nights"
    before = 0
    for event, media in zip(closed, admitted, strict=False):
        content = event.read()
        sync_id, data = content["metadata"]["sync_id"], content["data"]
        listed = len(world.plan.library)
        wanted = {
            "outcome": "completed",
            "listed": listed,
            "stored": before,
            "discovered": len(media),
            "downloaded": len(media),
            "failed": 0,
            "outstanding": 0,
            "deferred": listed - before - len(media),
            "bytes": sum(len(file.body) for medium in media for file in medium.files),
            "warnings": [],
        }
        said = {name: data[name] for name in wanted}
        if said != wanted:
            yield f"the summary of {sync_id} says {json.dumps(said)} and not {json.dumps(wanted)}"
        facts = {key[1]: i["state"] for key, i in world.tables["Syncs"].items.items() if key[0] == sync_id}
        facts.pop("sync", None)
        if facts != {f"medium#{medium.id}": "DOWNLOADED" for medium in media}:
            yield f"the facts of {sync_id} are not that {len(media)} media were downloaded"
        before += len(media)


def _originals(world: World) -> Iterator[tuple[str, Any]]:
    return ((key, stored) for key, stored in world.s3.objects.items() if key.startswith("gopro/"))
