"""What the services ask of DynamoDB, and what it answers."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.contract.transcripts import MALFORMED, Calls, Difference, lax, refused, script

_COMPARISONS = "DynamoDB's guide, comparison operators: values of different types are never equal, and none is the less"
_RETURNED = "API reference of UpdateItem: UPDATED_NEW returns only the updated attributes"
_NOTHING_UPDATED = (
    "https://github.com/ExtendDB/extenddb/issues/120, tried with AWS: no Attributes when none has a new value"
)
_EXPRESSIONS = "DynamoDB's guide: what an expression defines it has to use, what it uses it has to define"
_UPDATES = "DynamoDB's guide, update expressions: a section comes once, an operand is there and of the right type"
_KEYS = "DynamoDB's guide, naming rules and data types: a key attribute has the type that the table gives it"
_NUMBERS = "DynamoDB's guide, data types: leading and trailing zeroes of a number are trimmed"
_TOKEN = "API reference of TransactWriteItems: a request with the same ClientRequestToken is done once in 10 minutes"

KEY = {"id": "a"}
ITEM: Mapping[str, Any] = {**KEY, "n": 5, "s": "x", "yes": True, "none": "", "zero": 0, "m": {"k": 7, "flag": False}}
# Condition, and the values that it needs. Half of them hold for ITEM.
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "attribute_exists(n)": {},
    "attribute_exists(nothing)": {},
    "attribute_not_exists(n)": {},
    "attribute_not_exists(nothing)": {},
    "attribute_exists(m.k)": {},
    "attribute_exists(m.nothing)": {},
    "n = :five": {":five": 5},
    "n = :text": {":text": "5"},
    "n <> :five": {":five": 5},
    "n <> :text": {":text": "5"},
    "nothing = :five": {":five": 5},
    "nothing <> :five": {":five": 5},
    "nothing < :five": {":five": 5},
    "nothing >= :five": {":five": 5},
    "n < :text": {":text": "6"},
    "n < :half": {":half": Decimal("5.5")},
    "n <= :five": {":five": 5},
    "n > :five": {":five": 5},
    "n >= :five": {":five": 5},
    "s < :y": {":y": "y"},
    "s > :y": {":y": "y"},
    "yes = :yes": {":yes": True},
    "yes = :one": {":one": 1},
    "yes <> :one": {":one": 1},
    "n = :five AND s = :x": {":five": 5, ":x": "x"},
    "n = :five AND s = :y": {":five": 5, ":y": "y"},
    "n > :five OR s = :x": {":five": 5, ":x": "x"},
    "s = :x OR n > :five AND n < :five": {":five": 5, ":x": "x"},
    "(s = :x OR n > :five) AND n < :five": {":five": 5, ":x": "x"},
    "NOT n = :five": {":five": 5},
    "NOT nothing = :five": {":five": 5},
    "NOT n > :five AND s = :x": {":five": 5, ":x": "x"},
    "m.k = :seven": {":seven": 7},
    "m.flag = :no AND m.k <= :seven": {":no": False, ":seven": 7},
    "m = :map": {":map": {"k": 7, "flag": False}},
    "begins_with(s, :empty)": {":empty": ""},
    "begins_with(s, :y)": {":y": "y"},
    "id = :a": {":a": "a"},
}


@script()
def items_and_what_comes_back(aws: Calls) -> None:
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
    values = {
        "whole": 3, "negative": -2, "fraction": Decimal("0.125"), "large": 10**30, "zeros": Decimal("1.500"),
        "yes": True, "nothing": None, "text": "ä€😀", "none": "", "list": [1, "x", [None, {"k": False}]],
        "map": {"k": {"deep": []}}, "empty": {}, "tuple": (1, 2),
    }  # fmt: skip
    aws.dynamodb.put_item(TableName="records", Item={**KEY, **values})
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
    aws.dynamodb.put_item(TableName="records", Item={**KEY, "only": "this"})
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
    aws.dynamodb.delete_item(TableName="records", Key=KEY)
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
    aws.dynamodb.delete_item(TableName="records", Key=KEY)


@script(
    Difference(of="moto", step="put_item: n < :text 1", answers={"failed with": "TypeError"},
               aws=refused("ConditionalCheckFailedException"), known_from=_COMPARISONS),
    *lax("moto", "put_item: yes = :one 1", aws=refused("ConditionalCheckFailedException"), known_from=_COMPARISONS),
    Difference(of="moto", step="put_item: yes <> :one 1", answers=refused("ConditionalCheckFailedException"),
               aws={}, known_from=_COMPARISONS),
)  # fmt: skip
def conditions(aws: Calls) -> None:
    aws.dynamodb.put_item(TableName="records", Item=ITEM)
    for aws.case, values in CONDITIONS.items():
        more = {"ExpressionAttributeValues": values} if values else {}
        aws.dynamodb.put_item(TableName="records", Item=ITEM, ConditionExpression=aws.case, **more)
    for aws.case, values in CONDITIONS.items():  # of an item that isn't there
        more = {"ExpressionAttributeValues": values} if values else {}
        aws.dynamodb.delete_item(TableName="records", Key={"id": "absent"}, ConditionExpression=aws.case, **more)


@script()
def refused_writes_change_nothing(aws: Calls) -> None:
    aws.dynamodb.put_item(TableName="records", Item=ITEM)
    no = {"ConditionExpression": "attribute_not_exists(id)"}
    aws.dynamodb.put_item(TableName="records", Item={**KEY, "n": 6}, **no)
    aws.dynamodb.update_item(
        TableName="records", Key=KEY, UpdateExpression="SET n = :n", ExpressionAttributeValues={":n": 6}, **no
    )
    aws.dynamodb.delete_item(
        TableName="records",
        Key=KEY,
        ConditionExpression="#s = :other",
        ExpressionAttributeNames={"#s": "s"},
        ExpressionAttributeValues={":other": "y"},
    )
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)


@script()
def refusals_are_caught_by_their_class(aws: Calls) -> None:
    client = aws.dynamodb.raising()
    client.put_item(TableName="records", Item=KEY)
    try:
        client.put_item(TableName="records", Item=KEY, ConditionExpression="attribute_not_exists(id)")
    except client.exceptions.ConditionalCheckFailedException as error:
        aws.step("caught", error.response["Error"]["Code"])


@script()
def refused_write_tells_the_item_where_it_was_asked_for(aws: Calls) -> None:
    aws.dynamodb.put_item(TableName="records", Item=ITEM)
    wanted = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    aws.dynamodb.put_item(TableName="records", Item=KEY, ConditionExpression="n = :n",
                          ExpressionAttributeValues={":n": 6}, **wanted)  # fmt: skip
    aws.dynamodb.put_item(TableName="records", Item={"id": "b"}, ConditionExpression="n = :n",
                          ExpressionAttributeValues={":n": 6}, **wanted)  # fmt: skip
    aws.dynamodb.update_item(TableName="records", Key=KEY, UpdateExpression="ADD n :n",
                             ConditionExpression="n = :m", ExpressionAttributeValues={":n": 6, ":m": 7},
                             **wanted)  # fmt: skip
    aws.dynamodb.delete_item(TableName="records", Key=KEY, ConditionExpression="attribute_not_exists(id)", **wanted)


UPDATES: Mapping[str, Mapping[str, Any]] = {
    "SET n = :v": {":v": 6},
    "SET fresh = :v": {":v": "new"},
    "SET n = :v, s = :w": {":v": 6, ":w": "y"},
    "SET n = n + :v": {":v": 2},
    "SET n = n - :v": {":v": 2},
    "SET n = if_not_exists(n, :v) + :w": {":v": 100, ":w": 1},
    "SET fresh = if_not_exists(fresh, :v) + :w": {":v": 100, ":w": 1},
    "SET fresh = if_not_exists(fresh, :v)": {":v": "first"},
    "SET n = if_not_exists(n, :v)": {":v": "first"},
    "SET zero = if_not_exists(zero, :v) + :v": {":v": 2},
    "SET none = if_not_exists(none, :v), zero = :w": {":v": "first", ":w": 0},
    "SET fresh = n": {},
    "SET n = m.k, s = n": {},  # both as they were before
    "SET m.k = :v": {":v": 8},
    "SET m.fresh = :v": {":v": [1]},
    "SET m.k = m.k + :v, m.flag = :w": {":v": 1, ":w": True},
    "REMOVE n": {},
    "REMOVE n, nothing": {},
    "REMOVE nothing": {},
    "ADD n :v": {":v": 3},
    "ADD fresh :v": {":v": Decimal("0.5")},
    "ADD n :v, fresh :w": {":v": -1, ":w": 1},
    "SET s = :s REMOVE yes, m ADD n :v": {":s": "z", ":v": 1},
    "SET s = :s ADD n :v REMOVE yes": {":s": "z", ":v": 1},
    "set n = :v remove s": {":v": 1},
}


@script(
    Difference(of="moto", step="update_item: SET n = if_not_exists(n, :v) 2", answers={"Attributes": {}},
               aws={"Attributes": {"n": 5}}, known_from=_RETURNED),
    Difference(of="moto", step="update_item: REMOVE n 2", answers={"Attributes": {}},
               aws={}, known_from=_NOTHING_UPDATED),
    Difference(of="moto", step="update_item: REMOVE n, nothing 2", answers={"Attributes": {}},
               aws={}, known_from=_NOTHING_UPDATED),
    Difference(of="moto", step="update_item: REMOVE nothing 2", answers={"Attributes": {}},
               aws={}, known_from=_NOTHING_UPDATED),
)  # fmt: skip
def updates(aws: Calls) -> None:
    for aws.case, values in UPDATES.items():
        more = {"ExpressionAttributeValues": values} if values else {}
        for returned in ("NONE", "UPDATED_NEW"):
            aws.dynamodb.put_item(TableName="records", Item=ITEM)
            aws.dynamodb.update_item(
                TableName="records", Key=KEY, UpdateExpression=aws.case, ReturnValues=returned, **more
            )
            aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
        aws.dynamodb.delete_item(TableName="records", Key=KEY)


@script(
    Difference(of="moto", step="update_item 1", answers={"Attributes": {"id": "a", "n": 1}},
               aws={"Attributes": {"n": 1}}, known_from=_RETURNED),
    Difference(of="moto", step="update_item 2", answers={"Attributes": {"id": "a", "n": 1}},
               aws={"Attributes": {"n": 1}}, known_from=_RETURNED),
    Difference(of="moto", step="update_item 3", answers={"Attributes": {"id": "a"}},
               aws={}, known_from=_NOTHING_UPDATED),
)  # fmt: skip
def update_makes_the_item_that_is_not_there(aws: Calls) -> None:
    def update(expression: str, **more: Any) -> None:
        aws.dynamodb.delete_item(TableName="records", Key=KEY)
        aws.dynamodb.update_item(
            TableName="records", Key=KEY, UpdateExpression=expression, ReturnValues="UPDATED_NEW", **more
        )
        aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)

    update("SET n = if_not_exists(n, :zero) + :one", ExpressionAttributeValues={":zero": 0, ":one": 1})
    update("ADD n :one", ExpressionAttributeValues={":one": 1})
    update("REMOVE n")
    update(
        "SET n = :one",
        ConditionExpression="attribute_exists(n)",
        ExpressionAttributeValues={":one": 1},
    )


@script(
    *lax("moto", "put_item: unused value 1", known_from=_EXPRESSIONS),
    *[
        Difference(of="moto", step=step, answers={"failed with": "KeyError"}, aws=MALFORMED, known_from=_EXPRESSIONS)
        for step in ("put_item: undefined value 1", "put_item: undefined name 1")
    ],
)
def mistakes_in_conditions(aws: Calls) -> None:
    def put(case: str, condition: str, **more: Any) -> None:
        aws.case = case
        aws.dynamodb.put_item(TableName="records", Item=ITEM, ConditionExpression=condition, **more)

    aws.dynamodb.put_item(TableName="records", Item=ITEM)
    put("unused value", "attribute_exists(id)", ExpressionAttributeValues={":unused": 1})
    put("unused name", "attribute_exists(id)", ExpressionAttributeNames={"#unused": "n"})
    put("undefined value", "n = :undefined")
    put("undefined name", "#undefined = :one", ExpressionAttributeValues={":one": 1})
    put("reserved word", "status = :one", ExpressionAttributeValues={":one": 1})
    put("redundant parentheses", "((n = :five))", ExpressionAttributeValues={":five": 5})
    put("reserved word in a path", "m.status = :one", ExpressionAttributeValues={":one": 1})


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
    "SET state = :v": {":v": 1},
}


@script(
    *lax("moto", "update_item: SET s.k = :v 1", known_from=_UPDATES),
    *lax("embedded", "update_item: SET n = n + :v 1", "update_item: SET n = :v, n = :w 1",
         "update_item: SET m = :v, m.k = :w 1", "update_item: SET n = :v REMOVE n 1",
         "update_item: SET n = :v SET s = :v 1", known_from=_UPDATES),
)  # fmt: skip
def mistakes_in_updates(aws: Calls) -> None:
    for aws.case, values in WRONG_UPDATES.items():
        aws.dynamodb.put_item(TableName="records", Item=ITEM)
        more = {"ExpressionAttributeValues": values} if values else {}
        aws.dynamodb.update_item(TableName="records", Key=KEY, UpdateExpression=aws.case, **more)


@script(*lax("moto", "get_item 4", "delete_item 1", known_from=_KEYS))
def mistakes_in_items(aws: Calls) -> None:
    def put(table: str, **item: Any) -> None:
        aws.dynamodb.put_item(TableName=table, Item=item)

    def get(table: str, **key: Any) -> None:
        aws.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)

    put("records", n=1)
    put("records", id="")
    put("records", id=1)
    put("files", media_id="m", item="1")
    put("records", id="a", text="x" * 500_000)
    get("files", media_id="m")
    get("records", id="a", n=1)
    get("records", id="")
    get("records", id=1)
    aws.dynamodb.update_item(TableName="records", Key={"id": 1}, UpdateExpression="REMOVE n")
    aws.dynamodb.delete_item(TableName="records", Key={"id": 1})
    get("no-such-table", id="a")


@script()
def queries(aws: Calls) -> None:
    for item in (7, 1, 3, 10, 2, 5, 0):
        aws.dynamodb.put_item(TableName="files", Item={"media_id": "m", "item": item, "more": {"size": item}})
    aws.dynamodb.put_item(TableName="files", Item={"media_id": "other", "item": 4})
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
    for media_id in ("m", "other", "nobody"):
        aws.dynamodb.get_paginator("query").paginate(
            TableName="files",
            KeyConditionExpression="media_id = :id AND #item > :medium",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":id": media_id, ":medium": 0},
            ConsistentRead=True,
        )
    for prefix in ("medium#", "sync", "x"):
        aws.dynamodb.get_paginator("query").paginate(
            TableName="syncs",
            KeyConditionExpression="sync_id = :partition AND begins_with(#record, :prefix)",
            ExpressionAttributeNames={"#record": "record"},
            ExpressionAttributeValues={":partition": "s", ":prefix": prefix},
            ConsistentRead=True,
        )
    aws.dynamodb.get_paginator("query").paginate(
        TableName="syncs",
        KeyConditionExpression="sync_id = :partition",
        ExpressionAttributeValues={":partition": "s"},
        ConsistentRead=True,
    )
    aws.dynamodb.get_paginator("query").paginate(
        TableName="syncs",
        KeyConditionExpression="#record = :record",
        ExpressionAttributeNames={"#record": "record"},
        ExpressionAttributeValues={":record": "sync"},
        ConsistentRead=True,
    )


@script()
def batches_of_reads(aws: Calls) -> None:
    for media_id in ("a", "b", "c"):
        aws.dynamodb.put_item(TableName="files", Item={"media_id": media_id, "item": 0, "status": "STORED"})

    def get(*media_ids: str) -> None:
        keys = [{"media_id": media_id, "item": 0} for media_id in media_ids]
        aws.dynamodb.batch_get_item(RequestItems={"files": {"Keys": keys, "ConsistentRead": True}})

    get("a")
    get("c", "nobody", "a", "b")
    get("nobody")
    get("a", "a")
    get(*[f"medium {number}" for number in range(99)], "b")
    get(*[f"medium {number}" for number in range(101)])
    get()


def put(number: int, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": "records", "Item": {"id": f"r{number}", "n": number}, **more}}


@script()
def transactions(aws: Calls) -> None:
    def transact(*actions: Any) -> None:
        aws.dynamodb.transact_write_items(TransactItems=list(actions))

    def look(*ids: str) -> None:
        keys = [{"id": id_} for id_ in ids]
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
        return {
            "ConditionCheck": {
                "TableName": "records",
                "Key": {"id": id_},
                "ConditionExpression": "n = :n",
                "ExpressionAttributeValues": {":n": n},
            }
        }

    def delete(id_: str, **more: Any) -> dict[str, Any]:
        return {"Delete": {"TableName": "records", "Key": {"id": id_}, **more}}

    transact(put(1), put(2, **fresh), update)
    look("r1", "r2", "u")
    transact(check("r1", 1), put(3), delete("r2"), update)
    look("r1", "r2", "r3", "u")
    transact(put(4), check("r1", 2), delete("r1"), put(3, **fresh), update)  # refused by three
    look("r1", "r3", "r4", "u")
    transact(delete("absent"), check("absent", 1))
    transact(delete("absent", ConditionExpression="attribute_exists(id)"))
    transact(delete("absent"))
    transact({"Put": {"TableName": "files", "Item": {"media_id": "m", "item": 1}}}, put(5))
    look("r5")


@script(
    Difference(of="moto", step="transact_write_items 5", answers={"failed with": "KeyError"},
               aws=MALFORMED, known_from=_EXPRESSIONS),
)  # fmt: skip
def transactions_that_are_mistakes(aws: Calls) -> None:
    def transact(*actions: Any) -> None:
        aws.dynamodb.transact_write_items(TransactItems=list(actions))

    transact(put(1), put(1))
    transact(put(1), {"Delete": {"TableName": "records", "Key": {"id": "r1"}}})
    transact(*[put(number) for number in range(101)])
    transact()
    transact(put(1), put(2, ConditionExpression="n = :undefined"))
    transact(*[put(number) for number in range(100)])
    keys = [{"id": f"r{number}"} for number in range(100)]
    aws.dynamodb.batch_get_item(RequestItems={"records": {"Keys": keys, "ConsistentRead": True}})


ONE_MORE: Mapping[str, Any] = {
    "TableName": "records",
    "Key": KEY,
    "UpdateExpression": "ADD n :one",
    "ExpressionAttributeValues": {":one": 1},
}


@script()
def write_whose_answer_was_lost_is_sent_again(aws: Calls) -> None:
    aws.dynamodb.losing_answer("update_item", **ONE_MORE)
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
    fresh = {"TableName": "records", "Item": {"id": "b"}, "ConditionExpression": "attribute_not_exists(id)"}
    aws.dynamodb.losing_answer("put_item", **fresh)  # it fails on itself


@script(
    Difference(of="moto", step="transact_write_items 1",
               answers={"refused": "TransactionCanceledException", "reasons": ["ConditionalCheckFailed"]},
               aws={}, known_from=_TOKEN),
)  # fmt: skip
def transaction_that_is_sent_again_is_done_once(aws: Calls) -> None:
    update = {"Update": {**ONE_MORE, "ConditionExpression": "attribute_not_exists(n)"}}
    aws.dynamodb.losing_answer("transact_write_items", TransactItems=[update])
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)


TYPED: Mapping[str, Any] = {"id": {"S": "a"}, "n": {"N": "12"}, "half": {"N": "0.50"}, "yes": {"BOOL": True}}
TRIMMED: Mapping[str, Any] = {**TYPED, "half": {"N": "0.5"}}


@script(
    Difference(of="moto", step="get_item 1", answers={"Item": TYPED}, aws={"Item": TRIMMED}, known_from=_NUMBERS),
    Difference(of="moto", step="put_item 2", answers={**refused("ConditionalCheckFailedException"), "Item": TYPED},
               aws={**refused("ConditionalCheckFailedException"), "Item": TRIMMED}, known_from=_NUMBERS),
)  # fmt: skip
def plain_client_with_typed_values(aws: Calls) -> None:
    aws.plain_dynamodb.put_item(TableName="records", Item=TYPED)
    aws.plain_dynamodb.get_item(TableName="records", Key={"id": {"S": "a"}}, ConsistentRead=True)
    aws.plain_dynamodb.put_item(
        TableName="records",
        Item=TYPED,
        ConditionExpression="attribute_not_exists(#id) OR #n < :n",
        ExpressionAttributeNames={"#id": "id", "#n": "n"},
        ExpressionAttributeValues={":n": {"N": "5"}},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    aws.plain_dynamodb.update_item(
        TableName="records",
        Key={"id": {"S": "a"}},
        UpdateExpression="SET #n = :n",
        ExpressionAttributeNames={"#n": "n"},
        ExpressionAttributeValues={":n": {"N": "5"}},
    )
    aws.dynamodb.get_item(TableName="records", Key=KEY, ConsistentRead=True)
    aws.plain_dynamodb.delete_item(TableName="records", Key={"id": {"S": "a"}})
    aws.plain_dynamodb.get_item(TableName="records", Key={"id": {"S": "a"}}, ConsistentRead=True)
