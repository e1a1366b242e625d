"""The syncs table on moto, and DynamoDB's refusals."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from summarizer_stage import SYNC, Stage, a_stage

from services.shared.errors import TransientError
from services.summarizer.sync import Announcement, Medium, Quiet, Sync
from services.summarizer.syncs import MEDIA_PER_WRITE, Conflict, SyncsTable

OPEN = Sync(sync_id=SYNC, version=1, requested_at="2026-11-23T01:00:00Z")
CLOSED = replace(OPEN, version=2, state="CLOSED", announcement=Announcement())


@pytest.fixture
def stage() -> Iterator[Stage]:
    with a_stage() as stage:
        yield stage


def test_what_is_written_is_read_again_as_it_was(stage: Stage) -> None:
    sync = replace(
        OPEN,
        expected=0,
        warnings=("a", "b"),
        quiet=Quiet(version=3, reviewed_at="x"),
        summary={"bytes": 10, "failures": [{"reason": "é"}], "nothing": None},
        announcement=Announcement(number=2, recovered=("m0",)),
        closed_because="stalled",
    )
    medium = Medium(media_id="m#0/=", state="DOWNLOADED", seconds=1.25, size=None, late=3, already_stored=True)
    stage.syncs.write(None, sync, [medium])
    assert stage.syncs.read(SYNC) == sync
    assert stage.syncs.all_media(SYNC) == [medium]
    assert stage.syncs.media(SYNC, ["m#0/=", "unknown"]) == {"m#0/=": medium}


def test_a_write_holds_only_for_the_version_it_was_decided_on(stage: Stage) -> None:
    stage.syncs.write(None, OPEN)
    second = replace(OPEN, version=2, listed=7)
    stage.syncs.write(OPEN, second)
    with pytest.raises(Conflict):
        stage.syncs.write(OPEN, replace(OPEN, version=2, listed=9), [Medium(media_id="m0", state="FAILED")])
    assert stage.syncs.read(SYNC) == second
    assert stage.syncs.all_media(SYNC) == []


def test_a_sync_is_begun_once(stage: Stage) -> None:
    stage.syncs.write(None, OPEN)
    with pytest.raises(Conflict):
        stage.syncs.write(None, OPEN)


def test_a_sync_stands_in_the_index_while_it_is_unsettled(stage: Stage) -> None:
    stage.syncs.write(None, OPEN)
    assert stage.syncs.unsettled() == [SYNC]
    done = replace(OPEN, version=2, unsettled=False)
    stage.syncs.write(OPEN, done)
    assert stage.syncs.unsettled() == []
    stage.syncs.write(done, replace(done, version=3, unsettled=True))
    assert stage.syncs.unsettled() == [SYNC]


def test_the_largest_write_is_one_transaction_of_a_hundred(stage: Stage) -> None:
    media = [Medium(media_id=f"m{n}", state="DISCOVERED") for n in range(MEDIA_PER_WRITE)]
    stage.syncs.write(None, OPEN, media)
    assert len(stage.syncs.media(SYNC, [medium.media_id for medium in media])) == MEDIA_PER_WRITE


def test_what_becomes_unknown_again_is_removed(stage: Stage) -> None:
    quiet = replace(OPEN, quiet=Quiet(version=1, reviewed_at="x"))
    stage.syncs.write(None, quiet)
    stage.syncs.write(quiet, replace(quiet, version=2, quiet=None))
    found = stage.syncs.read(SYNC)
    assert found
    assert found.quiet is None


@pytest.mark.scenario(48)
def test_fields_of_a_later_version_of_the_code_are_passed_over_and_kept(stage: Stage) -> None:
    stage.syncs.write(None, OPEN)
    stage.client.update_item(
        TableName="syncs",
        Key={"sync_id": SYNC, "record": "sync"},
        UpdateExpression="SET colour = :red",
        ExpressionAttributeValues={":red": "red"},
    )
    stage.syncs.write(OPEN, replace(OPEN, version=2))
    item = stage.client.get_item(TableName="syncs", Key={"sync_id": SYNC, "record": "sync"})["Item"]
    assert item["colour"] == "red"
    assert stage.syncs.read(SYNC) == replace(OPEN, version=2)


@pytest.mark.scenario(48)
def test_a_record_of_an_earlier_version_of_the_code_can_be_read_and_written(stage: Stage) -> None:
    """It lacks what the code had not thought of then."""
    old = {"sync_id": SYNC, "record": "sync", "version": 1, "state": "OPEN"}
    stage.client.put_item(TableName="syncs", Item=old)
    found = stage.syncs.read(SYNC)
    assert found
    stage.syncs.write(found, replace(found, version=2, listed=1))
    again = stage.syncs.read(SYNC)
    assert again
    assert again.listed == 1


def test_a_claim_is_one_senders_until_it_ends(stage: Stage) -> None:
    stage.syncs.write(None, CLOSED)
    assert stage.syncs.claim(CLOSED, now=100, until=160)
    assert not stage.syncs.claim(CLOSED, now=159, until=219)
    assert stage.syncs.claim(CLOSED, now=160, until=220)


def test_a_claim_given_back_can_be_taken_but_not_another_senders(stage: Stage) -> None:
    stage.syncs.write(None, CLOSED)
    stage.syncs.claim(CLOSED, now=100, until=160)
    stage.syncs.release(CLOSED, until=159)
    assert not stage.syncs.claim(CLOSED, now=101, until=161)
    stage.syncs.release(CLOSED, until=160)
    assert stage.syncs.claim(CLOSED, now=101, until=161)


def test_what_is_told_cannot_be_claimed(stage: Stage) -> None:
    stage.syncs.write(None, CLOSED)
    stage.syncs.mark_event_sent(CLOSED)
    stage.syncs.mark_notified(CLOSED)
    assert not stage.syncs.claim(CLOSED, now=100, until=160)


def test_marks_of_an_announcement_do_not_touch_the_next_one(stage: Stage) -> None:
    stage.syncs.write(None, CLOSED)
    amended = replace(CLOSED, version=3, announcement=Announcement(number=1))
    stage.syncs.write(CLOSED, amended)
    stage.syncs.mark_event_sent(CLOSED)
    stage.syncs.mark_notified(CLOSED)
    assert stage.syncs.read(SYNC) == amended


def test_marks_leave_the_version_alone(stage: Stage) -> None:
    """A fact that was read before and is written after a mark still holds, and wipes no mark."""
    stage.syncs.write(None, CLOSED)
    stage.syncs.mark_event_sent(CLOSED)
    stage.syncs.write(CLOSED, replace(CLOSED, version=3, downloaded=1))
    found = stage.syncs.read(SYNC)
    assert found
    assert found.announcement
    assert found.announcement.event_sent
    assert found.downloaded == 1


class Refusing:
    """A client whose writes fail with this error a few times."""

    def __init__(self, client: Any, error: ClientError, times: int) -> None:
        self._client = client
        self._error = error
        self.left = times

    def __getattr__(self, name: str) -> Any:
        if name in ("transact_write_items", "update_item") and self.left:
            self.left -= 1

            def refuse(**request: Any) -> None:
                raise self._error

            return refuse
        return getattr(self._client, name)


def cancelled(*codes: str) -> ClientError:
    response: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
        "CancellationReasons": [{"Code": code} for code in codes],
    }
    return ClientError(response, "TransactWriteItems")


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "TransactWriteItems")


@pytest.mark.scenario(45)
@pytest.mark.parametrize(
    "error",
    [
        cancelled("ConditionalCheckFailed", "None"),
        cancelled("None", "TransactionConflict"),
        cancelled("ThrottlingError", "None", "ProvisionedThroughputExceeded"),
        refused("ThrottlingException"),
        refused("ProvisionedThroughputExceededException"),
        refused("TransactionInProgressException"),
        refused("InternalServerError"),
    ],
    ids=lambda error: str(error)[:80],
)
def test_a_refusal_that_passes_is_tried_again_in_place(stage: Stage, error: ClientError) -> None:
    client: Any = Refusing(stage.client, error, times=3)
    pauses: list[float] = []
    table = SyncsTable(client, "syncs", sleep=pauses.append, jitter=lambda: 0.5)
    table.insist(lambda: table.write(None, OPEN))
    assert pauses == [0.05, 0.1, 0.2]
    assert table.read(SYNC) == OPEN


@pytest.mark.parametrize("error", [refused("TransactionConflictException"), refused("ThrottlingException")])
def test_a_mark_that_collides_is_tried_again_in_place(stage: Stage, error: ClientError) -> None:
    stage.syncs.write(None, CLOSED)
    client: Any = Refusing(stage.client, error, times=3)
    table = SyncsTable(client, "syncs", sleep=lambda _: None)
    assert table.claim(CLOSED, now=100, until=160)


@pytest.mark.parametrize("error", [cancelled("ValidationError", "None"), refused("AccessDeniedException")])
def test_a_refusal_that_stays_is_an_error_at_once(stage: Stage, error: ClientError) -> None:
    client: Any = Refusing(stage.client, error, times=1)
    table = SyncsTable(client, "syncs")
    with pytest.raises(ClientError):
        table.insist(lambda: table.write(None, OPEN))


class LeavingKeys:
    """A client that answers for one key at a time, as DynamoDB does when it is busy."""

    def __init__(self, client: Any, *, forever: bool = False) -> None:
        self._client = client
        self._forever = forever

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803  # AWS's own name
        ((table, request),) = RequestItems.items()
        first, *rest = request["Keys"]
        if self._forever:
            first, rest = {"sync_id": "?", "record": "?"}, request["Keys"]
        answer = self._client.batch_get_item(RequestItems={table: {**request, "Keys": [first]}})
        return {**answer, "UnprocessedKeys": {table: {"Keys": rest}} if rest else {}}


def test_keys_that_dynamodb_left_are_asked_for_again(stage: Stage) -> None:
    media = [Medium(media_id=f"m{n}", state="DISCOVERED") for n in range(5)]
    stage.syncs.write(None, OPEN, media)
    client: Any = LeavingKeys(stage.client)
    assert len(SyncsTable(client, "syncs").media(SYNC, [f"m{n}" for n in range(5)])) == 5


def test_keys_that_are_left_for_ever_are_no_answer(stage: Stage) -> None:
    client: Any = LeavingKeys(stage.client, forever=True)
    with pytest.raises(TransientError):
        SyncsTable(client, "syncs").media(SYNC, ["m0"])
