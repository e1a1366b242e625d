"""What only the simulated AWS does: faults, and ending the run at a mistake. Its answers: tests/contract."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.contract.transcripts import crc64nvme
from tools.simulator.alone import SOURCE, AwsAlone
from tools.simulator.faults import Fault
from tools.simulator.s3 import Again
from tools.simulator.virtual import SimulatorError

KEY = {"id": "a"}
TABLES = {"table": {"id": "S"}}
PATTERNS = {"inbox": {"detail-type": ["Happened"], "source": [SOURCE]}}


def entry(**changes: str) -> dict[str, str]:
    return {"EventBusName": "bus", "Source": SOURCE, "DetailType": "Happened", "Detail": '{"a": 1}', **changes}


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda aws: aws.dynamodb.get_item(TableName="table", Key=KEY), "consistent"),
        (lambda aws: aws.dynamodb.put_item(TableName="table", Item={**KEY, "n": 0.5}), "float"),
        (
            lambda aws: aws.dynamodb.put_item(
                TableName="table",
                Item=KEY,
                ConditionExpression="contains(id, :v)",
                ExpressionAttributeValues={":v": "x"},
            ),
            "contains",
        ),
        (lambda aws: aws.events.put_events(Entries=[entry(Source="cloud-sync.lister")]), "may not publish"),
        (lambda aws: aws.s3.list_objects_v2(Bucket="bucket"), "list_objects_v2"),
    ],
    ids=["inconsistent read", "fraction as float", "unknown function", "another's source", "unknown operation"],
)
def test_a_call_that_no_service_may_make_ends_the_run(mistake: Callable[[AwsAlone], Any], said: str) -> None:
    aws = AwsAlone(tables=TABLES)
    with pytest.raises(SimulatorError, match=said):
        aws.do(lambda: mistake(aws))


def test_a_batch_leaves_keys_unprocessed() -> None:
    aws = AwsAlone(tables=TABLES, rates={Fault.UNPROCESSED: 1.0})
    keys = [KEY, {"id": "b"}]
    answer = aws.do(lambda: aws.dynamodb.batch_get_item(RequestItems={"table": {"Keys": keys, "ConsistentRead": True}}))
    assert answer["UnprocessedKeys"]["table"]["Keys"]


def test_entries_that_fail_are_reported_by_their_place() -> None:
    aws = AwsAlone(rates={Fault.PARTIAL: 1.0}, seed=3)
    answer = aws.do(lambda: aws.events.put_events(Entries=[entry() for _ in range(10)]))
    failed = [place for place, result in enumerate(answer["Entries"]) if "ErrorCode" in result]
    assert 0 < len(failed) < 10
    assert answer["FailedEntryCount"] == len(failed)
    assert len(aws.bus.archive) == 10 - len(failed)


def test_duplicates_are_messages_of_their_own() -> None:
    aws = AwsAlone(patterns=PATTERNS, rates={Fault.DUPLICATE: 1.0})
    aws.do(lambda: aws.events.put_events(Entries=[entry()]))
    aws.pass_time(2000)
    received = aws.receive()
    assert 2 <= len(received) <= 5
    assert len({message.body for message in received}) == 1


def test_an_answer_that_never_came_leaves_the_event_sent() -> None:
    aws = AwsAlone(rates={Fault.NO_ANSWER: 1.0})
    with pytest.raises(ReadTimeoutError):
        aws.do(lambda: aws.events.put_events(Entries=[entry()]))
    assert len(aws.bus.archive) == 1


@pytest.mark.parametrize(
    ("again", "expected"), [("gone", "NoSuchUpload"), ("answered", ""), ("precondition", "PreconditionFailed")]
)
def test_a_second_complete_gets_one_of_three_answers(again: Again, expected: str) -> None:
    aws, where = AwsAlone(), {"Bucket": "bucket", "Key": "key"}
    aws.bucket.again = again
    begun = aws.do(
        lambda: aws.s3.create_multipart_upload(
            **where, Metadata={}, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
        )
    )
    upload = {**where, "UploadId": begun["UploadId"]}
    part = aws.do(
        lambda: aws.s3.upload_part(
            **upload, PartNumber=1, Body=b"abc", ContentLength=3, ChecksumCRC64NVME=crc64nvme(b"abc")
        )
    )

    def complete() -> Any:
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        return aws.do(lambda: aws.s3.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*"))

    first = complete()
    if expected:
        with pytest.raises(ClientError, match=expected):
            complete()
    else:
        assert complete() == first


@pytest.mark.parametrize(("granted", "expected"), [(True, "404"), (False, "403")])
def test_an_absent_key_is_hidden_where_listing_is_not_granted(*, granted: bool, expected: str) -> None:
    aws = AwsAlone()
    aws.bucket.listing_granted = granted
    with pytest.raises(ClientError, match=expected):
        aws.do(lambda: aws.s3.head_object(Bucket="bucket", Key="key"))


@pytest.mark.parametrize(("fault", "written"), [(Fault.KILL_BEFORE, 0), (Fault.KILL_AFTER, 1)])
def test_a_killed_process_does_nothing_more(fault: Fault, written: int) -> None:
    aws = AwsAlone(tables=TABLES, rates={fault: 1.0})
    after: list[str] = []

    def work() -> None:
        try:
            aws.dynamodb.put_item(TableName="table", Item=KEY)
            after.append("continued")
        finally:
            # A killed process cannot clean up either.
            aws.dynamodb.put_item(TableName="table", Item={"id": "cleanup"})

    aws.all_at_once(work)
    assert len(aws.database.tables["table"].items) == written
    assert not after


def test_a_frozen_process_continues_late() -> None:
    aws = AwsAlone(tables=TABLES, rates={Fault.FREEZE: 1.0})
    began = aws.scheduler.now
    aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item=KEY))
    assert aws.scheduler.now - began > 8
