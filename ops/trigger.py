"""Requests a sync, or the end of one: puts the event on the bus, as the schedule does every night."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ops.deployment import Deployment
from ops.errors import OperatorError
from services.authenticator.failures import RequestRefused
from services.authenticator.request import accepted_filters
from services.shared.cancellations import SYNC
from services.shared.envelope import read_event
from services.shared.events import OPERATOR, SyncCancelRequested, SyncRequested, source_of

SOURCE = source_of(OPERATOR)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to sync. An empty field is left out of the event and means everything."""

    provider: str = "gopro"
    sync_id: str | None = None
    types: Sequence[str] = ()
    captured_from: str | None = None  # ISO 8601, inclusive
    captured_until: str | None = None  # ISO 8601, exclusive

    def detail(self) -> dict[str, Any]:
        """Return the event's `detail`. Raises `OperatorError` when the services would refuse it."""
        filters = _filled(types=list(self.types), captured_from=self.captured_from, captured_until=self.captured_until)
        detail = {"provider": self.provider, **_filled(sync_id=self.sync_id, filters=filters)}
        event = read_event(json.dumps({"detail-type": SyncRequested.__name__, "id": "checked", "detail": detail}))
        if isinstance(event, SyncRequested):
            try:
                accepted_filters(event)
            except RequestRefused as error:
                raise OperatorError(f"{error}. Nothing was sent.") from error
        return detail


def _filled(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def entry(bus: str, request: Request) -> dict[str, str]:
    """Return the entry for EventBridge's PutEvents."""
    return {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": SyncRequested.__name__,
        "Detail": json.dumps(request.detail()),
    }


def request_sync(deployment: Deployment, request: Request) -> str:
    """Put the event on the bus and return the sync's id. Raises `OperatorError` when EventBridge refuses the event."""
    event_id = _publish(deployment, entry(deployment.outputs["EventBusName"], request))
    return request.sync_id or event_id


def request_cancel(deployment: Deployment, sync_id: str) -> None:
    """Ask a sync to end in good order. Raises `OperatorError` when it is unknown or closed."""
    key = {"sync_id": sync_id, "record": SYNC}
    sync = deployment.table("SyncsTableName").get_item(Key=key, ConsistentRead=True).get("Item")
    if sync is None:
        raise OperatorError(f"There is no sync {sync_id} {deployment.place}. Nothing was sent.")
    if sync.get("state") == "CLOSED":
        raise OperatorError(f"Sync {sync_id} is closed already ({sync.get('closed_because')}). Nothing was sent.")
    _publish(
        deployment,
        {
            "EventBusName": deployment.outputs["EventBusName"],
            "Source": SOURCE,
            "DetailType": SyncCancelRequested.__name__,
            "Detail": json.dumps({"sync_id": sync_id}),
        },
    )


def _publish(deployment: Deployment, event: dict[str, str]) -> str:
    """Put an event on the bus, and return its id."""
    answer = deployment.client("events").put_events(Entries=[event])
    (result,) = answer["Entries"]
    if answer["FailedEntryCount"]:
        raise OperatorError(f"EventBridge refused the event: {result['ErrorCode']}: {result.get('ErrorMessage', '')}")
    return str(result["EventId"])
