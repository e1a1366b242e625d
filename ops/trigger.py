"""Asks for a sync: the same event that the schedule puts on the bus, by hand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ops.deployment import Deployment
from ops.errors import OperatorError
from services.shared.events import SOURCE_PREFIX, SyncRequested, read_event
from services.shared.gopro.media import MEDIA_TYPES

SOURCE = f"{SOURCE_PREFIX}operator"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to sync. What is empty is left out, and then means everything."""

    provider: str = "gopro"
    sync_id: str | None = None
    types: Sequence[str] = ()
    captured_from: str | None = None  # ISO 8601, inclusive
    captured_until: str | None = None  # ISO 8601, exclusive

    def detail(self) -> dict[str, Any]:
        """The event's `detail`. Raises `OperatorError` when no service would accept it."""
        filters = {
            "types": list(self.types),
            "captured_from": self.captured_from,
            "captured_until": self.captured_until,
        }
        given = {"sync_id": self.sync_id, "filters": {name: value for name, value in filters.items() if value}}
        detail = {"provider": self.provider, **{name: value for name, value in given.items() if value}}
        event = read_event(json.dumps({"detail-type": SyncRequested.__name__, "id": "checked", "detail": detail}))
        if isinstance(event, SyncRequested) and event.refused:
            raise OperatorError(event.refused)
        if unknown := sorted(set(self.types) - MEDIA_TYPES):
            raise OperatorError(
                f"GoPro has no type {', '.join(unknown)}; its types are {', '.join(sorted(MEDIA_TYPES))}"
            )
        return detail


def entry(bus: str, request: Request) -> dict[str, str]:
    """The entry for EventBridge's PutEvents."""
    return {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": SyncRequested.__name__,
        "Detail": json.dumps(request.detail()),
    }


def request_sync(deployment: Deployment, request: Request) -> str:
    """Puts the event on the bus. Returns the sync's id. Raises `OperatorError` when EventBridge refuses the event."""
    wanted = entry(deployment.outputs["EventBusName"], request)
    answer = deployment.client("events").put_events(Entries=[wanted])
    (result,) = answer["Entries"]
    if answer["FailedEntryCount"]:
        raise OperatorError(f"EventBridge refused the event: {result['ErrorCode']}: {result.get('ErrorMessage', '')}")
    return request.sync_id or str(result["EventId"])
