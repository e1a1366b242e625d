"""What an operator may request, and the event that requests it."""

import json
from typing import Any

import pytest

from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.trigger import Request, entry, request_cancel, request_sync
from services.shared.envelope import read_event
from services.shared.events import SyncCancelRequested, SyncRequested


def test_the_shortest_request_is_the_provider_alone() -> None:
    sent = entry("the-bus", Request())

    assert json.loads(sent["Detail"]) == {"provider": "gopro"}
    assert (sent["Source"], sent["DetailType"]) == ("cloud-sync.operator", "SyncRequested")
    assert sent["EventBusName"] == "the-bus"


def test_the_services_read_the_id_and_the_filters_as_they_were_given() -> None:
    request = Request(sync_id="mine", types=("Video", "Photo"), captured_from="2026-01-01T00:00:00Z")
    sent = entry("bus", request)
    body = {"id": "event-id", "detail-type": sent["DetailType"], "detail": json.loads(sent["Detail"])}

    event = read_event(json.dumps(body))

    assert isinstance(event, SyncRequested)
    assert (event.sync_id, event.filters.types) == ("mine", ("Video", "Photo"))
    assert (event.filters.captured_from, event.filters.captured_until) == ("2026-01-01T00:00:00Z", None)


@pytest.mark.parametrize("request_", [Request(sync_id="no spaces"), Request(sync_id="-x"), Request(types=("Vidoe",))])
def test_a_request_that_every_service_would_refuse_is_not_sent(request_: Request) -> None:
    with pytest.raises(OperatorError, match=r"sync_id|no Vidoe"):
        request_.detail()


class Events:
    """A deployment whose PutEvents answers with this result."""

    def __init__(self, **result: str) -> None:
        self.outputs = {"EventBusName": "bus"}
        self.result = result

    def client(self, _: str) -> "Events":
        return self

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 - AWS's name
        return {"FailedEntryCount": int("ErrorCode" in self.result), "Entries": [self.result]}


def test_the_sync_id_is_the_events_id_or_the_requested_one() -> None:
    deployment: Any = Events(EventId="e1")

    assert request_sync(deployment, Request()) == "e1"
    assert request_sync(deployment, Request(sync_id="mine")) == "mine"


def test_a_refusal_that_arrives_as_http_200_is_an_error() -> None:
    deployment: Any = Events(ErrorCode="InternalFailure", ErrorMessage="try later")

    with pytest.raises(OperatorError, match="InternalFailure: try later"):
        request_sync(deployment, Request())


class Bus:
    """Keeps what is put on it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 - AWS's name
        self.sent += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e1"}]}


@pytest.fixture
def bus(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Bus:
    bus, client = Bus(), Deployment.client
    monkeypatch.setattr(Deployment, "client", lambda self, name: bus if name == "events" else client(self, name))
    deployment.outputs["EventBusName"] = "the-bus"
    return bus


def test_an_open_sync_is_asked_to_end_by_an_event_that_the_summarizer_reads(deployment: Deployment, bus: Bus) -> None:
    deployment.table("SyncsTableName").put_item(Item={"sync_id": "s1", "record": "sync", "state": "OPEN"})
    request_cancel(deployment, "s1")
    (sent,) = bus.sent
    assert (sent["EventBusName"], sent["Source"]) == ("the-bus", "cloud-sync.operator")
    body = {"detail-type": sent["DetailType"], "detail": json.loads(sent["Detail"])}
    assert read_event(json.dumps(body)) == SyncCancelRequested(sync_id="s1")


def test_an_unknown_or_closed_sync_cannot_be_cancelled(deployment: Deployment, bus: Bus) -> None:
    closed = {"sync_id": "s1", "record": "sync", "state": "CLOSED", "closed_because": "complete"}
    deployment.table("SyncsTableName").put_item(Item=closed)
    with pytest.raises(OperatorError, match=r"s1 is closed already \(complete\)"):
        request_cancel(deployment, "s1")
    with pytest.raises(OperatorError, match="no sync typo"):
        request_cancel(deployment, "typo")
    assert bus.sent == []
