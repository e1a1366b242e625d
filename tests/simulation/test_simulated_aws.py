"""The simulated AWS keeps AWS's own promises, and no more: a simulator that is wrong proves nothing."""

import base64
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from awscrt import checksums
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.simulation.alone import SOURCE, AwsAlone
from tests.simulation.faults import Fault
from tests.simulation.s3 import Again
from tests.simulation.virtual import SimulatorError

KEY = {"id": "a"}


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def crc(body: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()


@pytest.fixture
def aws() -> AwsAlone:
    return AwsAlone(
        tables={"table": {"id": "S"}, "ranged": {"id": "S", "item": "N"}},
        patterns={"inbox": {"detail-type": ["Happened"], "source": [SOURCE]}},
    )


class TestDynamoDb:
    def test_plain_values_go_in_and_numbers_come_out_as_decimals(self, aws: AwsAlone) -> None:
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item={**KEY, "n": 1, "l": ["x", True], "m": {"k": 2}}))
        got = aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True))
        assert got["Item"] == {"id": "a", "n": Decimal(1), "l": ["x", True], "m": {"k": Decimal(2)}}

    def test_absent_item_is_no_item(self, aws: AwsAlone) -> None:
        assert aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True)) == {}

    def test_what_was_read_is_no_part_of_the_table(self, aws: AwsAlone) -> None:
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item={**KEY, "m": {"k": 1}}))
        first = aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True))
        first["Item"]["m"]["k"] = 2
        second = aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True))
        assert second["Item"]["m"] == {"k": 1}

    def test_inconsistent_read_is_refused(self, aws: AwsAlone) -> None:
        with pytest.raises(SimulatorError, match="consistent"):
            aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY))

    @pytest.mark.parametrize(
        ("condition", "values", "holds"),
        [
            ("attribute_exists(n)", {}, True),
            ("attribute_not_exists(n)", {}, False),
            ("attribute_not_exists(nothing)", {}, True),
            ("n = :v", {":v": 5}, True),
            ("n <> :v", {":v": 5}, False),
            ("nothing <> :v", {":v": 5}, True),
            ("nothing = :v", {":v": 5}, False),
            ("nothing < :v", {":v": 5}, False),
            ("n < :v", {":v": "6"}, False),  # another type
            ("n <= :v AND s = :s", {":v": 5, ":s": "x"}, True),
            ("n > :v OR s = :s", {":v": 5, ":s": "x"}, True),
            ("s = :s OR n > :v AND n < :v", {":v": 5, ":s": "x"}, True),  # AND binds closer
            ("(s = :s OR n > :v) AND n < :v", {":v": 5, ":s": "x"}, False),
            ("NOT n = :v", {":v": 5}, False),
            ("m.k = :v", {":v": 7}, True),
            ("begins_with(s, :s)", {":s": ""}, True),
        ],
    )
    def test_conditions(self, aws: AwsAlone, condition: str, values: dict[str, Any], *, holds: bool) -> None:
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item={**KEY, "n": 5, "s": "x", "m": {"k": 7}}))
        request: dict[str, Any] = {"ConditionExpression": condition}
        if values:
            request["ExpressionAttributeValues"] = values

        def delete() -> Any:
            return aws.dynamodb.delete_item(TableName="table", Key=KEY, **request)

        if holds:
            aws.do(delete)
            return
        with pytest.raises(aws.dynamodb.exceptions.ConditionalCheckFailedException) as refused:
            aws.do(delete)
        assert code(refused) == "ConditionalCheckFailedException"

    def test_update_sets_adds_and_removes(self, aws: AwsAlone) -> None:
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item={**KEY, "gone": 1, "m": {"k": 1}}))
        answer = aws.do(
            lambda: aws.dynamodb.update_item(
                TableName="table",
                Key=KEY,
                UpdateExpression="SET m.k = :two, fresh = if_not_exists(fresh, :two) + :one REMOVE gone ADD epoch :one",
                ExpressionAttributeValues={":one": 1, ":two": 2},
                ReturnValues="UPDATED_NEW",
            )
        )
        assert answer["Attributes"] == {"m": {"k": 2}, "fresh": 3, "epoch": 1}
        got = aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True))
        assert got["Item"] == {"id": "a", "m": {"k": 2}, "fresh": 3, "epoch": 1}

    def test_update_makes_the_item_that_is_not_there(self, aws: AwsAlone) -> None:
        aws.do(
            lambda: aws.dynamodb.update_item(
                TableName="table",
                Key=KEY,
                UpdateExpression="SET n = :n",
                ExpressionAttributeValues={":n": 1},
            )
        )
        got = aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True))
        assert got["Item"] == {"id": "a", "n": 1}

    def test_value_that_no_expression_uses_is_refused(self, aws: AwsAlone) -> None:
        with pytest.raises(SimulatorError, match=":unused"):
            aws.do(
                lambda: aws.dynamodb.put_item(
                    TableName="table",
                    Item=KEY,
                    ConditionExpression="attribute_exists(id)",
                    ExpressionAttributeValues={":unused": 1},
                )
            )

    def test_float_is_refused(self, aws: AwsAlone) -> None:
        with pytest.raises(SimulatorError, match="float"):
            aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item={**KEY, "n": 0.5}))

    def test_unknown_expression_is_refused_loudly(self, aws: AwsAlone) -> None:
        with pytest.raises(SimulatorError, match="contains"):
            aws.do(
                lambda: aws.dynamodb.put_item(
                    TableName="table",
                    Item=KEY,
                    ConditionExpression="contains(id, :v)",
                    ExpressionAttributeValues={":v": "x"},
                )
            )

    def test_transaction_is_all_or_nothing(self, aws: AwsAlone) -> None:
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item={"id": "b", "n": 1}))
        actions = [
            {"Put": {"TableName": "table", "Item": {"id": "a"}}},
            {
                "ConditionCheck": {
                    "TableName": "table",
                    "Key": {"id": "b"},
                    "ConditionExpression": "n = :two",
                    "ExpressionAttributeValues": {":two": 2},
                }
            },
        ]
        with pytest.raises(ClientError) as refused:
            aws.do(lambda: aws.dynamodb.transact_write_items(TransactItems=actions))
        assert code(refused) == "TransactionCanceledException"
        assert refused.value.response["CancellationReasons"] == [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
        assert aws.do(lambda: aws.dynamodb.get_item(TableName="table", Key=KEY, ConsistentRead=True)) == {}

    def test_transaction_takes_an_item_once(self, aws: AwsAlone) -> None:
        actions = [{"Put": {"TableName": "table", "Item": KEY}}, {"Delete": {"TableName": "table", "Key": KEY}}]
        with pytest.raises(SimulatorError, match="multiple operations"):
            aws.do(lambda: aws.dynamodb.transact_write_items(TransactItems=actions))

    def test_transaction_that_is_sent_again_with_its_token_is_done_once(self) -> None:
        aws = AwsAlone(tables={"table": {"id": "S"}}, rates={Fault.LOST_ANSWER: 1.0})
        action = {
            "Update": {
                "TableName": "table",
                "Key": KEY,
                "UpdateExpression": "ADD n :one",
                "ConditionExpression": "attribute_not_exists(n)",
                "ExpressionAttributeValues": {":one": 1},
            }
        }
        aws.do(lambda: aws.dynamodb.transact_write_items(TransactItems=[action]))
        assert aws.database.tables["table"].plain() == [{"id": "a", "n": 1}]

    def test_conditional_write_that_is_sent_again_fails_on_itself(self) -> None:
        aws = AwsAlone(tables={"table": {"id": "S"}}, rates={Fault.LOST_ANSWER: 1.0})
        with pytest.raises(ClientError) as refused:
            aws.do(
                lambda: aws.dynamodb.put_item(
                    TableName="table", Item=KEY, ConditionExpression="attribute_not_exists(id)"
                )
            )
        assert code(refused) == "ConditionalCheckFailedException"

    def test_query_gives_all_items_of_a_partition_in_order_and_in_pages(self, aws: AwsAlone) -> None:
        for item in (7, 1, 3, 10, 2, 5):
            aws.do(partial(aws.dynamodb.put_item, TableName="ranged", Item={"id": "a", "item": item}))
        aws.do(lambda: aws.dynamodb.put_item(TableName="ranged", Item={"id": "b", "item": 4}))
        pages = aws.do(
            lambda: list(
                aws.dynamodb.get_paginator("query").paginate(
                    TableName="ranged",
                    KeyConditionExpression="id = :id AND #item > :one",
                    ExpressionAttributeNames={"#item": "item"},
                    ExpressionAttributeValues={":id": "a", ":one": 1},
                    ConsistentRead=True,
                )
            )
        )
        assert len(pages) > 1
        assert [int(item["item"]) for page in pages for item in page["Items"]] == [2, 3, 5, 7, 10]

    def test_batch_get_leaves_keys_unprocessed_under_load(self) -> None:
        aws = AwsAlone(tables={"table": {"id": "S"}}, rates={Fault.UNPROCESSED: 1.0})
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item=KEY))
        keys = [{"id": "a"}, {"id": "b"}]
        answer = aws.do(
            lambda: aws.dynamodb.batch_get_item(RequestItems={"table": {"Keys": keys, "ConsistentRead": True}})
        )
        assert answer["UnprocessedKeys"]["table"]["Keys"]

    def test_plain_client_speaks_in_typed_values(self, aws: AwsAlone) -> None:
        aws.do(lambda: aws.plain_dynamodb.put_item(TableName="table", Item={"id": {"S": "a"}, "n": {"N": "1"}}))
        with pytest.raises(ClientError) as refused:
            aws.do(
                lambda: aws.plain_dynamodb.put_item(
                    TableName="table",
                    Item={"id": {"S": "a"}},
                    ConditionExpression="attribute_not_exists(id)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            )
        assert refused.value.response["Item"] == {"id": {"S": "a"}, "n": {"N": "1"}}  # type: ignore[typeddict-item]


class TestSqs:
    def test_message_is_hidden_from_its_receive_on_and_comes_back(self, aws: AwsAlone) -> None:
        aws.sqs.send(aws.queues["inbox"], "body")
        (first,) = aws.receive()
        assert not aws.receive()
        aws.pass_time(29)
        assert not aws.receive()
        aws.pass_time(2)
        (second,) = aws.receive()
        assert (second.id, second.receives) == (first.id, 2)

    def test_visibility_counts_from_now(self, aws: AwsAlone) -> None:
        aws.sqs.send(aws.queues["inbox"], "body")
        (message,) = aws.receive()
        aws.pass_time(20)
        change_visibility(aws, message.handle, 20)
        aws.pass_time(19)
        assert not aws.receive()
        aws.pass_time(2)
        assert aws.receive()

    def test_message_becomes_a_dead_letter_when_it_would_be_received_once_too_often(self, aws: AwsAlone) -> None:
        aws.sqs.send(aws.queues["inbox"], "body")
        for receives in (1, 2, 3):
            (message,) = aws.receive()
            assert message.receives == receives
            change_visibility(aws, message.handle, 0)
        assert not aws.dead.messages  # not before somebody asks for it
        assert not aws.receive()
        assert [letter.body for letter in aws.dead.messages.values()] == ["body"]

    def test_deleted_message_is_gone(self, aws: AwsAlone) -> None:
        aws.sqs.send(aws.queues["inbox"], "body")
        (message,) = aws.receive()
        aws.do(lambda: aws.queue_client.delete_message(QueueUrl="inbox", ReceiptHandle=message.handle))
        aws.pass_time(60)
        assert not aws.receive()

    @pytest.mark.parametrize(
        ("prepare", "expected"),
        [
            (lambda aws, handle: aws.pass_time(31), "MessageNotInflight"),
            (lambda aws, handle: aws.sqs.delete(aws.queues["inbox"], handle), "InvalidParameterValue"),
            (lambda aws, handle: (aws.pass_time(31), aws.receive()), "InvalidParameterValue"),
        ],
    )
    def test_visibility_is_not_changed_of_what_is_not_in_hand(
        self, aws: AwsAlone, prepare: Callable[[AwsAlone, str], object], expected: str
    ) -> None:
        aws.sqs.send(aws.queues["inbox"], "body")
        handle = aws.receive()[0].handle
        prepare(aws, handle)
        with pytest.raises(ClientError) as refused:
            change_visibility(aws, handle, 10)
        assert code(refused) == expected

    def test_counts_tell_visible_from_hidden(self, aws: AwsAlone) -> None:
        for _ in range(3):
            aws.sqs.send(aws.queues["inbox"], "body")
        aws.receive(most=1)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = aws.do(lambda: aws.queue_client.get_queue_attributes(QueueUrl="inbox", AttributeNames=names))
        assert answer["Attributes"] == {names[0]: "2", names[1]: "1"}


def change_visibility(aws: AwsAlone, handle: str, seconds: int) -> None:
    aws.do(
        lambda: aws.queue_client.change_message_visibility(
            QueueUrl="inbox", ReceiptHandle=handle, VisibilityTimeout=seconds
        )
    )


def entry(name: str = "Happened") -> dict[str, str]:
    return {"EventBusName": "bus", "Source": SOURCE, "DetailType": name, "Detail": '{"a": 1}'}


class TestEventBridge:
    def test_rule_lets_through_what_it_names(self, aws: AwsAlone) -> None:
        aws.do(lambda: aws.events.put_events(Entries=[entry(), entry("Other")]))
        aws.pass_time(5)
        (message,) = aws.receive()
        assert '"detail-type": "Happened"' in message.body
        assert '"detail": {"a": 1}' in message.body

    def test_entries_that_fail_are_told_by_their_place(self) -> None:
        aws = AwsAlone(rates={Fault.PARTIAL: 1.0}, seed=3)
        answer = aws.do(lambda: aws.events.put_events(Entries=[entry() for _ in range(10)]))
        failed = [place for place, result in enumerate(answer["Entries"]) if "ErrorCode" in result]
        assert 0 < len(failed) < 10
        assert answer["FailedEntryCount"] == len(failed)
        assert len(aws.bus.archive) == 10 - len(failed)

    def test_duplicates_are_messages_of_their_own(self) -> None:
        aws = AwsAlone(
            patterns={"inbox": {"detail-type": ["Happened"], "source": [SOURCE]}}, rates={Fault.DUPLICATE: 1.0}
        )
        aws.do(lambda: aws.events.put_events(Entries=[entry()]))
        aws.pass_time(2000)
        received = aws.receive()
        assert 2 <= len(received) <= 5
        assert len({message.body for message in received}) == 1

    def test_answer_that_never_came_leaves_the_event_sent(self) -> None:
        aws = AwsAlone(rates={Fault.NO_ANSWER: 1.0})
        with pytest.raises(ReadTimeoutError):
            aws.do(lambda: aws.events.put_events(Entries=[entry()]))
        assert len(aws.bus.archive) == 1

    def test_no_service_publishes_as_another(self, aws: AwsAlone) -> None:
        with pytest.raises(SimulatorError, match="may not publish"):
            aws.do(lambda: aws.events.put_events(Entries=[{**entry(), "Source": "cloud-sync.lister"}]))


class TestS3:
    def upload(self, aws: AwsAlone, *bodies: bytes) -> tuple[str, list[dict[str, Any]]]:
        begun = aws.do(
            lambda: aws.s3.create_multipart_upload(
                Bucket="bucket", Key="key", Metadata={}, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
            )
        )
        parts: list[dict[str, Any]] = []
        for number, body in enumerate(bodies, start=1):
            answer = aws.do(
                partial(
                    aws.s3.upload_part,
                    Bucket="bucket",
                    Key="key",
                    UploadId=begun["UploadId"],
                    PartNumber=number,
                    Body=body,
                    ContentLength=len(body),
                    ChecksumCRC64NVME=crc(body),
                )
            )
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        return begun["UploadId"], parts

    def complete(self, aws: AwsAlone, upload_id: str, parts: list[dict[str, Any]], **more: Any) -> Any:
        return aws.do(
            lambda: aws.s3.complete_multipart_upload(
                Bucket="bucket", Key="key", UploadId=upload_id, MultipartUpload={"Parts": parts}, **more
            )
        )

    def put(self, aws: AwsAlone, body: bytes = b"other", **more: Any) -> Any:
        return aws.do(lambda: aws.s3.put_object(Bucket="bucket", Key="key", Body=body, **more))

    def test_parts_become_an_object_with_their_etag(self, aws: AwsAlone) -> None:
        upload_id, parts = self.upload(aws, b"12345", b"67")
        self.complete(aws, upload_id, parts, MpuObjectSize=7, ChecksumCRC64NVME=crc(b"1234567"), IfNoneMatch="*")
        head = aws.do(lambda: aws.s3.head_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED"))
        assert head["ContentLength"] == 7
        assert head["ETag"].endswith('-2"')
        assert head["ChecksumCRC64NVME"] == crc(b"1234567")
        with pytest.raises(ClientError) as refused:
            self.complete(aws, upload_id, parts)
        assert code(refused) == "NoSuchUpload"

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"MpuObjectSize": 8}, "InvalidRequest"),
            ({"ChecksumCRC64NVME": crc(b"another")}, "BadDigest"),
            ({"IfNoneMatch": "*"}, "PreconditionFailed"),
        ],
    )
    def test_complete_is_refused(self, aws: AwsAlone, more: dict[str, Any], expected: str) -> None:
        self.put(aws)
        upload_id, parts = self.upload(aws, b"12345", b"67")
        with pytest.raises(ClientError) as refused:
            self.complete(aws, upload_id, parts, **more)
        assert code(refused) == expected
        assert aws.bucket.objects["key"].body == b"other"
        assert upload_id in aws.bucket.uploads

    @pytest.mark.parametrize(
        ("again", "expected"), [("gone", "NoSuchUpload"), ("answered", ""), ("precondition", "PreconditionFailed")]
    )
    def test_second_complete_hears_one_of_three_things(self, aws: AwsAlone, again: Again, expected: str) -> None:
        aws.bucket.again = again
        upload_id, parts = self.upload(aws, b"12345", b"67")
        first = self.complete(aws, upload_id, parts, IfNoneMatch="*")
        if expected:
            with pytest.raises(ClientError) as refused:
                self.complete(aws, upload_id, parts, IfNoneMatch="*")
            assert code(refused) == expected
        else:
            assert self.complete(aws, upload_id, parts, IfNoneMatch="*") == first
        assert aws.bucket.objects["key"].body == b"1234567"

    def test_part_that_is_too_small_is_refused_unless_it_is_the_last(self, aws: AwsAlone) -> None:
        upload_id, parts = self.upload(aws, b"1", b"2345")
        with pytest.raises(ClientError) as refused:
            self.complete(aws, upload_id, parts)
        assert code(refused) == "EntityTooSmall"

    def test_wrong_part_checksum_is_refused(self, aws: AwsAlone) -> None:
        upload_id, _ = self.upload(aws)
        with pytest.raises(ClientError) as refused:
            aws.do(
                lambda: aws.s3.upload_part(
                    Bucket="bucket",
                    Key="key",
                    UploadId=upload_id,
                    PartNumber=1,
                    Body=b"abc",
                    ContentLength=3,
                    ChecksumCRC64NVME=crc(b"abd"),
                )
            )
        assert code(refused) == "BadDigest"

    def test_aborted_upload_is_gone(self, aws: AwsAlone) -> None:
        upload_id, parts = self.upload(aws, b"12345")
        for expected in ("", "NoSuchUpload"):
            if expected:
                with pytest.raises(ClientError) as refused:
                    aws.do(lambda: aws.s3.abort_multipart_upload(Bucket="bucket", Key="key", UploadId=upload_id))
                assert code(refused) == expected
            else:
                aws.do(lambda: aws.s3.abort_multipart_upload(Bucket="bucket", Key="key", UploadId=upload_id))
        with pytest.raises(ClientError) as gone:
            self.complete(aws, upload_id, parts)
        assert code(gone) == "NoSuchUpload"

    def test_parts_are_listed_in_pages(self, aws: AwsAlone) -> None:
        upload_id, _ = self.upload(aws, *[b"12345"] * 5)
        pages = aws.do(
            lambda: list(aws.s3.get_paginator("list_parts").paginate(Bucket="bucket", Key="key", UploadId=upload_id))
        )
        assert [part["PartNumber"] for page in pages for part in page["Parts"]] == [1, 2, 3, 4, 5]

    def test_put_with_if_none_match_never_overwrites(self, aws: AwsAlone) -> None:
        self.put(aws, IfNoneMatch="*")
        with pytest.raises(ClientError) as refused:
            self.put(aws, b"again", IfNoneMatch="*")
        assert code(refused) == "PreconditionFailed"
        assert aws.do(lambda: aws.s3.get_object(Bucket="bucket", Key="key"))["Body"].read() == b"other"

    @pytest.mark.parametrize(("granted", "expected"), [(True, "404"), (False, "403")])
    def test_absent_key_is_hidden_where_listing_is_not_granted(self, *, granted: bool, expected: str) -> None:
        aws = AwsAlone()
        aws.bucket.listing_granted = granted
        with pytest.raises(ClientError) as refused:
            aws.do(lambda: aws.s3.head_object(Bucket="bucket", Key="key"))
        assert code(refused) == expected


class TestKills:
    @pytest.mark.parametrize(("fault", "written"), [(Fault.KILL_BEFORE, 0), (Fault.KILL_AFTER, 1)])
    def test_killed_process_does_nothing_more(self, fault: Fault, written: int) -> None:
        aws = AwsAlone(tables={"table": {"id": "S"}}, rates={fault: 1.0})
        after: list[str] = []

        def work() -> None:
            try:
                aws.dynamodb.put_item(TableName="table", Item=KEY)
                after.append("went on")
            finally:
                # What a killed process would do on its way out it can't.
                aws.dynamodb.put_item(TableName="table", Item={"id": "cleanup"})

        aws.all_at_once(work)
        assert len(aws.database.tables["table"].items) == written
        assert not after

    def test_frozen_process_goes_on_late(self) -> None:
        aws = AwsAlone(tables={"table": {"id": "S"}}, rates={Fault.FREEZE: 1.0})
        began = aws.scheduler.now
        aws.do(lambda: aws.dynamodb.put_item(TableName="table", Item=KEY))
        assert aws.scheduler.now - began > 8


def test_unknown_operation_is_refused_loudly(aws: AwsAlone) -> None:
    with pytest.raises(SimulatorError, match="list_objects_v2"):
        aws.s3.list_objects_v2(Bucket="bucket")
