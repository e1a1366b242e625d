"""Publishing: what PutEvents is sent, and what is made of its answer."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from services.shared.bus import MAX_BYTES, MAX_ENTRIES, TRIES, Bus, OversizeEvent, PublishFailed
from services.shared.clock import iso
from services.shared.envelope import read_event as read
from services.shared.events import Event, LibraryListingFailed, MediaDiscovered, SyncCompleted, SyncRequested
from tests.unit.clocks import ManualClock

NOW = datetime(2026, 11, 23, 1, 0, 3, 999_999, tzinfo=UTC)
ACCEPTED = None
THROTTLED = "ThrottlingException"


class EventBridge:
    """Answers PutEvents by a script: per call the error codes of its entries by index, or an exception to raise."""

    def __init__(self, *script: Sequence[str | None] | Exception) -> None:
        self._script = list(script)
        self.calls: list[list[dict[str, Any]]] = []

    def put_events(self, **request: list[dict[str, Any]]) -> dict[str, Any]:
        entries = request["Entries"]
        self.calls.append(entries)
        answer = self._script.pop(0) if self._script else []
        if isinstance(answer, Exception):
            raise answer
        codes = [*answer, *[ACCEPTED] * (len(entries) - len(answer))]
        results = [{"ErrorCode": code, "ErrorMessage": "no"} if code else {"EventId": "1"} for code in codes]
        return {"FailedEntryCount": sum(code is not None for code in codes), "Entries": results}

    def media_ids(self) -> list[list[str]]:
        return [[json.loads(entry["Detail"])["data"]["media_id"] for entry in call] for call in self.calls]


def bus_to(client: Any, clock: ManualClock | None = None) -> Bus:
    return Bus(client, name="bus", publisher="lister", clock=clock or ManualClock(NOW))


def medium(number: object) -> MediaDiscovered:
    return MediaDiscovered(sync_id="s", media_id=str(number))


def entry_size(entry: dict[str, Any]) -> int:
    return sum(len(entry[key].encode()) for key in ("Source", "DetailType", "Detail"))


def padded_to(size: int) -> LibraryListingFailed:
    """An event whose entry has so many bytes."""
    probe = EventBridge()
    bus_to(probe).publish([LibraryListingFailed(sync_id="s", reason="")])
    return LibraryListingFailed(sync_id="s", reason="x" * (size - entry_size(probe.calls[0][0])))


def test_an_event_carries_its_class_name_and_the_source_of_its_service() -> None:
    client = EventBridge()
    bus_to(client).publish([medium(1)])
    ((entry,),) = client.calls
    assert entry | {"Detail": None} == {
        "EventBusName": "bus",
        "Source": "cloud-sync.lister",
        "DetailType": "MediaDiscovered",
        "Detail": None,
    }
    content = json.loads(entry["Detail"])
    assert content["metadata"]["occurred_at"] == "2026-11-23T01:00:03Z" == iso(NOW)
    assert content["metadata"]["event_id"] == medium(1).event_id
    assert content["data"]["media_id"] == "1"


def test_an_event_names_the_event_that_caused_it() -> None:
    client, cause = EventBridge(), SyncRequested(sync_id="s")
    bus_to(client).publish([medium(1)], cause=cause)
    bus_to(client).publish([MediaDiscovered(sync_id="s", media_id="1", causation_id="known before")])
    first, second = (json.loads(call[0]["Detail"])["metadata"]["causation_id"] for call in client.calls)
    assert first == cause.event_id
    assert second == "known before"


def test_publishing_nothing_makes_no_call() -> None:
    client = EventBridge()
    bus_to(client).publish([])
    assert client.calls == []


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 21, 99])
def test_no_call_has_more_than_ten_entries_and_the_order_is_kept(count: int) -> None:
    client = EventBridge()
    bus_to(client).publish(medium(n) for n in range(count))
    assert [len(call) for call in client.calls[:-1]] == [MAX_ENTRIES] * (len(client.calls) - 1)
    assert [media_id for call in client.media_ids() for media_id in call] == [str(n) for n in range(count)]


@pytest.mark.scenario(47)
def test_an_event_of_the_largest_size_is_sent_and_one_byte_more_is_refused() -> None:
    client = EventBridge()
    bus_to(client).publish([padded_to(MAX_BYTES)])
    assert entry_size(client.calls[0][0]) == MAX_BYTES
    with pytest.raises(OversizeEvent, match=r"LibraryListingFailed has 1,000,001 bytes"):
        bus_to(client).publish([padded_to(MAX_BYTES + 1)])
    assert len(client.calls) == 1


@pytest.mark.scenario(47)
def test_one_oversize_event_stops_every_batch() -> None:
    client = EventBridge()
    with pytest.raises(OversizeEvent):
        bus_to(client).publish([*map(medium, range(25)), padded_to(MAX_BYTES + 1)])
    assert client.calls == []


def test_two_events_that_fill_a_call_to_the_last_byte_share_it() -> None:
    client = EventBridge()
    bus_to(client).publish([padded_to(MAX_BYTES // 2)] * 2)
    bus_to(client).publish([padded_to(MAX_BYTES // 2), padded_to(MAX_BYTES // 2 + 1)])
    assert [len(call) for call in client.calls] == [2, 1, 1]


@given(st.lists(st.integers(400, MAX_BYTES), max_size=25))
def test_every_call_is_small_enough_and_nothing_is_lost(sizes: list[int]) -> None:
    client = EventBridge()
    bus_to(client).publish([padded_to(size) for size in sizes])
    for call in client.calls:
        assert 1 <= len(call) <= MAX_ENTRIES
        assert sum(map(entry_size, call)) <= MAX_BYTES
    assert [entry_size(entry) for call in client.calls for entry in call] == sizes


def test_the_size_is_that_of_the_bytes_sent_whatever_the_alphabet() -> None:
    client = EventBridge()
    with pytest.raises(OversizeEvent):
        bus_to(client).publish([LibraryListingFailed(sync_id="s", reason="語" * 400_000)])
    bus_to(client).publish([LibraryListingFailed(sync_id="s", reason="語" * 100_000)])
    assert entry_size(client.calls[0][0]) < MAX_BYTES


def test_half_a_surrogate_pair_in_a_file_name_is_published() -> None:
    client = EventBridge()
    bus_to(client).publish([MediaDiscovered(sync_id="s", media_id="1", filename="\ud83d.MP4")])
    entry = client.calls[0][0]
    event = read(json.dumps({"detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"])}))
    assert isinstance(event, MediaDiscovered)
    assert event.filename == "\ud83d.MP4"


@pytest.mark.scenario(16)
def test_only_the_entries_that_failed_are_sent_again() -> None:
    client = EventBridge([ACCEPTED, THROTTLED, ACCEPTED, "InternalFailure"], [ACCEPTED, "InternalException"])
    clock = ManualClock()
    bus_to(client, clock).publish(map(medium, range(5)))
    assert client.media_ids() == [["0", "1", "2", "3", "4"], ["1", "3"], ["3"]]
    assert client.calls[1][0] == client.calls[0][1]  # the same text, so the same event_id
    assert clock.slept == [0.1, 0.2]


def test_entries_that_keep_failing_raise_without_a_pause_after_the_last_try() -> None:
    client = EventBridge(*[[THROTTLED]] * TRIES)
    clock = ManualClock()
    with pytest.raises(PublishFailed, match="1 of the entries: ThrottlingException"):
        bus_to(client, clock).publish([medium(0), medium(1)])
    assert client.media_ids() == [["0", "1"], *[["0"]] * (TRIES - 1)]
    assert len(clock.slept) == TRIES - 1


@pytest.mark.parametrize("code", ["NotAuthorizedForSourceException", "MalformedDetail", "AccessDeniedException"])
def test_an_entry_with_a_lasting_error_is_not_sent_again(code: str) -> None:
    client = EventBridge([THROTTLED, code])
    with pytest.raises(PublishFailed, match=code):
        bus_to(client).publish(map(medium, range(3)))
    assert len(client.calls) == 1


def test_no_batch_is_sent_after_a_failed_one() -> None:
    client = EventBridge(["MalformedDetail"])
    with pytest.raises(PublishFailed):
        bus_to(client).publish(map(medium, range(30)))
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutEvents"),
        EndpointConnectionError(endpoint_url="https://events.example"),
    ],
)
def test_an_error_of_the_whole_call_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        bus_to(EventBridge(error)).publish([medium(1)])


def test_a_number_that_json_does_not_have_is_not_sent() -> None:
    client = EventBridge()
    with pytest.raises(ValueError, match="JSON"):
        bus_to(client).publish([medium(0), MediaDiscovered(sync_id="s", media_id="1", size=float("nan"))])  # type: ignore[arg-type]
    assert client.calls == []


def through_eventbridge(events: list[Event]) -> list[dict[str, Any]]:
    """What a queue behind a rule of moto's EventBridge holds afterwards."""
    client, queue = boto3.client("events", "eu-central-1"), boto3.client("sqs", "eu-central-1")
    client.create_event_bus(Name="bus")
    url = queue.create_queue(QueueName="inbox")["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": ["cloud-sync.lister"]})
    client.put_rule(Name="rule", EventBusName="bus", EventPattern=pattern)
    client.put_targets(Rule="rule", EventBusName="bus", Targets=[{"Id": "1", "Arn": arn}])
    bus_to(client).publish(events)
    found = []
    while batch := queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in batch]
        for message in batch:
            queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@mock_aws
def test_published_events_arrive_unchanged() -> None:
    summary = SyncCompleted(
        sync_id="s",
        summary_id="1",
        outcome="completed",
        closed_because="complete",
        trigger="manual",
        requested_at=iso(NOW),
        closed_at=iso(NOW),
        warnings=("\u00fc \U0001f980",),
        occurred_at=iso(NOW),
    )
    arrived = through_eventbridge([summary, *map(medium, range(11))])
    assert len(arrived) == 12
    assert next(read(json.dumps(body)) for body in arrived if body["detail-type"] == "SyncCompleted") == summary


# ── At the level of HTTP ─────────────────────────────────────────────────────────────────────────────────────────────


class Wire:
    """A client of moto's EventBridge whose first request meets with an accident, and a queue behind the bus."""

    def __init__(self) -> None:
        self.client = boto3.client("events", "eu-central-1")
        self.requests: list[list[dict[str, Any]]] = []
        self.accident: Callable[[Any], None] = lambda request: None
        self._well, self._queue = boto3.client("events", "eu-central-1"), boto3.client("sqs", "eu-central-1")
        self._well.create_event_bus(Name="bus")
        self._url = self._queue.create_queue(QueueName="inbox")["QueueUrl"]
        self._well.put_rule(Name="rule", EventBusName="bus", EventPattern='{"source": ["cloud-sync.lister"]}')
        target: Any = {"Id": "1", "Arn": "arn:aws:sqs:eu-central-1:123456789012:inbox"}
        self._well.put_targets(Rule="rule", EventBusName="bus", Targets=[target])
        self.client.meta.events.register_first("before-send.events.PutEvents", self._send)

    def _send(self, request: Any, **_: Any) -> None:
        self.requests.append(json.loads(request.body)["Entries"])
        if len(self.requests) == 1:
            self.accident(request)

    def deliver(self, entries: Any) -> None:
        self._well.put_events(Entries=entries)

    def arrived(self) -> list[Event]:
        found: list[Event] = []
        while batch := self._queue.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                found.append(read(message["Body"]))
                self._queue.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
def wire() -> Iterator[Wire]:
    with mock_aws():
        yield Wire()


@pytest.mark.scenario(16)
def test_an_entry_that_eventbridge_refused_arrives_once_and_so_do_the_others(wire: Wire) -> None:
    def without_a_source(request: Any) -> None:
        body = json.loads(request.body)
        body["Entries"][1]["Source"] = ""  # which moto refuses, and that entry alone
        request.body = json.dumps(body).encode()

    def one_that_passes(parsed: Any, **_: Any) -> None:
        for entry in parsed["Entries"]:
            if "ErrorCode" in entry:
                entry["ErrorCode"] = "InternalFailure"

    wire.accident = without_a_source
    wire.client.meta.events.register("after-call.events.PutEvents", one_that_passes)
    bus_to(wire.client).publish(map(medium, range(5)))
    assert [len(entries) for entries in wire.requests] == [5, 1]
    assert Counter(event.event_id for event in wire.arrived()) == {medium(n).event_id: 1 for n in range(5)}


@pytest.mark.scenario(17)
def test_events_whose_answer_was_lost_are_sent_again_under_the_same_ids(wire: Wire) -> None:
    def lost(request: Any) -> None:
        wire.deliver(json.loads(request.body)["Entries"])
        raise ReadTimeoutError(endpoint_url="https://events.example")

    wire.accident = lost
    bus_to(wire.client).publish(map(medium, range(3)))
    assert len(wire.requests) == 2
    assert Counter(event.event_id for event in wire.arrived()) == {medium(n).event_id: 2 for n in range(3)}
