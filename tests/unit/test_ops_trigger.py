"""What an operator may ask for, and the event it becomes."""

import json
from typing import Any

import pytest

from ops.errors import OperatorError
from ops.trigger import Request, entry, request_sync
from services.shared.events import SyncRequested, read_event


def read(request: Request) -> SyncRequested:
    """The event as a service reads it."""
    sent = entry("bus", request)
    body = {"id": "event-id", "detail-type": sent["DetailType"], "detail": json.loads(sent["Detail"])}
    event = read_event(json.dumps(body))
    assert isinstance(event, SyncRequested)
    return event


def test_the_least_request_is_the_provider_alone() -> None:
    sent = entry("the-bus", Request())

    assert json.loads(sent["Detail"]) == {"provider": "gopro"}
    assert (sent["Source"], sent["DetailType"]) == ("cloud-sync.operator", "SyncRequested")
    assert sent["EventBusName"] == "the-bus"


def test_a_name_and_filters_arrive_as_they_were_given() -> None:
    request = Request(sync_id="mine", types=("Video", "Photo"), captured_from="2026-01-01T00:00:00Z")

    event = read(request)

    assert (event.sync_id, event.filters.types) == ("mine", ("Video", "Photo"))
    assert (event.filters.captured_from, event.filters.captured_until) == ("2026-01-01T00:00:00Z", None)


@pytest.mark.parametrize("request_", [Request(sync_id="no spaces"), Request(sync_id="-x"), Request(types=("Vidoe",))])
def test_what_no_service_would_accept_is_not_sent(request_: Request) -> None:
    with pytest.raises(OperatorError, match=r"sync_id|no type Vidoe"):
        request_.detail()


class Events:
    def __init__(self, *results: dict[str, Any]) -> None:
        self.results = list(results)
        self.outputs = {"EventBusName": "bus"}

    def client(self, _: str) -> "Events":
        return self

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 - AWS's name
        return {"FailedEntryCount": sum("ErrorCode" in one for one in self.results), "Entries": self.results}


def test_the_sync_is_named_by_the_event_or_as_asked() -> None:
    deployment: Any = Events({"EventId": "e1"})

    assert request_sync(deployment, Request()) == "e1"
    assert request_sync(deployment, Request(sync_id="mine")) == "mine"


def test_a_refusal_with_http_200_is_noticed() -> None:
    deployment: Any = Events({"ErrorCode": "InternalFailure", "ErrorMessage": "try later"})

    with pytest.raises(OperatorError, match="InternalFailure: try later"):
        request_sync(deployment, Request())
