"""Events across an update: today's services read what 0.1.0 has published, and those of 0.1.0 what today's publish.

A message can live for days in an inbox or among dead letters, and functions are replaced one by one. So both happen.
`events_0_1_0.py.txt` is the contract of 0.1.0: `git show 9befeef:services/shared/events.py`. It writes and reads here.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared import envelope
from services.shared.events import EVENT_TYPES
from tests.unit.arbitrary_events import events_of, moments, numbers, sync_ids
from tools.template import reactions_of_services


def contract_of_0_1_0() -> Any:
    source = Path(__file__).with_name("events_0_1_0.py.txt")
    module = ModuleType("events_0_1_0")
    sys.modules[module.__name__] = module  # where its dataclasses look up their types
    exec(compile(source.read_text(), source, "exec"), module.__dict__)
    return module


OLD = contract_of_0_1_0()
# What the four services of 0.1.0 reacted to. Its other events were for people alone.
READ_BY_0_1_0 = (
    *("SyncRequested", "SessionAuthenticated", "AuthenticationFailed", "SessionRejected", "SyncReviewDue"),
    *("LibraryListingPaused", "LibraryListed", "LibraryListingFailed"),
    *("MediaDiscovered", "MediaDownloadPaused", "MediaDownloaded", "MediaDownloadFailed"),
)


def events_of_0_1_0(name: str) -> st.SearchStrategy[Any]:
    kind = OLD.EVENT_TYPES[name]
    if name == "SyncReviewDue":
        return st.builds(kind, occurred_at=moments)
    hints = get_type_hints(kind)
    values = {one.name: numbers if hints[one.name] is float else st.from_type(hints[one.name]) for one in fields(kind)}
    values |= {"sync_id": sync_ids, "hops": st.integers(0, 200), "occurred_at": moments}
    if name == "SyncRequested":
        values |= {"scheduled_time": st.none() | moments, "refused": st.just("")}
    return st.builds(kind, **values)


def on_the_bus(name: str, detail: Mapping[str, Any], time: str) -> str:
    return json.dumps({"id": "an-id", "detail-type": name, "source": "cloud-sync.x", "time": time, "detail": detail})


def agree(one: Any, other: Any) -> bool:
    """Whether two values are the same in all fields that both have."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return bool(one) == bool(other) and all(agree(one[key], other[key]) for key in one.keys() & other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(agree, one, other))
    return bool(one == other)


def test_every_event_of_0_1_0_is_still_known() -> None:
    assert OLD.EVENT_TYPES.keys() <= EVENT_TYPES.keys()
    read_today = {kind.__name__ for reactions in reactions_of_services().values() for kind in reactions}
    assert set(READ_BY_0_1_0) <= read_today


@pytest.mark.parametrize("name", sorted(OLD.EVENT_TYPES))
@given(st.data())
def test_what_0_1_0_has_published_is_read(name: str, data: st.DataObject) -> None:
    old = data.draw(events_of_0_1_0(name))
    read = envelope.read_event(on_the_bus(name, OLD.detail(old), old.occurred_at))
    assert type(read) is EVENT_TYPES[name]
    assert agree(msgspec.to_builtins(read), msgspec.to_builtins(old))
    assert read.event_id == old.event_id


@pytest.mark.parametrize("name", READ_BY_0_1_0)
@given(st.data())
def test_what_is_published_today_is_read_by_0_1_0(name: str, data: st.DataObject) -> None:
    new = data.draw(events_of(EVENT_TYPES[name]))
    read = OLD.read_event(on_the_bus(name, envelope.detail(new), new.occurred_at))
    assert type(read) is OLD.EVENT_TYPES[name]
    assert agree(msgspec.to_builtins(read), msgspec.to_builtins(new))
