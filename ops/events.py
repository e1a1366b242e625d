"""Shows the events of the bus: the last ones, or each as it is logged."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ops.deployment import Deployment
from ops.journal import Journal, pattern_for
from ops.progress import printable
from ops.story import Published
from services.shared.clock import Clock, iso

# How far back to look for the last events, in steps: most are found in the first, and each costs a search.
_WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
_LATE = timedelta(seconds=30)  # EventBridge may write an event into the log after a later one
_POLL_SECONDS, _POLL_SECONDS_LOCALLY = 2.0, 0.5
_REMEMBERED = 10_000  # lines: more than come within `_LATE`


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events to show. An empty text stands for all."""

    sync_id: str = ""
    media_id: str = ""
    kind: str = ""

    def lets_pass(self, event: Published) -> bool:
        """Return whether the event is wanted."""
        return (
            self.sync_id in ("", event.sync_id)
            and self.media_id in ("", event.media_id)
            and self.kind in ("", event.type)
        )

    @property
    def pattern(self) -> str:
        """A pattern for CloudWatch Logs that lets pass at least what is wanted."""
        return pattern_for(sync_id=self.sync_id, media_id=self.media_id, kind=self.kind)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An event with its line in the log."""

    event: Published
    line: Mapping[str, Any]  # as FilterLogEvents returns it

    @property
    def envelope(self) -> str:
        """The whole event in JSON, in one line."""
        return json.dumps(json.loads(self.line["message"]), separators=(",", ":"))


def last(deployment: Deployment, wanted: Filter, *, count: int, clock: Clock) -> list[Seen]:
    """Return the last wanted events, oldest first."""
    journal, now = Journal(deployment), clock.now()
    found: deque[Seen] = deque(maxlen=count)
    for since in (*(now - window for window in _WINDOWS), None):
        found = deque(_wanted(journal, wanted, since), maxlen=count)
        if len(found) == count:
            break
    return list(found)


def tail(deployment: Deployment, wanted: Filter, *, clock: Clock) -> Iterator[Seen]:
    """Yield each wanted event that is published from now on, as soon as it is in the log. Never ends."""
    journal, since = Journal(deployment), clock.now()
    pause = _POLL_SECONDS_LOCALLY if deployment.endpoint_url else _POLL_SECONDS
    known: dict[str, None] = {}  # ids of the lines shown, in order
    while True:
        for seen in _wanted(journal, wanted, since):
            line_id = str(seen.line["eventId"])
            if line_id not in known:
                known[line_id] = None
                yield seen
        for line_id in list(known)[:-_REMEMBERED]:
            del known[line_id]
        clock.sleep(pause)
        since = max(since, clock.now() - _LATE)


def in_words(event: Published, wanted: Filter) -> str:
    """Return an event as a line for the terminal, without the ids that are the same in all lines."""
    about = ["" if wanted.sync_id else event.sync_id, "" if wanted.media_id else event.media_id]
    named = "  ".join(printable(text) for text in (*about, event.name, event.reason) if text)
    return f"{iso(event.at)}  {printable(event.publisher):<13}  {printable(event.type):<22}  {named}".rstrip()


def _wanted(journal: Journal, wanted: Filter, since: datetime | None) -> Iterator[Seen]:
    for line in journal.lines(wanted.pattern, since=since):
        event = journal.read(line)
        if event and wanted.lets_pass(event):
            yield Seen(event=event, line=line)
