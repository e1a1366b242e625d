"""A story in words, and as a tree for the terminal. Text from elsewhere is made printable here."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from rich.text import Text
from rich.tree import Tree

from ops.progress import printable
from ops.story import Delivery, Folded, Node, Receive, Story, fold
from services.shared.clock import iso
from services.shared.inbox.inbox import Outcome
from services.summarizer.page.wording import lasting

Mood = Literal["good", "bad", "open"]

_STYLES: Mapping[Mood, str] = {"good": "green", "bad": "red", "open": "yellow"}
_ID = 8  # characters of an event id that tell the events of one story apart

_WORDS: Mapping[str, str] = {
    Outcome.DONE: "done",
    Outcome.PAUSED: "paused; the next event resumes it",
    Outcome.WAITING: "waits: another worker has the medium",
    Outcome.RETRY: "failed, to be tried again",
    Outcome.FENCED: "stopped: another worker took over",
    Outcome.GIVEN_UP: "given up: no try can help",
    Outcome.DEAD_LETTER: "failed for the last time: a dead letter",
    Outcome.IGNORED: "ignored: EventBridge replayed it from an archive",
}
_MOODS: Mapping[str, Mood] = {
    Outcome.DONE: "good",
    Outcome.PAUSED: "good",
    Outcome.WAITING: "open",
    Outcome.IGNORED: "good",
}
CUT_OFF = "cut off: killed, out of time, or refused by Lambda"


class Line(NamedTuple):
    """One line about what a service made of an event."""

    mood: Mood
    text: str


def event_title(node: Node) -> str:
    """Return what the event is, and what it is about."""
    event = node.event
    named = [printable(part) for part in (event.name, event.media_id) if part]
    times = f" (published {event.times} times)" if event.times > 1 else ""
    return f"{printable(event.type)}{times}" + (f"  {'  '.join(named)}" if named else "")


def event_origin(node: Node, began_at: datetime | None) -> str:
    """Return who published the event and when, as seconds since the story began, and its id."""
    event = node.event
    return f"{printable(event.publisher)}  +{since_began(node, began_at)}  {printable(event.event_id[:_ID])}"


def since_began(node: Node, began_at: datetime | None) -> str:
    """Return how long after the beginning of the story the event was published."""
    return lasting((node.event.at - (began_at or node.event.at)).total_seconds())


def reactions(node: Node) -> Iterator[Line]:
    """Yield a line for each thing that a service made of the event."""
    before: set[str] = set()
    for delivery in node.deliveries:
        yield from _delivery(delivery, again=delivery.service in before)
        before.add(delivery.service)
    for service in node.silent:
        yield Line("open", f"{service}: has logged nothing about it; its message may wait, or be in work")


def _delivery(delivery: Delivery, *, again: bool) -> Iterator[Line]:
    service = printable(delivery.service) + (", sent again" if again else "")
    last = delivery.last
    if len(delivery.receives) == 1 and not delivery.cut_off and last:
        yield Line(_MOODS.get(last.outcome, "bad"), f"{service}: {_receive(last)}")
    else:
        ended = {receive.number: receive for receive in delivery.receives}
        for number in range(1, max(ended, default=0) + 1):
            said = _receive(ended[number]) if number in ended else CUT_OFF
            mood = _MOODS.get(ended[number].outcome, "bad") if number in ended else "bad"
            yield Line(mood, f"{service}, try {number}: {said}")
    if delivery.letter:
        why = f": {printable(delivery.letter.why)}" if delivery.letter.why else ""
        yield Line("bad", f"{service}: a dead letter now, first sent at {iso(delivery.letter.since)}{why}")


def _receive(receive: Receive) -> str:
    outcome = _WORDS.get(receive.outcome) or printable(receive.outcome)
    spent = f"waited {lasting(receive.waited)}"
    spent += f", took {lasting(receive.took)}" if receive.took is not None else ""
    why = printable(": ".join(filter(None, (receive.error, receive.why))))
    return f"{outcome} ({spent})" + (f"  {why}" if why else "")


def folded_line(folded: Folded) -> str:
    """Say in one line what became of media whose stories are alike."""
    path = [f"{name} ({count} times)" if count > 1 else name for name, count in _runs(folded.path)]
    return f"{folded.media:,} {'medium' if folded.media == 1 else 'media'}: {' → '.join(map(printable, path))}"


def _runs(path: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield (name, how often in a row)."""
    start = 0
    for at in range(1, len(path) + 1):
        if at == len(path) or path[at] != path[start]:
            yield path[start], at - start
            start = at


def tree(story: Story, *, everything: bool = False) -> Tree:
    """Return the story as a tree. Media that went well are one line, unless `everything` is wanted."""
    began_at = story.began_at
    began = f", begun at {iso(began_at)}" if began_at else ""
    root = Tree(Text(f"{printable(story.about)}{began}", style="bold"))
    left: list[tuple[Tree, Sequence[Node]]] = [(root, story.roots)]
    while left:  # no recursion: each pause of a medium is one level deeper
        parent, nodes = left.pop()
        told, alike = (nodes, []) if everything or story.is_of_medium else fold(nodes)
        for node in told:
            label = Text.assemble((event_title(node), "bold"), "  ", (event_origin(node, began_at), "dim"))
            branch = parent.add(label)
            if node.event.reason:
                branch.add(Text(printable(node.event.reason)))
            for line in reactions(node):
                branch.add(Text(f"→ {line.text}", style=_STYLES[line.mood]))
            # A pause stands beside the one before it: there may be hundreds.
            left.append((branch, [one for one in node.causes if one.event.type != node.event.type]))
            left.append((parent, [one for one in node.causes if one.event.type == node.event.type]))
        for folded in alike:
            parent.add(Text(folded_line(folded), style="green"))
    for title, lines in (("Now", story.now), ("Missing from this story", story.gaps)):
        if lines:
            branch = root.add(Text(title, style="bold"))
            for text in lines:
                branch.add(Text(printable(text)))
    return root
