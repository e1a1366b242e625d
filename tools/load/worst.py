"""The largest items, events and messages of a sync: all its media fail, and every text is as long as possible."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.shared.envelope import SYNC_ID, detail
from services.shared.events import AuthenticationFailed
from tools.load.nights import Nights, calm, medium
from tools.simulator.gopro import Medium, make_file
from tools.simulator.scenario import Action

MEDIA = 1000  # the default admission
_FILES = 150  # of one medium, a burst
_LETTERS = 1000  # of each text from outside: names, reasons
_WARNINGS = 100  # more than the services keep
_SYNC = "s" * 100
assert SYNC_ID.fullmatch(_SYNC)


@dataclass(frozen=True, kw_only=True)
class Largest:
    """The largest sizes in bytes, by kind; `wrong` lists errors in the result."""

    letter: str  # all texts consist of it
    sizes: Mapping[str, int]
    wrong: tuple[str, ...]


def measure(letter: str) -> Largest:
    """Run one sync in which all texts consist of this letter."""
    text = letter * _LETTERS
    failing = [_nameless_no_more(medium(number), text) for number in range(1, MEDIA)]
    library = [_burst(text), *failing]
    request = Action(0.0, "manual", _SYNC, {"sync_id": _SYNC})
    world = _Wordy(replace(calm(library), actions=(request,)), text)
    outcome = world.run()
    (sent,) = world.topic.sent
    attributes = sum(len(name) + len(value.encode()) for name, value in sent.attributes.items())
    (closed,) = world.events("SyncCompleted")
    summary = closed.read()["data"]
    wrong = list(map(str, outcome.violations))
    if (summary["failed"], summary["downloaded"], summary["failures_total"]) != (MEDIA - 1, 1, MEDIA - 1):
        wrong.append(f"of {MEDIA} media {summary['failed']} failed and {summary['downloaded']} were stored")
    notification = len(sent.subject) + len(sent.body.encode()) + attributes
    return Largest(letter=letter, sizes={**world.meter.largest, "notification": notification}, wrong=tuple(wrong))


def _nameless_no_more(one: Medium, text: str) -> Medium:
    return replace(one, filename=text, available=False)


def _burst(text: str) -> Medium:
    one = medium(0)
    files = [make_file(one.id, f"files/default/{n}", n, 5, 0, "plain") for n in range(1, _FILES + 1)]
    return replace(one, type="Burst", shape="burst", filename=text, files=files, listed_size=5 * _FILES)


class _Wordy(Nights):
    """A night in which all texts are long."""

    def __init__(self, plan: Any, text: str) -> None:
        super().__init__(plan)
        self._text = text
        self.bus.decorate = self._said_at_length

    def _begin(self) -> None:
        super()._begin()
        self.scheduler.after(1.0, self._session_fails)

    def _session_fails(self) -> None:
        """Publish a failed renewal while the current session stays valid: the summary reports it, too."""
        failed = AuthenticationFailed(sync_id=_SYNC, reason=self._text, remedy=self._text, session_version=1)
        self.bus.take("cloud-sync.authenticator", AuthenticationFailed.__name__, json.dumps(detail(failed)))

    def _said_at_length(self, _: str, written: str) -> str:
        content = json.loads(written)
        said = content.get("data", {})
        if "attempts" in said:
            said["reason"] = self._text
        if "warnings" in said:
            said["warnings"] = [self._text] * _WARNINGS
        return json.dumps(content)
