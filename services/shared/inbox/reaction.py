"""What a service does about an event, declared in a table at the end of its `reactions.py`."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.shared.events import Event


def nothing(*_: object) -> Sequence[Event]:
    """Do nothing, and publish nothing."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """A reaction to one event. Each function is a method of the service, which is handed in first.

    - `do(service, event, message)` returns the events to publish, or raises.
    - `on_end(service, event, message, error)` returns what to publish when no more tries are left, or none can succeed.
      The inbox alone decides when that is.
    - `after(service, event, published)` runs once all of it is on the bus.
    """

    do: Callable[..., Iterable[Event]]
    on_end: Callable[..., Iterable[Event]]
    after: Callable[..., object] = nothing


@dataclass(frozen=True, kw_only=True)
class BatchReaction:
    """A reaction to all events of a batch that have the same key: `do(service, events)` returns nothing, or raises."""

    do: Callable[[Any, Sequence[Any]], None]
    key: Callable[[Any], Hashable]
