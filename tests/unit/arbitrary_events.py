"""Events of every type, as Hypothesis makes them up."""

from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from hypothesis import strategies as st

from services.shared.events import EVENT_TYPES, Due, Event, Slice, SyncRequested

sync_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)
moments = st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds") + "Z")
numbers = st.floats(allow_nan=False, allow_infinity=False)
slices = st.builds(Slice, began_at=moments, seconds=numbers, bytes=st.integers(), retries=st.integers())
_OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: numbers,
    tuple[Slice, ...]: st.lists(slices, max_size=3).map(tuple),
}


def events_of(event_type: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of this type that a service or the schedule could publish."""
    if issubclass(event_type, Due):
        return st.builds(event_type, occurred_at=moments)
    hints = get_type_hints(event_type)
    given: dict[str, st.SearchStrategy[Any]] = {
        field.name: _OF_TYPE[hints[field.name]] if hints[field.name] in _OF_TYPE else st.from_type(hints[field.name])
        for field in fields(event_type)
    }
    given |= {"sync_id": sync_ids, "hops": st.integers(0, 200), "occurred_at": moments}
    if event_type is SyncRequested:
        given |= {"scheduled_time": st.none() | moments, "refused": st.just("")}
    return st.builds(event_type, **given)


events = st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda name: events_of(EVENT_TYPES[name]))


def required_fields(event_type: type[Event]) -> list[str]:
    return [f.name for f in fields(event_type) if f.default is MISSING and f.default_factory is MISSING]
