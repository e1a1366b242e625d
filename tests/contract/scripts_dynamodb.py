"""What the services ask of DynamoDB, and what it answers, beyond what `test_simulated_aws_at_random` tries."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.contract.transcripts import Calls, lax, script

_UPDATES = "DynamoDB's guide, update expressions: a section comes once, an operand is there and of the right type"

KEY = {"id": "a"}
ITEM: Mapping[str, Any] = {**KEY, "n": 5, "s": "x", "yes": True, "none": "", "zero": 0, "m": {"k": 7, "flag": False}}
# Condition, and the values that it needs. About half of them hold for ITEM.
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "attribute_exists(m.k)": {},
    "attribute_exists(m.nothing)": {},
    "n = :text": {":text": "5"},
    "n <> :text": {":text": "5"},
    "n < :text": {":text": "6"},
    "n < :half": {":half": Decimal("5.5")},
    "yes = :yes": {":yes": True},
    "yes = :one": {":one": 1},
    "yes <> :one": {":one": 1},
    "s = :x OR n > :five AND n < :five": {":five": 5, ":x": "x"},
    "(s = :x OR n > :five) AND n < :five": {":five": 5, ":x": "x"},
    "m.k = :seven": {":seven": 7},
    "m.flag = :no AND m.k <= :seven": {":no": False, ":seven": 7},
    "m = :map": {":map": {"k": 7, "flag": False}},
    "begins_with(s, :empty)": {":empty": ""},
    "id = :a": {":a": "a"},
}
UPDATES: Mapping[str, Mapping[str, Any]] = {
    "SET n = :v, s = :w": {":v": 6, ":w": "y"},
    "SET n = n + :v, zero = :w": {":v": 2, ":w": 0},
    "SET n = m.k, s = n": {},  # both as they were before
    "SET m.k = m.k + :v, m.flag = :w": {":v": 1, ":w": True},
    "SET m.fresh = :v": {":v": [1]},
    "REMOVE n, nothing": {},
    "ADD fresh :v": {":v": Decimal("0.5")},
    "SET s = :s REMOVE yes, m ADD n :v": {":s": "z", ":v": 1},
    "set n = :v remove s": {":v": 1},
}
WRONG_CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "attribute_exists(id)": {":unused": 1},
    "n = :undefined": {},
}
WRONG_UPDATES: Mapping[str, Mapping[str, Any]] = {
    "SET id = :v": {":v": "b"},
    "SET n = nothing": {},
    "SET n = n + :v": {":v": "text"},
    "SET n = nothing + :v": {":v": 1},
    "SET nothing.k = :v": {":v": 1},
    "SET s.k = :v": {":v": 1},
    "SET n = :v, n = :w": {":v": 1, ":w": 2},
    "SET m = :v, m.k = :w": {":v": {}, ":w": 2},
    "SET n = :v REMOVE n": {":v": 1},
    "SET n = :v SET s = :v": {":v": 1},
    "ADD s :v": {":v": 1},
    "ADD n :v": {":v": "text"},
}


def with_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"ExpressionAttributeValues": values} if values else {}


def look(aws: Calls, **key: Any) -> None:
    aws.dynamodb.get_item(TableName="records", Key=key or KEY, ConsistentRead=True)


@script()
def items_of_all_kinds_of_values(aws: Calls) -> None:
    look(aws)
    values = {
        "whole": 3, "negative": -2, "fraction": Decimal("0.125"), "large": 10**30, "zeros": Decimal("1.500"),
        "yes": True, "nothing": None, "text": "ä€😀", "none": "", "list": [1, "x", [None, {"k": False}]],
        "map": {"k": {"deep": []}}, "empty": {}, "tuple": (1, 2),
    }  # fmt: skip
    aws.dynamodb.put_item(TableName="records", Item={**KEY, **values})
    look(aws)
    aws.dynamodb.put_item(TableName="records", Item={**KEY, "only": "this"})
    look(aws)
    for _ in range(2):
        aws.dynamodb.delete_item(TableName="records", Key=KEY)
        look(aws)


@script()
def conditions(aws: Calls) -> None:
    aws.dynamodb.put_item(TableName="records", Item=ITEM)
    for aws.case, values in CONDITIONS.items():
        more = {"ConditionExpression": aws.case, **with_values(values)}
        aws.dynamodb.put_item(TableName="records", Item=ITEM, **more)
        aws.dynamodb.delete_item(TableName="records", Key={"id": "absent"}, **more)


@script()
def refused_writes_change_nothing(aws: Calls) -> None:
    aws.dynamodb.put_item(TableName="records", Item=ITEM)
    no = {"ConditionExpression": "#n = :n", "ExpressionAttributeNames": {"#n": "n"}}
    aws.dynamodb.put_item(TableName="records", Item=KEY, ExpressionAttributeValues={":n": 6}, **no)
    aws.dynamodb.put_item(TableName="records", Item={"id": "b"}, ExpressionAttributeValues={":n": 6}, **no)
    add = {"Key": KEY, "UpdateExpression": "ADD #n :one", "ExpressionAttributeValues": {":n": 6, ":one": 1}}
    aws.dynamodb.update_item(TableName="records", **add, **no)
    aws.dynamodb.delete_item(TableName="records", Key=KEY, ExpressionAttributeValues={":n": 6}, **no)
    look(aws)


@script()
def updates(aws: Calls) -> None:
    for aws.case, values in UPDATES.items():
        for returned in ("NONE", "UPDATED_NEW"):
            request = {"Key": KEY, "UpdateExpression": aws.case, "ReturnValues": returned, **with_values(values)}
            for there in (True, False):
                aws.dynamodb.delete_item(TableName="records", Key=KEY)
                if there:
                    aws.dynamodb.put_item(TableName="records", Item=ITEM)
                aws.dynamodb.update_item(TableName="records", **request)
                look(aws)


@script(
    *lax("update_item: SET n = n + :v 1", "update_item: SET n = :v, n = :w 1", "update_item: SET m = :v, m.k = :w 1",
         "update_item: SET n = :v REMOVE n 1", "update_item: SET n = :v SET s = :v 1", known_from=_UPDATES),
)  # fmt: skip
def mistakes_in_expressions(aws: Calls) -> None:
    for aws.case, values in WRONG_CONDITIONS.items():
        aws.dynamodb.put_item(TableName="records", Item=ITEM, ConditionExpression=aws.case, **with_values(values))
    for name in ("#unused", "#undefined"):
        aws.case = name
        more = {"ConditionExpression": "n = :n" if name == "#unused" else f"{name} = :n"}
        names = {"ExpressionAttributeNames": {"#unused": "n"}}
        aws.dynamodb.put_item(TableName="records", Item=ITEM, ExpressionAttributeValues={":n": 1}, **more, **names)
    for aws.case, values in WRONG_UPDATES.items():
        aws.dynamodb.put_item(TableName="records", Item=ITEM)
        aws.dynamodb.update_item(TableName="records", Key=KEY, UpdateExpression=aws.case, **with_values(values))


@script()
def mistakes_in_items(aws: Calls) -> None:
    for item in ({"n": 1}, {"id": ""}, {"id": 1}, {"id": "a", "text": "x" * 500_000}):
        aws.dynamodb.put_item(TableName="records", Item=item)
    aws.dynamodb.put_item(TableName="files", Item={"media_id": "m", "item": "1"})
    for key in ({"id": "a", "n": 1}, {"id": ""}, {"id": 1}):
        look(aws, **key)
    aws.dynamodb.get_item(TableName="files", Key={"media_id": "m"}, ConsistentRead=True)
    aws.dynamodb.get_item(TableName="no-such-table", Key=KEY, ConsistentRead=True)
    aws.dynamodb.update_item(TableName="records", Key={"id": 1}, UpdateExpression="REMOVE n")
    aws.dynamodb.delete_item(TableName="records", Key={"id": 1})


@script()
def queries(aws: Calls) -> None:
    for record in (
        "sync",
        "medium#b",
        "medium#a",
        "medium#é",
        "medium#Z",
        "medium#😀",
        "medium#￮",
        "medium",
        "mediumx",
    ):
        aws.dynamodb.put_item(TableName="syncs", Item={"sync_id": "s", "record": record})

    def query(condition: str, names: Mapping[str, str], more: Mapping[str, Any] = {}, **values: str) -> None:
        aws.dynamodb.pages(
            "query",
            **more,
            TableName="syncs",
            KeyConditionExpression=condition,
            **({"ExpressionAttributeNames": names} if names else {}),
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ConsistentRead=True,
        )

    begins, names = "sync_id = :partition AND begins_with(#record, :prefix)", {"#record": "record"}
    for prefix in ("medium#", "sync", "x"):
        query(begins, names, partition="s", prefix=prefix)
    query("sync_id = :partition", {}, partition="s")
    query("sync_id = :partition", {}, partition="nobody")
    query("#record = :record", names, record="sync")
    for most in (1, 4, 9, 20):
        newest = {"ScanIndexForward": False, "PaginationConfig": {"MaxItems": most}}
        query("sync_id = :partition", {}, newest, partition="s")
        query(begins, names, newest, partition="s", prefix="medium")
    query("sync_id = :partition", {}, {"ScanIndexForward": False}, partition="s")


@script()
def batches_of_reads(aws: Calls) -> None:
    for media_id in ("a", "b", "c"):
        aws.dynamodb.put_item(TableName="files", Item={"media_id": media_id, "item": 0, "status": "STORED"})
    for media_ids in (
        ["c", "nobody", "a", "b"],
        ["nobody"],
        ["a", "a"],
        [*(f"medium {number}" for number in range(99)), "b"],
        [f"medium {number}" for number in range(101)],
        [],
    ):
        keys = [{"media_id": media_id, "item": 0} for media_id in media_ids]
        aws.dynamodb.batch_get_item(RequestItems={"files": {"Keys": keys, "ConsistentRead": True}})


def put(number: int, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": "records", "Item": {"id": f"r{number}", "n": number}, **more}}


@script()
def transactions(aws: Calls) -> None:
    def transact(*actions: Any) -> None:
        aws.dynamodb.transact_write_items(TransactItems=list(actions))
        keys = [{"id": id_} for id_ in ("r1", "r2", "r3", "r4", "u")]
        aws.dynamodb.batch_get_item(RequestItems={"records": {"Keys": keys, "ConsistentRead": True}})

    fresh = {"ConditionExpression": "attribute_not_exists(id)"}
    update = {
        "Update": {
            "TableName": "records",
            "Key": {"id": "u"},
            "UpdateExpression": "SET #0 = :0, #1 = :1 REMOVE gone ADD epoch :1",
            "ConditionExpression": "attribute_not_exists(epoch) OR epoch <= :1",
            "ExpressionAttributeNames": {"#0": "status", "#1": "n"},
            "ExpressionAttributeValues": {":0": "OPEN", ":1": 1},
        }
    }

    def check(id_: str, n: int) -> dict[str, Any]:
        values = {"ConditionExpression": "n = :n", "ExpressionAttributeValues": {":n": n}}
        return {"ConditionCheck": {"TableName": "records", "Key": {"id": id_}, **values}}

    def delete(id_: str, **more: Any) -> dict[str, Any]:
        return {"Delete": {"TableName": "records", "Key": {"id": id_}, **more}}

    transact(put(1), put(2, **fresh), update)
    transact(check("r1", 1), put(3), delete("r2"), update)
    transact(put(4), check("r1", 2), delete("r1"), put(3, **fresh), update)  # refused by three
    transact(delete("absent"), check("absent", 1))
    transact(delete("absent", ConditionExpression="attribute_exists(id)"))
    transact({"Put": {"TableName": "files", "Item": {"media_id": "m", "item": 1}}}, put(4))


@script()
def transactions_that_are_mistakes(aws: Calls) -> None:
    for actions in (
        [put(1), put(1)],
        [put(1), {"Delete": {"TableName": "records", "Key": {"id": "r1"}}}],
        [put(number) for number in range(101)],
        [],
        [put(1), put(2, ConditionExpression="n = :undefined")],
        [put(number) for number in range(100)],  # as many as are allowed
    ):
        aws.dynamodb.transact_write_items(TransactItems=actions)
    keys = [{"id": f"r{number}"} for number in range(100)]
    aws.dynamodb.batch_get_item(RequestItems={"records": {"Keys": keys, "ConsistentRead": True}})


ONE_MORE: Mapping[str, Any] = {
    "TableName": "records",
    "Key": KEY,
    "UpdateExpression": "ADD n :one",
    "ExpressionAttributeValues": {":one": 1},
}


@script()
def a_write_whose_answer_was_lost_is_done_twice_and_a_transaction_once(aws: Calls) -> None:
    aws.dynamodb.losing_answer("update_item", **ONE_MORE)
    look(aws)
    fresh = {"TableName": "records", "Item": {"id": "b"}, "ConditionExpression": "attribute_not_exists(id)"}
    aws.dynamodb.losing_answer("put_item", **fresh)  # it fails on itself
    update = {
        "Update": {**ONE_MORE, "ConditionExpression": "n = :two", "ExpressionAttributeValues": {":one": 1, ":two": 2}}
    }
    aws.dynamodb.losing_answer("transact_write_items", TransactItems=[update])
    look(aws)
