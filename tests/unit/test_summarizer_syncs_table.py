"""The syncs table on moto's DynamoDB, and what it does when DynamoDB refuses."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from services.shared.events import SessionEnding
from services.summarizer.history import HISTORY, Details, Kind, MissingMedium, PageState, past, place
from services.summarizer.records import Announcement, ClosedSync, Conflict, Medium, Quiet, Sync
from services.summarizer.syncs_table import SyncsTable
from tests.unit.clocks import ManualClock
from tests.unit.summarizer_facts import SYNC

OPEN = Sync(sync_id=SYNC, version=1, requested_at="2026-11-23T01:00:00Z")
SUMMARY = {"closed_at": "2026-11-23T02:00:00Z", "trigger": "manual", "reason": "late"}
CLOSED = ClosedSync(sync_id=SYNC, version=2, closed_because="stalled", outcome="partial", summary=SUMMARY)
KEY = {"sync_id": SYNC, "record": "sync"}
DETAILS = Details(
    kinds=(Kind(camera="HERO13", type="Video", media=2, bytes=7),),
    seconds=1.25,
    missing=(MissingMedium(media_id="m#1", filename="é", because="failed", reason="gone"),),
    dead_letters=1,
)


class Stage:
    """The table, and DynamoDB's client that a test can make refuse its next writes."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.refusals: list[ClientError] = []
        self.clock = ManualClock()
        facade: Any = self
        self.syncs = SyncsTable(facade, "syncs", clock=self.clock)

    def __getattr__(self, name: str) -> Any:
        if name in ("transact_write_items", "update_item", "put_item") and self.refusals:
            raise self.refusals.pop()
        return getattr(self._client, name)


@pytest.fixture(scope="module")
def dynamodb() -> Any:
    return boto3.resource("dynamodb", region_name="eu-central-1", aws_access_key_id="t", aws_secret_access_key="t")


@pytest.fixture
def stage(dynamodb: Any) -> Iterator[Stage]:
    with mock_aws():
        dynamodb.create_table(
            TableName="syncs",
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in (("sync_id", "HASH"), ("record", "RANGE"))
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("sync_id", "record")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Stage(dynamodb.meta.client)


@pytest.fixture
def syncs(stage: Stage) -> SyncsTable:
    return stage.syncs


@pytest.mark.parametrize(
    "sync",
    [
        replace(OPEN, expected=0, warnings=("a", "b"), quiet=Quiet(version=3, reviewed_at="x")),
        replace(
            CLOSED,
            summary={**SUMMARY, "bytes": 10, "seconds": 0.5, "failures": [{"reason": "é"}], "nothing": None},
            announcement=Announcement(number=2, recovered=("m0",)),
        ),
    ],
    ids=["open", "closed"],
)
def test_records_are_read_as_they_were_written(syncs: SyncsTable, sync: Sync) -> None:
    medium = Medium(media_id="m#0/=", state="DOWNLOADED", seconds=1.25, size=None, late=3, already_stored=True)
    syncs.write(None, sync, [medium])
    assert syncs.read(SYNC) == sync
    assert syncs.all_media(SYNC) == [medium]
    assert syncs.media(SYNC, ["m#0/=", "unknown"]) == {"m#0/=": medium}


def test_a_write_fails_when_its_version_is_no_longer_the_tables(syncs: SyncsTable) -> None:
    syncs.write(None, OPEN)
    with pytest.raises(Conflict):
        syncs.write(None, OPEN)
    second = replace(OPEN, version=2, listed=7)
    syncs.write(OPEN, second)
    with pytest.raises(Conflict):
        syncs.write(OPEN, replace(OPEN, version=2, listed=9), [Medium(media_id="m0", state="FAILED")])
    assert syncs.read(SYNC) == second
    assert syncs.all_media(SYNC) == []


def test_a_sync_is_in_the_index_while_it_is_unsettled(syncs: SyncsTable) -> None:
    syncs.write(None, OPEN)
    assert syncs.unsettled() == [SYNC]
    done = replace(OPEN, version=2, unsettled=False)
    syncs.write(OPEN, done)
    assert syncs.unsettled() == []
    syncs.write(done, replace(done, version=3, unsettled=True))
    assert syncs.unsettled() == [SYNC]


def test_an_attribute_that_becomes_none_is_removed(syncs: SyncsTable) -> None:
    quiet = replace(OPEN, quiet=Quiet(version=1, reviewed_at="x"))
    syncs.write(None, quiet)
    after = replace(quiet, version=2, quiet=None)
    syncs.write(quiet, after)
    assert syncs.read(SYNC) == after


@pytest.mark.scenario(48)
def test_attributes_of_a_later_version_of_the_code_are_ignored_and_kept(stage: Stage, syncs: SyncsTable) -> None:
    syncs.write(None, OPEN)
    stage.update_item(
        TableName="syncs",
        Key=KEY,
        UpdateExpression="SET colour = :red",
        ExpressionAttributeValues={":red": "red"},
    )
    syncs.write(OPEN, replace(OPEN, version=2))
    assert stage.get_item(TableName="syncs", Key=KEY)["Item"]["colour"] == "red"
    assert syncs.read(SYNC) == replace(OPEN, version=2)


@pytest.mark.scenario(48)
def test_an_item_of_an_earlier_version_of_the_code_can_be_read_and_written(stage: Stage, syncs: SyncsTable) -> None:
    """It has none of the attributes that later versions added."""
    stage.put_item(TableName="syncs", Item={**KEY, "version": 1, "state": "OPEN"})
    found = syncs.read(SYNC)
    assert found == Sync(sync_id=SYNC, version=1)
    syncs.write(found, replace(found, version=2, listed=1))
    assert syncs.read(SYNC) == Sync(sync_id=SYNC, version=2, listed=1)


def test_a_claim_is_one_senders_until_it_ends_or_is_released(syncs: SyncsTable) -> None:
    syncs.write(None, CLOSED)
    assert syncs.claim(CLOSED, now=100, until=160)
    syncs.release(CLOSED, until=159)  # another sender's
    assert not syncs.claim(CLOSED, now=159, until=219)
    assert syncs.claim(CLOSED, now=160, until=220)
    syncs.release(CLOSED, until=220)
    assert syncs.claim(CLOSED, now=161, until=221)
    syncs.mark_notified(CLOSED)
    assert not syncs.claim(CLOSED, now=300, until=360), "it has gone out"


def test_marks_of_an_announcement_leave_the_next_one_alone(syncs: SyncsTable) -> None:
    syncs.write(None, CLOSED)
    amended = replace(CLOSED, version=3, announcement=Announcement(number=1))
    syncs.write(CLOSED, amended)
    syncs.mark_event_sent(CLOSED)
    syncs.mark_notified(CLOSED)
    assert syncs.read(SYNC) == amended


def test_a_mark_and_a_fact_that_was_read_before_it_both_hold(syncs: SyncsTable) -> None:
    syncs.write(None, CLOSED)
    syncs.mark_event_sent(CLOSED)
    after = replace(CLOSED, version=3, downloaded=1)
    syncs.write(CLOSED, after)
    assert syncs.read(SYNC) == replace(after, announcement=Announcement(event_sent=True))


def cancelled(*codes: str) -> ClientError:
    response: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": f"cancelled: {codes}"},
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
        refused("TransactionConflictException"),
        refused("TransactionInProgressException"),
        refused("InternalServerError"),
    ],
    ids=str,
)
def test_a_refusal_that_may_pass_is_retried_in_place(stage: Stage, syncs: SyncsTable, error: ClientError) -> None:
    stage.refusals = [error] * 3
    syncs.insist(lambda: syncs.write(None, CLOSED))
    assert stage.clock.slept == [0.05, 0.1, 0.2]
    stage.refusals = [error] * 3
    assert syncs.claim(CLOSED, now=100, until=160)


@pytest.mark.parametrize("error", [cancelled("ValidationError", "None"), refused("AccessDeniedException")], ids=str)
def test_a_lasting_refusal_is_raised_at_once(stage: Stage, syncs: SyncsTable, error: ClientError) -> None:
    stage.refusals = [error]
    with pytest.raises(ClientError):
        syncs.insist(lambda: syncs.write(None, OPEN))
    assert stage.clock.slept == []


def test_a_closed_sync_is_in_the_history_from_its_close_on(syncs: SyncsTable) -> None:
    syncs.write(None, OPEN)
    assert syncs.recent(9) == []
    syncs.write(OPEN, replace(CLOSED, requested_at=OPEN.requested_at), details=DETAILS)
    assert syncs.recent(9) == [past(replace(CLOSED, requested_at=OPEN.requested_at), DETAILS)]


def test_late_results_change_the_record_and_leave_its_details(syncs: SyncsTable) -> None:
    syncs.write(None, CLOSED, details=DETAILS)
    late = replace(CLOSED, version=3, downloaded=1, bytes=70, late=3)
    syncs.write(CLOSED, late, [Medium(media_id="m0", state="DOWNLOADED", bytes=70)])
    assert syncs.recent(9) == [past(late, DETAILS)]
    amended = replace(late, version=4, announcement=Announcement(number=1))
    syncs.write(late, amended, details=Details())
    assert syncs.recent(9) == [past(amended, Details())]


def test_a_write_that_fails_leaves_the_history_as_it_is(syncs: SyncsTable) -> None:
    syncs.write(None, CLOSED)
    with pytest.raises(Conflict):
        syncs.write(replace(CLOSED, version=7), replace(CLOSED, version=8, downloaded=1))
    assert syncs.recent(9) == [past(CLOSED, Details())]


def test_the_last_syncs_are_read_and_the_one_requested_last_comes_first(syncs: SyncsTable) -> None:
    for day in (3, 1, 2, 4):
        syncs.write(None, replace(CLOSED, sync_id=f"sync-{day}", requested_at=f"2026-11-0{day}T01:00:00Z"))
    assert [one.sync_id for one in syncs.recent(3)] == ["sync-4", "sync-3", "sync-2"]
    assert syncs.unsettled() == ["sync-1", "sync-2", "sync-3", "sync-4"]


def test_a_transaction_of_the_most_media_has_room_for_all_that_goes_with_them(syncs: SyncsTable) -> None:
    settled = replace(CLOSED, unsettled=False)
    syncs.write(None, settled)
    media = [Medium(media_id=f"m{number:03}", state="DOWNLOADED") for number in range(SyncsTable.MEDIA_PER_WRITE)]
    syncs.write(settled, replace(settled, version=3, unsettled=True, late=3), media)
    assert syncs.all_media(SYNC) == media


def test_syncs_that_closed_before_there_was_a_history_can_be_added_to_it(stage: Stage, syncs: SyncsTable) -> None:
    before = replace(CLOSED, sync_id="before", requested_at="2026-11-01T01:00:00Z", downloaded=3)
    for sync in (before, CLOSED):
        syncs.write(None, sync, details=DETAILS)
    stage.delete_item(TableName="syncs", Key={"sync_id": HISTORY, "record": place(before)})
    syncs.write(None, replace(OPEN, sync_id="open"))
    for _ in range(2):
        syncs.import_into_history(["before", "open", SYNC, "unknown"])
    assert syncs.recent(9) == [past(before, Details(), imported=True), past(CLOSED, DETAILS)]


def test_what_is_known_of_the_page_is_kept_unless_another_one_was_first(syncs: SyncsTable) -> None:
    assert syncs.page() == PageState()
    ending = SessionEnding(sync_id="s", warned_on="2026-11-27", since="a", next_sync_at="b", occurred_at="c")
    syncs.keep_page(PageState(), PageState(stale_at="2026-11-28T01:00:00Z", imported=True, warning=ending))
    kept = PageState(version=1, stale_at="2026-11-28T01:00:00Z", imported=True, warning=ending)
    assert syncs.page() == kept
    with pytest.raises(Conflict):
        syncs.keep_page(PageState(), PageState())
    syncs.keep_page(kept, replace(kept, stale_at=""))
    assert syncs.page() == replace(kept, stale_at="", version=2)


@pytest.mark.parametrize("write", ["keep_page", "import_into_history"])
def test_a_busy_table_is_a_conflict_and_another_refusal_is_raised_as_it_is(stage: Stage, write: str) -> None:
    stage.syncs.write(None, CLOSED)
    stage.delete_item(TableName="syncs", Key={"sync_id": HISTORY, "record": place(CLOSED)})
    request: Any = {"keep_page": (PageState(), PageState()), "import_into_history": ([SYNC],)}[write]
    for code, raised in (("TransactionConflictException", Conflict), ("AccessDeniedException", ClientError)):
        stage.refusals.append(ClientError({"Error": {"Code": code}}, "PutItem"))
        with pytest.raises(raised):
            getattr(stage.syncs, write)(*request)
