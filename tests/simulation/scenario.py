"""What a seed stands for: a library, some syncs, and what goes wrong."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from tests.simulation.faults import HIGHEST, TIMED, WEIGHTS, Fault, Planned
from tests.simulation.gopro import CANARY, EtagKind, File, Medium, Shape, make_file
from tests.simulation.s3 import Again
from tests.simulation.wiring import wires

MINUTE, HOUR = 60.0, 3600.0
Access = Literal["both", "refresh", "password", "pasted", "wrong", "empty"]

# In Europe the local time 02:00 comes once, not at all, and twice on these.
_NIGHTS = (date(2026, 3, 10), date(2026, 3, 29), date(2026, 10, 25))


@dataclass(frozen=True)
class Action:
    """Something that happens at a moment of its own, in seconds from the start."""

    at: float
    kind: Literal[
        "daily",
        "catch-up",
        "manual",
        "add",
        "remove",
        "grow",
        "ready",
        "replace",
        "revoke",
        "redeploy",
        "poison",
        "redrive",
    ]
    sync_id: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # which medium it is about
    fault: Fault | None = None  # where it is one


@dataclass(frozen=True)
class Scenario:
    seed: int
    start: float
    library: tuple[Medium, ...]
    actions: tuple[Action, ...]
    rates: Mapping[Fault, float]
    most_strikes: int
    faults_until: float  # seconds from the start
    outages: tuple[tuple[float, float], ...]
    access: Access
    lifetime: int
    url_seconds: float  # for which a signed URL opens
    rotates: bool
    password_works: bool
    skew: float
    settings: Mapping[str, str]  # of the functions, where they differ from the template's
    page_size: int
    old_handles_work: bool
    listing_granted: bool
    second_complete: Again
    foreign_fields: bool  # whether events come with fields that this version doesn't know
    redrive: bool
    abort_before_redrive: bool
    replay: bool
    another_night: bool
    late_faults: bool  # whether faults strike after the end, too: while dead letters are redriven, and so on
    name: str  # "calm", "one fault", "mixed"; "written" where it comes from no seed
    planned: tuple[Planned, ...] = ()

    def timed_faults(self) -> Mapping[Fault, int]:
        """How often faults happen that come by themselves."""
        counts = Counter(action.fault for action in self.actions if action.fault)
        return {**counts, Fault.OUTAGE: len(self.outages), Fault.CLOCK_SKEW: int(self.skew > 0)}


@dataclass(frozen=True)
class Options:
    """How to run a scenario, other than as it is: with less of everything, to see what it takes to fail."""

    only: frozenset[str] | None = None  # opportunities at which faults may strike
    media: int | None = None
    without: frozenset[str] = frozenset()  # faults, and what comes after the end: "redrive", "replay", "another night"
    actions: frozenset[int] | None = None  # which of the actions happen

    def apply(self, scenario: Scenario) -> Scenario:
        rates = {fault: rate for fault, rate in scenario.rates.items() if fault not in self.without}
        kept = [
            action
            for number, action in enumerate(scenario.actions)
            if (self.actions is None or number in self.actions) and action.fault not in self.without
        ]
        return replace(
            scenario,
            rates=rates,
            actions=tuple(kept),
            library=scenario.library[: self.media],
            outages=() if Fault.OUTAGE in self.without else scenario.outages,
            skew=0.0 if Fault.CLOCK_SKEW in self.without else scenario.skew,
            redrive=scenario.redrive and "redrive" not in self.without,
            replay=scenario.replay and "replay" not in self.without,
            another_night=scenario.another_night and "another night" not in self.without,
        )


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(seed * 7919 + 17)
    kind = chance.random()
    name = "calm" if kind < 0.2 else "one fault" if kind < 0.55 else "mixed"
    rates, timed = _faults(chance, name)
    night = _Night(chance.choices(_NIGHTS, (8, 1, 1))[0])
    window = chance.choice((10 * MINUTE, 30 * MINUTE, 2 * HOUR)) if name != "calm" else 0.0
    library = tuple(_medium(chance, number) for number in range(_library_size(chance)))
    access: Access = chance.choices(("both", "refresh", "password", "pasted", "wrong", "empty"), (50, 25, 15, 6, 3, 1))[
        0
    ]
    actions = [*_syncs(chance, night), *_timed(chance, timed, len(library), window)]
    return Scenario(
        seed=seed,
        start=night.begins,
        library=library,
        actions=tuple(sorted(actions, key=lambda action: action.at)),
        rates=rates,
        most_strikes=chance.choice((1, 3, 8, 20, 60)),
        faults_until=window,
        outages=tuple(
            (begin, begin + chance.choice((20.0, 250.0, 700.0, 2000.0)))
            for begin in [chance.random() * min(window, 20 * MINUTE)]
            if Fault.OUTAGE in timed
        ),
        access=access,
        lifetime=chance.choices((86_400, 3600, 600), (6, 3, 2))[0],
        url_seconds=chance.choices((3600.0, 60.0), (4, 1))[0],
        rotates=chance.random() < 0.7,
        password_works=chance.random() < 0.9,
        skew=chance.choice((1.0, 20.0, 300.0)) if Fault.CLOCK_SKEW in timed else 0.0,
        settings=_settings(chance),
        page_size=chance.choice((1, 2, 3, 200)),
        old_handles_work=chance.random() < 0.5,
        listing_granted=chance.random() < 0.5,
        second_complete=chance.choice(get_args(Again)),
        foreign_fields=Fault.REDEPLOYED in timed,
        redrive=chance.random() < 0.6,
        abort_before_redrive=chance.random() < 0.3,
        replay=chance.random() < 0.1,
        another_night=chance.random() < 0.15,
        late_faults=chance.random() < 0.4,
        name=name,
    )


def _faults(chance: random.Random, name: str) -> tuple[Mapping[Fault, float], frozenset[Fault]]:
    kinds = [*HIGHEST, *TIMED]
    if name == "calm":
        return {}, frozenset()
    weights = [WEIGHTS.get(fault, 1) for fault in kinds]
    # In the order in which they are declared, since a set's is another in each process.
    drawn = set(chance.choices(kinds, weights, k=1 if name == "one fault" else chance.randint(2, 10)))
    chosen = [fault for fault in kinds if fault in drawn]
    rates = {fault: HIGHEST[fault] * chance.choice((0.1, 0.3, 1.0)) for fault in chosen if fault in HIGHEST}
    return rates, frozenset(fault for fault in chosen if fault not in HIGHEST)


def _library_size(chance: random.Random) -> int:
    return chance.choices((0, 1, 2, 3, 4, 6, 8, 25), (30, 100, 120, 120, 100, 50, 20, 2))[0]


def _medium(chance: random.Random, number: int) -> Medium:
    id_ = f"{chance.choice(('6a93', 'Zq7'))}{number:05d}"
    shape: Shape = chance.choices(("single", "chaptered", "burst", "raw", "edit"), (12, 2, 2, 1, 1))[0]
    etags: EtagKind = chance.choices(("parts", "plain", "none"), (5, 4, 1))[0]
    label = {"burst": "files", "edit": "baked_source"}.get(shape, "source")
    count = chance.randint(2, 3) if shape in ("chaptered", "burst") else 1
    files: list[File] = []
    for item in range(1, count + 1):
        size = chance.choices((1, 5, 8, 9, 16, 23, 40, 160), (9, 9, 9, 9, 9, 9, 9, 1))[0]
        files.append(make_file(id_, f"{label}/default/{item}", item, size, 0, etags))
    if shape == "raw":
        files.append(make_file(id_, "raw_photo/default/1", 1, 7, 0, etags))
    size = sum(len(file.body) for file in files)
    day = chance.randint(1, 28)
    return Medium(
        id=id_,
        type={"single": "Video", "chaptered": "Chaptered", "burst": "Burst", "raw": "Photo", "edit": "Edit"}[shape],
        filename=chance.choice(("GX010001.MP4", "GX010002.MP4", f"GX01{number:04d}.MP4", "")),
        captured_at=f"2026-02-{day:02d}T10:00:00Z",
        created_at=f"2026-02-{day:02d}T11:{number:02d}:00Z",
        shape=shape,
        etags=etags,
        files=files,
        listed_size=chance.choice((size, size, size + 3, None)),
        state=chance.choices(("ready", "transcoding"), (12, 1))[0],
        available=chance.random() < 0.95,
        seconds_per_byte=chance.choices((0.001, 1.0, 20.0, 70.0), (12, 2, 2, 1))[0],
        numbered=chance.random() < 0.8,
    )


def _settings(chance: random.Random) -> Mapping[str, str]:
    """Bounds that libraries of some media reach."""
    settings: dict[str, str] = {}
    if chance.random() < 0.25:
        settings["PAGES_PER_SLICE"] = chance.choice(("1", "2"))
    if chance.random() < 0.15:
        settings["MAX_MEDIA_PER_SYNC"] = chance.choice(("1", "2"))
    if chance.random() < 0.3:
        settings["CONNECTIONS_PER_FILE"] = chance.choice(("1", "2", "3"))
    return settings


def quiet(library: Iterable[Medium], **particulars: Any) -> Scenario:
    """A scenario of no seed: nothing goes wrong in it or comes after its end, unless `particulars` (fields) say so."""
    plain: dict[str, Any] = {
        "seed": 0,
        "start": _Night(_NIGHTS[0]).begins,
        "library": tuple(library),
        "actions": (),
        "rates": {},
        "most_strikes": 1_000,
        "faults_until": 0.0,
        "outages": (),
        "access": "both",
        "lifetime": 86_400,
        "url_seconds": 3600.0,
        "rotates": True,
        "password_works": True,
        "skew": 0.0,
        "settings": {},
        "page_size": 200,
        "old_handles_work": False,
        "listing_granted": False,
        "second_complete": "gone",
        "foreign_fields": False,
        "redrive": False,
        "abort_before_redrive": False,
        "replay": False,
        "another_night": False,
        "late_faults": False,
        "name": "written",
    }
    return Scenario(**{**plain, **particulars})


class _Night:
    """When the schedules fire on a date."""

    def __init__(self, of: date) -> None:
        zone = ZoneInfo(wires().zone)
        (daily, self.has_daily), (catch_up, _) = (
            _moment(of, time_of_day, zone) for time_of_day in (wires().daily, wires().catch_up)
        )
        self.begins = daily
        self.catch_up = catch_up - daily


def _moment(of: date, time_of_day: tuple[int, int], zone: ZoneInfo) -> tuple[float, bool]:
    """A local time, and whether there is such a one: Scheduler skips those that summer time tears out of a night."""
    local = datetime.combine(of, time(*time_of_day), zone)
    return local.timestamp(), local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)


def _syncs(chance: random.Random, night: _Night) -> list[Action]:
    actions: list[Action] = []
    if chance.random() < 0.6:
        if night.has_daily:
            actions.append(Action(0.0, "daily"))
            if chance.random() < 0.1:  # the schedule, too, delivers at least once
                actions.append(Action(chance.random() * 90, "daily"))
        if not night.has_daily or chance.random() < 0.3:
            actions.append(Action(night.catch_up, "catch-up"))
    for number in range(chance.choice((0, 1, 1, 2)) if actions else chance.choice((1, 1, 1, 2))):
        detail: dict[str, Any] = {"provider": "gopro"}
        if chance.random() < 0.1:
            detail["filters"] = {"types": ["Video", "Chaptered"]}
        if chance.random() < 0.02:
            detail["filters"] = {"types": ["Vidoe"]}
        sync_id = chance.choice(("", f"manual-{number}"))
        if sync_id:
            detail["sync_id"] = sync_id
        actions.append(
            Action(chance.choice((0.0, 1.0, 10.0, 300.0, 2000.0)) * chance.random(), "manual", sync_id, detail)
        )
    return actions


def _timed(chance: random.Random, timed: frozenset[Fault], media: int, window: float) -> list[Action]:
    def moment() -> float:
        return chance.choice((5.0, 30.0, 200.0, window)) * chance.random()

    def some_medium() -> int:
        return chance.randrange(media) if media else 0

    actions: list[Action] = []
    if Fault.REVOKED in timed:
        actions += [Action(moment(), "revoke", fault=Fault.REVOKED) for _ in range(chance.randint(1, 3))]
    if Fault.LIBRARY_CHANGED in timed:
        for number in range(chance.randint(1, 4)):
            kind: Any = chance.choice(("add", "remove", "grow", "ready"))
            target = 100 + number if kind == "add" else some_medium()
            actions.append(Action(moment(), kind, number=target, fault=Fault.LIBRARY_CHANGED))
    if Fault.ORIGIN_CHANGED in timed:
        actions += [
            Action(moment(), "replace", number=some_medium(), fault=Fault.ORIGIN_CHANGED)
            for _ in range(chance.randint(1, 3))
        ]
    if Fault.POISON in timed:
        actions += [
            Action(moment(), "poison", number=chance.randrange(len(POISON)), fault=Fault.POISON)
            for _ in range(chance.randint(1, 4))
        ]
    if Fault.REDRIVEN in timed:
        actions += [
            Action(chance.choice((200.0, 2000.0, window)) * chance.random(), "redrive", fault=Fault.REDRIVEN)
            for _ in range(chance.randint(1, 3))
        ]
    if Fault.REDEPLOYED in timed:
        actions += [Action(moment(), "redeploy", fault=Fault.REDEPLOYED) for _ in range(chance.randint(1, 3))]
    return actions


def added_medium(seed: int, number: int) -> Medium:
    """A medium that comes to the library during the run: the newest."""
    medium = _medium(random.Random(seed * 31 + number), number)
    medium.created_at = f"2026-03-01T00:{number % 60:02d}:00Z"
    return medium


# Events that no service can read, or that ask for what can't be had.
POISON: tuple[tuple[str, Any], ...] = (
    ("MediaDiscovered", {"metadata": {"version": 1, "sync_id": "poison-1"}, "data": {}}),
    ("MediaDownloaded", {"metadata": {"version": 9, "sync_id": "poison-2"}, "data": {"media_id": "x"}}),
    ("LibraryListed", {"metadata": {"version": 1, "sync_id": "poison-3"}, "data": {"listed": "many"}}),
    ("SessionAuthenticated", {"metadata": "poison-4"}),
    ("SessionRejected", {"metadata": {"version": 1, "sync_id": "poison/5"}, "data": {"session_version": 1}}),
    ("SyncRequested", {"provider": "poison-6"}),
    ("SyncRequested", {"metadata": {"version": 7}, "data": {"sync_id": "poison-7"}}),
)
WRONG_SECRET = f"{CANARY}wrong-secret"
