"""The story of a sync or of a medium: every event in causal order, and what each service made of it. Pure functions.

The events say what caused them, so the tree follows from them alone. What the services logged at the end of each
receive of a message (`services.shared.inbox.inbox.SETTLED`) and the dead letters are joined to it by the events' ids.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.shared.clock import iso
from services.shared.events import MediaDownloaded
from services.shared.inbox.inbox import Outcome

_CALM = frozenset({Outcome.DONE, Outcome.PAUSED, Outcome.WAITING, Outcome.IGNORED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One publication of an event, as the bus carried it. Texts may come from elsewhere, and hold anything."""

    id: str  # EventBridge's, one a publication
    event_id: str  # the same for every publication of one fact
    type: str
    publisher: str  # a service, the schedule or an operator
    at: datetime
    causation_id: str = ""  # event_id of the event reacted to
    sync_id: str = ""
    media_id: str = ""
    name: str = ""  # of the medium's file, where the event has it
    reason: str = ""  # why something failed, where the event has it
    hops: int = 0
    times: int = 1  # how often the fact was published


@dataclass(frozen=True, kw_only=True, slots=True)
class Receive:
    """One receive of a message, as the service logged its end."""

    service: str
    event_id: str
    message_id: str
    number: int  # SQS's receive count of the message
    ended_at: datetime
    waited: float  # seconds since the message was sent
    outcome: str  # one of `Outcome`, or a newer one
    took: float | None = None  # seconds
    error: str = ""  # the class of the error
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A dead letter that lies in its queue now."""

    service: str
    event_id: str
    message_id: str
    since: datetime  # when the message was first sent
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message: an event in the inbox of one service. A redrive makes another one."""

    service: str
    message_id: str
    receives: tuple[Receive, ...] = ()  # by number
    letter: Letter | None = None  # what is left of it in the dead-letter queue

    @property
    def cut_off(self) -> list[int]:
        """The numbers of the receives that ended without a line in the log: killed, timed out or throttled."""
        ended = {receive.number for receive in self.receives}
        return [number for number in range(1, max(ended, default=0)) if number not in ended]

    @property
    def last(self) -> Receive | None:
        """The latest receive that the log knows."""
        return self.receives[-1] if self.receives else None

    @property
    def is_calm(self) -> bool:
        """Whether the message was acknowledged at its first receive, without a failure."""
        return [(one.number, one.outcome in _CALM) for one in self.receives] == [(1, True)] and self.letter is None


@dataclass(frozen=True, kw_only=True)
class Node:
    """An event with what each service made of it, and the events that it caused."""

    event: Published
    deliveries: tuple[Delivery, ...] = ()
    silent: tuple[str, ...] = ()  # the services that react to such an event, and have logged nothing about this one
    causes: tuple["Node", ...] = ()

    @property
    def is_calm(self) -> bool:
        """Whether every service that reacts to the event has done so at the first try."""
        each_once = len({one.service for one in self.deliveries}) == len(self.deliveries)
        return not self.silent and each_once and all(one.is_calm for one in self.deliveries)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Node"]]:
        """Yield (depth, node) of this node and of everything below it, causes before effects."""
        left = [(depth, self)]
        while left:  # no recursion: a medium may pause hundreds of times, and each pause is one level deeper
            depth, node = left.pop()
            yield depth, node
            left += [(depth + 1, child) for child in reversed(node.causes)]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened, and how things are now."""

    about: str  # the sync or medium
    roots: tuple[Node, ...] = ()
    now: tuple[str, ...] = ()  # how the tables and queues are now, in lines
    gaps: tuple[str, ...] = ()  # what is known to be missing from the story, in lines
    is_of_medium: bool = False  # of one medium, which is then told even if all went well

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Yield (depth, node) of all events, causes before effects."""
        for root in self.roots:
            yield from root.walk()

    @property
    def began_at(self) -> datetime | None:
        """When the first event was published; None for a story without any."""
        return min((node.event.at for _, node in self.walk()), default=None)


def about(
    published: Iterable[Published], wanted: Callable[[Published], bool], known: Iterable[Published] = ()
) -> list[Published]:
    """Return the wanted events, and of all events those that led to them.

    `known`: events from elsewhere, such as dead letters, which are taken where the bus's own record has none.
    """
    merged = _merged(published)
    for event in _merged(known).values():
        merged.setdefault(event.event_id, event)
    taken: dict[str, Published] = {}
    left = [event for event in merged.values() if wanted(event)]
    while left:
        event = left.pop()
        if event.event_id not in taken:
            taken[event.event_id] = event
            left += [cause for cause in [merged.get(event.causation_id)] if cause]
    return sorted(taken.values(), key=_order)


def tell(
    events: Iterable[Published],
    receives: Iterable[Receive],
    letters: Iterable[Letter],
    *,
    reacts: Mapping[str, Collection[str]],
) -> tuple[Node, ...]:
    """Return the events as trees, each event under the one that caused it.

    `reacts`: the services that react to each type of event. An event whose cause is unknown begins a tree of its own.
    """
    merged = _merged(events)
    deliveries = _deliveries(receives, letters)
    children: dict[str, list[Published]] = defaultdict(list)
    for event in sorted(merged.values(), key=_order):
        children[event.causation_id if event.causation_id in merged else ""].append(event)
    order, reached = _reachable(children)
    # Events can only cause each other in a circle if their record is wrong. None is left out for that.
    for event in sorted(merged.values(), key=_order):
        if event.event_id not in reached:
            children[event.causation_id].remove(event)
            children[""].append(event)
            order, reached = _reachable(children)
    nodes: dict[str, Node] = {}
    for event in reversed(order):
        own = tuple(deliveries.get(event.event_id, ()))
        heard = {one.service for one in own}
        nodes[event.event_id] = Node(
            event=event,
            deliveries=own,
            silent=tuple(service for service in reacts.get(event.type, ()) if service not in heard),
            causes=tuple(nodes[child.event_id] for child in children[event.event_id]),
        )
    return tuple(nodes[event.event_id] for event in children[""])


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Media whose stories are alike, and went well."""

    path: tuple[str, ...]  # the types of their events, in causal order
    media: int


def fold(nodes: Sequence[Node]) -> tuple[list[Node], list[Folded]]:
    """Separate the media that went well from all else. Returns (what is to be told in full, what is alike)."""
    told: list[Node] = []
    alike: dict[tuple[str, ...], int] = defaultdict(int)
    for node in nodes:
        path = _smooth_path(node)
        if path is None:
            told.append(node)
        else:
            alike[path] += 1
    return told, [Folded(path=path, media=count) for path, count in alike.items()]


def _smooth_path(node: Node) -> tuple[str, ...] | None:
    """Return the types of a medium's events where it was stored without any failure, and nothing else came of it."""
    below = [one for _, one in node.walk()]
    if not node.event.media_id or any(one.event.media_id != node.event.media_id for one in below):
        return None
    ends = {one.event.type for one in below if not one.causes}
    if ends != {MediaDownloaded.__name__} or not all(one.is_calm for one in below):
        return None
    return tuple(one.event.type for one in below)


def as_json(story: Story) -> dict[str, Any]:
    """Return the story for programs: events in causal order, each after the event that caused it."""
    return {
        "about": story.about,
        "events": [_event_as_json(node) for _, node in story.walk()],
        "now": list(story.now),
        "gaps": list(story.gaps),
    }


def _event_as_json(node: Node) -> dict[str, Any]:
    event = node.event
    return {
        "event_id": event.event_id,
        "causation_id": event.causation_id,
        "type": event.type,
        "published_by": event.publisher,
        "at": event.at.isoformat(),
        "times_published": event.times,
        "sync_id": event.sync_id,
        "media_id": event.media_id,
        "hops": event.hops,
        "reason": event.reason,
        "reactions": [_delivery_as_json(one) for one in node.deliveries],
        "no_reaction_logged_by": list(node.silent),
    }


def _delivery_as_json(delivery: Delivery) -> dict[str, Any]:
    tries: list[dict[str, Any]] = [
        {
            "number": one.number,
            "ended_at": one.ended_at.isoformat(),
            "waited_seconds": one.waited,
            "took_seconds": one.took,
            "outcome": one.outcome,
            "error": one.error,
            "why": one.why,
        }
        for one in delivery.receives
    ]
    tries += [{"number": number, "outcome": "cut_off"} for number in delivery.cut_off]
    return {
        "service": delivery.service,
        "message_id": delivery.message_id,
        "tries": sorted(tries, key=lambda one: int(one["number"])),
        "dead_letter_since": iso(delivery.letter.since) if delivery.letter else None,
    }


def _order(event: Published) -> tuple[datetime, str, str]:
    return event.at, event.type, event.event_id


def _merged(published: Iterable[Published]) -> dict[str, Published]:
    """Return each fact once, as it was published first, with how often it was. By event id."""
    publications = {one.id: one for one in published}  # the log may hold a line twice
    of_fact: dict[str, list[Published]] = defaultdict(list)
    for one in sorted(publications.values(), key=_order):
        of_fact[one.event_id].append(one)
    merged = {}
    for event_id, facts in of_fact.items():
        # A worker that waits publishes the event that it reacted to once more: this one has caused itself.
        caused_by = next((one.causation_id for one in facts if one.causation_id != event_id), "")
        times = sum(one.times for one in facts)
        merged[event_id] = replace(facts[0], causation_id=caused_by, times=times)
    return merged


def _deliveries(receives: Iterable[Receive], letters: Iterable[Letter]) -> dict[str, list[Delivery]]:
    """Return the messages of each event in order of their first receive, by event id."""
    of_message: dict[tuple[str, str, str], dict[int, Receive]] = defaultdict(dict)
    for one in receives:
        of_message[one.event_id, one.service, one.message_id][one.number] = one
    dead = {(one.event_id, one.service, one.message_id): one for one in letters}
    found: dict[str, list[Delivery]] = defaultdict(list)
    for key in {**of_message, **dead}:
        event_id, service, message_id = key
        ended = tuple(one for _, one in sorted(of_message.get(key, {}).items()))
        found[event_id].append(Delivery(service=service, message_id=message_id, receives=ended, letter=dead.get(key)))
    for deliveries in found.values():
        deliveries.sort(key=_first_seen)
    return found


def _first_seen(delivery: Delivery) -> tuple[str, datetime, str]:
    times = [one.ended_at for one in delivery.receives] + ([delivery.letter.since] if delivery.letter else [])
    return delivery.service, min(times), delivery.message_id


def _reachable(children: Mapping[str, Sequence[Published]]) -> tuple[list[Published], set[str]]:
    """Return the events that the roots lead to, causes before effects, and their ids."""
    order: list[Published] = []
    left = list(reversed(children.get("", ())))
    while left:
        event = left.pop()
        order.append(event)
        left += reversed(children.get(event.event_id, ()))
    return order, {event.event_id for event in order}
