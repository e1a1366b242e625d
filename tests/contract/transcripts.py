"""Calls, written once, made to any AWS, and written down so that the answers can be compared."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from awscrt import checksums
from botocore.exceptions import ClientError, ParamValidationError

from tests.contract.aws_stages import Malformed, Received, Stage

# What is compared of an answer. A simulated client may answer nothing else.
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "get_item": ("Item",),
    "put_item": (),
    "update_item": ("Attributes",),
    "delete_item": (),
    "batch_get_item": ("Responses", "UnprocessedKeys"),
    "transact_write_items": (),
    "query": ("Items",),
    "put_object": ("ETag", "ChecksumCRC64NVME"),
    "get_object": ("Body",),
    "head_object": ("ContentLength", "ETag", "Metadata", "ChecksumCRC64NVME"),
    "create_multipart_upload": ("UploadId",),
    "upload_part": ("ETag", "ChecksumCRC64NVME"),
    "list_parts": ("Parts",),
    "complete_multipart_upload": ("ETag", "ChecksumCRC64NVME"),
    "abort_multipart_upload": (),
    "put_events": ("FailedEntryCount", "Entries"),
    "change_message_visibility": (),
    "delete_message": (),
    "get_queue_attributes": ("Attributes",),
    "get_secret_value": ("SecretString", "VersionId", "VersionStages"),
    "put_secret_value": ("VersionId", "VersionStages"),
    "publish": ("MessageId",),
}
_PART_ANSWERS = ("PartNumber", "Size", "ETag", "ChecksumCRC64NVME")
_OPAQUE = ("UploadId", "EventId", "MessageId", "VersionId")
# Refusals of what only a mistake in the code could ask. The simulator has no codes for them: it ends the run.
_MISTAKES = frozenset(
    {"ValidationException", "InvalidParameter", "InvalidParameterException", "NotFound", "NotFoundException"}
)
_OF_THE_STAGE: Mapping[str, tuple[str, str]] = {  # of an event: the form it has, and what is written down
    "account": (r"\d{12}", "an account"),
    "region": (r"[a-z]{2}-[a-z]+-\d", "a region"),
    "time": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "a time"),
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A step that the embedded AWS is known to answer otherwise than AWS. One that is over fails the tests."""

    step: str
    aws: Any  # what AWS answers, and so the simulated one
    known_from: str
    answers: Any = None  # what the embedded AWS answers; None: it takes what AWS refuses


@dataclass(frozen=True)
class Script:
    """Calls, and what is known of the embedded AWS's answers to them.

    `variant`: of the simulated AWS, where AWS promises neither of two answers and the embedded one gives the other.
    """

    run: Callable[["Calls"], None]
    differences: tuple[Difference, ...]
    visibility: int  # of the queues, seconds
    variant: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.run.__name__


SCRIPTS: list[Script] = []


def script(
    *differences: Difference, visibility: int = 30, **variant: Any
) -> Callable[[Callable[["Calls"], None]], Script]:
    """Make a script of a function."""

    def made(run: Callable[["Calls"], None]) -> Script:
        SCRIPTS.append(Script(run, differences, visibility, variant))
        return SCRIPTS[-1]

    return made


class Calls:
    """The clients of a stage, whose calls are written down as steps: `put_item 2` is the second of its kind.

    `case`: what the next calls try, where there are many like them; their steps are named by it.
    A refused call returns an empty answer; its step has the refusal.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.steps: dict[str, Any] = {}
        self.case = ""
        self.made: set[tuple[str, str, str]] = set()  # client, operation, parameter
        self.dynamodb = RecordedClient(self, "dynamodb")
        self.events = RecordedClient(self, "events")
        self.other_events = RecordedClient(self, "other_events")
        self.s3 = RecordedClient(self, "s3")
        self.secretsmanager = RecordedClient(self, "secretsmanager")
        self.sns = RecordedClient(self, "sns")
        self.sqs = RecordedClient(self, "sqs")
        self._counts: Counter[str] = Counter()
        self._aliases: dict[str, str] = {}

    # What queues and topics have been given

    def receive(self, queue: str, expected: int = 1) -> list[Received]:
        """Messages, in the order of their bodies. Waits for as many as are expected."""
        found = self.stage.receive(queue)
        for _ in range(100 if expected else 1):
            if len(found) >= expected > 0:
                break
            self.stage.let_deliver()
            found += self.stage.receive(queue)
        found.sort(key=lambda message: _without_id(message.body))
        self.step("receive", [{**self._message(each.body), "receives": each.receives} for each in found])
        return found

    def notifications(self) -> None:
        self.stage.let_deliver()
        self.step("notifications", [list(notification) for notification in self.stage.notifications()])

    # How they are written down

    def step(self, kind: str, outcome: Any) -> None:
        name = f"{kind}: {self.case}" if self.case else kind
        self._counts[name] += 1
        self.steps[f"{name} {self._counts[name]}"] = outcome

    def record(self, client: str, operation: str, request: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        """Make the call and write its outcome down."""
        self.made |= {(client, operation, parameter) for parameter in request}
        answer: Any = {}
        try:
            answer = self.stage.do(call)
        except (Malformed, ParamValidationError):
            outcome: Any = MALFORMED
        except ClientError as error:
            outcome = self._refusal(client, error)
        else:
            if operation == "get_object":  # whose body can be read once
                answer = {**answer, "Body": hashlib.sha256(answer["Body"].read()).hexdigest()}
            outcome = self._answer(operation, answer)
        self.step(operation, outcome)
        return answer

    def _answer(self, operation: str, answer: Mapping[str, Any]) -> Any:
        compared = {name: answer[name] for name in ANSWERS[operation] if name in answer}
        if self.stage.name == "simulated" and len(compared) < len(answer):
            raise AssertionError(f"not all of the simulated {operation}'s answer is compared: {sorted(answer)}")
        if operation == "get_secret_value" and "SecretString" not in compared:
            compared.pop("VersionId", None)  # the embedded AWS has one for a secret without a value
        if operation == "list_parts":
            parts = compared.get("Parts", [])
            compared = {"Parts": [{n: part[n] for n in _PART_ANSWERS if n in part} for part in parts]}
        if operation == "put_events":
            compared["Entries"] = [
                {name: value for name, value in entry.items() if name != "ErrorMessage"}
                for entry in compared["Entries"]
            ]
        if operation == "batch_get_item":  # in no order
            compared["Responses"] = {table: sorted(items, key=repr) for table, items in compared["Responses"].items()}
        return self._readable(compared)

    def _refusal(self, client: str, error: ClientError) -> Mapping[str, Any]:
        response: Any = error.response
        if client == "sqs":
            return BY_SQS  # no service looks at its codes
        code = response["Error"]["Code"]
        if code in _MISTAKES:
            return MALFORMED
        more: dict[str, Any] = {}
        if "CancellationReasons" in response:
            more["reasons"] = [reason["Code"] for reason in response["CancellationReasons"]]
        if "Item" in response:
            more["Item"] = self._readable(response["Item"])
        return {"refused": code, **more}

    def _readable(self, value: Any, name: str = "") -> Any:
        """A value without what differs from stage to stage and means nothing."""
        if isinstance(value, Mapping):
            return {key: self._readable(part, key) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._readable(part, name) for part in value]
        if name in _OPAQUE:
            value = self._aliases.setdefault(value, f"{name} {len(self._aliases) + 1}")
        return value

    def _message(self, body: str) -> dict[str, Any]:
        """A message: its body, or the event in it. Account and region are the stage's, the time is now."""
        event = _event(body)
        if not event:
            return {"body": body}
        event["id"] = self._aliases.get(event["id"], "an id that PutEvents did not return")
        for name, (form, alias) in _OF_THE_STAGE.items():
            if re.fullmatch(form, event.get(name, "")):
                event[name] = alias
        return event


def _event(body: str) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and "detail-type" in event else {}


def _without_id(body: str) -> str:
    event = _event(body)
    return json.dumps([event["detail-type"], event["source"], event["detail"]]) if event else body


class RecordedClient:
    """Looks like the client, and writes down what it is asked."""

    def __init__(self, calls: Calls, name: str) -> None:
        self._calls = calls
        self._name = name

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        client = self._calls.stage.clients[self._name]
        return lambda **request: self._calls.record(
            self._name, operation, request, lambda: getattr(client, operation)(**request)
        )

    def pages(self, operation: str, **request: Any) -> Any:
        """All pages of a paginator, joined."""
        stage = self._calls.stage
        pages = stage.clients[self._name].get_paginator(operation)
        settings = {name: {**value, **request.get(name, {})} for name, value in stage.paging.items()}

        def joined() -> dict[str, Any]:
            whole: dict[str, Any] = {}
            for page in pages.paginate(**{**request, **settings}):
                for name in set(ANSWERS[operation]) & set(page):
                    whole.setdefault(name, []).extend(page[name])
            return whole

        return self._calls.record(self._name, operation, request, joined)

    def losing_answer(self, operation: str, **request: Any) -> Any:
        """The call, with its answer lost, so that the client itself sends it once more."""
        stage = self._calls.stage
        client = stage.clients[self._name]
        api_name = "".join(word.capitalize() for word in operation.split("_"))

        def call() -> Any:
            with stage.losing_an_answer(self._name, api_name):
                return getattr(client, operation)(**request)

        return self._calls.record(self._name, operation, request, call)


def crc64nvme(content: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(content).to_bytes(8, "big")).decode()


MALFORMED: Mapping[str, Any] = {"refused": "as malformed"}
BY_SQS: Mapping[str, Any] = {"refused": "by SQS"}


def refused(code: str) -> dict[str, Any]:
    return {"refused": code}


def lax(*steps: str, known_from: str, aws: Mapping[str, Any] = MALFORMED) -> Iterator[Difference]:
    """Yield steps that the embedded AWS takes, and AWS refuses."""
    return (Difference(step=step, aws=aws, known_from=known_from) for step in steps)


def compare(embedded: Mapping[str, Any], simulated: Mapping[str, Any], script: Script) -> None:
    """Hold what the embedded AWS has answered against the simulated AWS, and what is known of their differences."""
    # A response has the checksum that the request was sent with (API reference of S3); the embedded PutObject's hasn't.
    wanted = {
        step: without(outcome, {"ChecksumCRC64NVME"}) if step.startswith("put_object") else outcome
        for step, outcome in simulated.items()
    }
    for difference in script.differences:
        assert simulated[difference.step] == difference.aws, difference
        assert embedded[difference.step] != difference.aws, f"over: {difference}"
        if difference.answers is None:
            assert "refused" not in embedded[difference.step], difference
        wanted[difference.step] = difference.answers or embedded[difference.step]
    assert embedded == wanted


def without(value: Any, names: Collection[str]) -> Any:
    """A value, and in it nothing of these names."""
    if isinstance(value, Mapping):
        return {name: without(part, names) for name, part in value.items() if name not in names}
    return [without(part, names) for part in value] if isinstance(value, list) else value
