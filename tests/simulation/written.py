"""Nights that are written by hand: all is calm in them, but for what a test lets go wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.bus import Accepted
from tests.simulation.faults import Fault, Planned
from tests.simulation.gopro import EtagKind, Medium, make_file
from tests.simulation.scenario import Action, Options, quiet
from tests.simulation.world import Outcome, World

SYNC = "night"
BY_HAND = Action(0.0, "manual", SYNC, {"provider": "gopro", "sync_id": SYNC})
DAILY = Action(0.0, "daily")


def video(number: int, *, size: int = 23, seconds_per_byte: float = 0.001, etags: EtagKind = "parts") -> Medium:
    """A video of one file; the higher its number, the newer it is."""
    media_id = f"6a93{number:05d}"
    return Medium(
        id=media_id,
        type="Video",
        filename=f"GX01{number:04d}.MP4",
        captured_at=f"2026-02-10T10:{number % 60:02d}:00Z",
        created_at=f"2026-02-{1 + number // 60:02d}T11:{number % 60:02d}:00Z",
        shape="single",
        etags=etags,
        files=[make_file(media_id, "source/default/1", 1, size, 0, etags)],
        listed_size=size,
        seconds_per_byte=seconds_per_byte,
    )


def videos(count: int, **particulars: Any) -> list[Medium]:
    return [video(number, **particulars) for number in range(count)]


class Night:
    """A night that is over, with all invariants held."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self.world = world
        self.outcome = outcome

    @property
    def struck(self) -> list[Fault]:
        return [strike.fault for strike in self.outcome.strikes]

    def sync(self, sync_id: str = SYNC) -> Mapping[str, Any]:
        """The sync's record."""
        return next(record for record in self.syncs() if record["sync_id"] == sync_id)

    def syncs(self) -> Sequence[Mapping[str, Any]]:
        return [item for item in self.world.tables["Syncs"].plain() if item["record"] == "sync"]

    def summary(self, sync_id: str = SYNC) -> Mapping[str, Any]:
        summary: Mapping[str, Any] = self.sync(sync_id)["summary"]
        return summary

    def results(self, sync_id: str = SYNC) -> Mapping[str, str]:
        """The state of each medium in a sync, by its id."""
        items = self.world.tables["Syncs"].plain()
        return {i["media_id"]: i["state"] for i in items if i["sync_id"] == sync_id and "media_id" in i}

    def events(self, name: str) -> list[Accepted]:
        return self.world.events(name)

    def ids(self, name: str) -> list[str]:
        """The event ids of all events of this name, repetitions included."""
        return [str(event.read()["metadata"]["event_id"]) for event in self.events(name)]

    def data(self, name: str) -> list[dict[str, Any]]:
        return [event.read()["data"] for event in self.events(name)]

    def stored(self) -> Mapping[str, bytes]:
        """The originals in the bucket, by key."""
        return {key: found.body for key, found in self.world.s3.objects.items() if key.startswith("gopro/")}

    def rows(self, operation: str, subject: str = "") -> list[tuple[float, str, str]]:
        """When an operation was done, by whom, and what came of it."""
        rows = self.world.trace.rows
        return [(when, who, out) for when, who, did, about, out in rows if did == operation and subject in about]

    def fetched(self, media_id: str, *, since: float = 0.0) -> int:
        """Bytes that the CDN was asked for, of the medium's files."""
        total = 0
        for when, _, did, about, _ in self.world.trace.rows:
            if did == "cdn.open" and about.startswith(media_id) and when > since:
                first, last = about.rpartition("bytes=")[2].split("-")
                total += int(last) + 1 - int(first)
        return total

    def state(self) -> Mapping[str, Any]:
        """What the night has left behind, without what tells when and how often."""
        passing = ("tried_at", "stored_at", "failed_at", "epoch", "version", "seconds", "late", "amended")
        told = ("closed_at", "requested_at", "summary", "announcement", "quiet", "session_version")
        return {
            "objects": self.stored(),
            **{
                name: [
                    {field: value for field, value in item.items() if field not in (*passing, *told)}
                    for item in self.world.tables[name].plain()
                ]
                for name in ("Library", "Syncs")
            },
        }


def night(
    library: Sequence[Medium],
    *planned: Planned,
    seed: int = 0,
    actions: Sequence[Action] = (BY_HAND,),
    rates: Mapping[Fault, float] | None = None,
    **particulars: Any,
) -> Night:
    """Lets a night pass; its seed decides how long each call takes. Fails where an invariant is violated.

    `particulars`: fields of `Scenario`. Nothing comes after the end, unless they say so.
    """
    plan = quiet(
        library,
        seed=seed,
        actions=tuple(actions),
        rates=rates or {},
        planned=tuple(replace(one) for one in planned),
        **particulars,
    )
    world = World(plan, Options())
    outcome = world.run()
    assert outcome.violations == [], "\n".join([*outcome.trace.lines(), *map(str, outcome.violations)])
    return Night(world, outcome)


def nights(count: int, *planned: Planned, media: int = 6, **particulars: Any) -> Iterator[Night]:
    """So many nights with the same library and faults, which differ in how long everything takes."""
    for seed in range(count):
        yield night(videos(media), *planned, seed=seed, **particulars)
