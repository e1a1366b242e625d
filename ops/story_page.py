"""A story as a page: a sequence diagram, and the same as a table. One file, which loads and runs nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jinja2 import PackageLoader

from ops.progress import printable
from ops.story import Folded, Node, Story, fold
from ops.story_views import Line, Mood, event_title, folded_line, reactions, since_began
from services.shared.clock import iso
from services.shared.events import OPERATOR, SCHEDULE, SERVICES
from services.summarizer.page.rendering import environment

WIDTH = 960  # of the picture, in its own units
ROW = 34  # height of an event in the picture
TOP = 40  # height of the lanes' names
MOST_ROWS = 300  # of the picture; the table has all
_LABEL = 62  # characters of a label

_ASKING = "asked by"  # the lane of what comes from outside


@dataclass(frozen=True, kw_only=True)
class Row:
    """One event, or media whose stories are alike, as the table has it."""

    title: str
    mood: Mood
    after: str = ""  # since the story began
    at: str = ""  # UTC, ISO 8601
    publisher: str = ""
    event_id: str = ""
    causation_id: str = ""
    reason: str = ""
    reactions: tuple[Line, ...] = ()
    services: tuple[str, ...] = ()  # that reacted, or should have
    troubled: frozenset[str] = frozenset()  # the services among them with which something went wrong


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An event on its way from its publisher to the services that react to it."""

    y: int
    label: str
    label_x: int
    anchor: str  # of the label: start or end
    path: str  # of SVG
    heads: tuple[tuple[str, bool], ...]  # points of a polygon, and whether there was trouble
    dot_x: int  # where the event was published
    mood: Mood


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A vertical line of the picture."""

    name: str
    x: int


def page(story: Story, *, everything: bool = False) -> bytes:
    """Return the page in UTF-8. Media that went well are one row, unless `everything` is wanted."""
    rows = list(_rows(story, everything=everything))
    lanes = _lanes(rows)
    drawn = [row for row in rows if row.publisher][:MOST_ROWS]
    began_at = story.began_at
    template = environment(PackageLoader("ops")).get_template("story.html")
    html: str = template.render(
        about=printable(story.about),
        began=iso(began_at) if began_at else "",
        count=len([*story.walk()]),
        rows=rows,
        lanes=lanes,
        arrows=[_arrow(number, row, lanes) for number, row in enumerate(drawn)],
        hidden=sum(bool(row.publisher) for row in rows) - len(drawn),
        width=WIDTH,
        height=TOP + ROW * len(drawn) + ROW // 2,
        top=TOP,
        now=[printable(line) for line in story.now],
        gaps=[printable(line) for line in story.gaps],
    )
    return html.encode()


def _rows(story: Story, *, everything: bool) -> Iterator[Row]:
    """Yield what the table has, causes before effects."""
    began_at = story.began_at
    everything = everything or story.is_of_medium
    left: list[Node | Folded] = [*_told(story.roots, everything=everything)][::-1]
    while left:
        one = left.pop()
        if isinstance(one, Folded):
            yield Row(title=folded_line(one), mood="good")
            continue
        lines = tuple(reactions(one))
        troubled = {delivery.service for delivery in one.deliveries if not delivery.is_calm}
        bad = bool(one.event.reason) or any(line.mood == "bad" for line in lines)
        yield Row(
            title=event_title(one),
            mood="bad" if bad else "open" if any(line.mood == "open" for line in lines) else "good",
            after=since_began(one, began_at),
            at=iso(one.event.at),
            publisher=printable(one.event.publisher),
            event_id=printable(one.event.event_id),
            causation_id=printable(one.event.causation_id),
            reason=printable(one.event.reason),
            reactions=lines,
            services=tuple(dict.fromkeys([*(delivery.service for delivery in one.deliveries), *one.silent])),
            troubled=frozenset(troubled),
        )
        left += [*_told(one.causes, everything=everything)][::-1]


def _told(nodes: Sequence[Node], *, everything: bool) -> list[Node | Folded]:
    if everything:
        return [*nodes]
    told, alike = fold(nodes)
    return [*told, *alike]


def _lanes(rows: Sequence[Row]) -> list[Lane]:
    """Return the lanes of the picture, from left to right."""
    names = [_ASKING, *SERVICES]
    names += sorted({_lane_of(row.publisher) for row in rows if row.publisher} - set(names))
    step = WIDTH // len(names)
    return [Lane(name=name, x=step // 2 + number * step) for number, name in enumerate(names)]


def _lane_of(publisher: str) -> str:
    return _ASKING if publisher in (OPERATOR, SCHEDULE) else publisher


def _arrow(number: int, row: Row, lanes: Sequence[Lane]) -> Arrow:
    places = {lane.name: lane.x for lane in lanes}
    y = TOP + ROW * (number + 1)
    start = places[_lane_of(row.publisher)]
    ends = {service: places[service] for service in row.services if service in places}
    path, heads = "", []
    for service, end in ends.items():
        trouble = service in row.troubled
        if end == start:  # to itself: out to the right and back
            path += f"M{start} {y}h26v12h-20"
            heads.append((_head(start + 4, y + 12, -1), trouble))
        else:
            direction = 1 if end > start else -1
            path += f"M{start} {y}H{end - direction * 4}"
            heads.append((_head(end - direction * 2, y, direction), trouble))
    is_left = start <= WIDTH // 2
    return Arrow(
        y=y,
        label=row.title if len(row.title) <= _LABEL else f"{row.title[: _LABEL - 1]}…",
        label_x=start + (8 if is_left else -8),
        anchor="start" if is_left else "end",
        path=path,
        heads=tuple(heads),
        dot_x=start,
        mood=row.mood,
    )


def _head(x: int, y: int, direction: int) -> str:
    """Return the points of an arrow's head whose tip is at x."""
    return f"{x},{y} {x - direction * 7},{y - 4} {x - direction * 7},{y + 4}"
