"""Calls, written once, made to any AWS, and written down so that what came of them can be compared."""

import base64
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from awscrt import checksums
from botocore.exceptions import ClientError, ParamValidationError

from tests.contract.aws_stages import Malformed, Received, Stage

# What is compared of an answer. A simulated client may answer nothing else.
_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "get_item": ("Item",),
    "put_item": (),
    "update_item": ("Attributes",),
    "delete_item": (),
    "batch_get_item": ("Responses", "UnprocessedKeys"),
    "transact_write_items": (),
    "query": ("Items",),
    "put_object": ("ETag", "ChecksumCRC64NVME"),
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
    "get_secret_value": ("SecretString",),
    "put_secret_value": (),
    "publish": ("MessageId",),
}
_PART_ANSWERS = ("PartNumber", "Size", "ETag", "ChecksumCRC64NVME")
_OPAQUE = ("UploadId", "EventId", "MessageId")
# Refusals of what only a mistake in the code could ask. The simulator has no codes for them: it ends the run.
_MISTAKES = frozenset(
    {"ValidationException", "InvalidParameter", "InvalidParameterException", "NotFound", "NotFoundException"}
)
_TIMES = ("expiration", "in_progress_expiration")  # of Powertools' records
_OF_THE_STAGE: Mapping[str, tuple[str, str]] = {  # of an event: the form it has, and what is written down
    "account": (r"\d{12}", "an account"),
    "region": (r"[a-z]{2}-[a-z]+-\d", "a region"),
    "time": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "a time"),
}
_DIGEST = re.compile(r"[0-9a-f]{32}(-\d+)?|[A-Za-z0-9+/]{11}=")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where an emulator is known to answer otherwise than AWS. One that is over fails the tests."""

    of: str  # the stage
    step: str
    answers: Any  # what it says there
    aws: Any  # what AWS says, and so the simulated one
    known_from: str


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What an emulator never tells, and AWS does."""

    of: str
    step: str  # an operation
    name: str
    known_from: str


_CHECKSUMS = "API reference of S3: a response has the checksum that the request was sent with"
GAPS: Sequence[Gap] = (
    Gap(of="moto", step="put_object", name="ChecksumCRC64NVME", known_from=_CHECKSUMS),
    Gap(of="moto", step="upload_part", name="ChecksumCRC64NVME", known_from=_CHECKSUMS),
    Gap(of="moto", step="list_parts", name="ChecksumCRC64NVME", known_from=_CHECKSUMS),
    Gap(of="moto", step="complete_multipart_upload", name="ChecksumCRC64NVME", known_from=_CHECKSUMS),
    Gap(of="embedded", step="put_object", name="ChecksumCRC64NVME", known_from=_CHECKSUMS),
    Gap(of="moto", step="receive", name="account", known_from="EventBridge's guide: the structure of events"),
)


@dataclass(frozen=True)
class Script:
    """Calls, and what is known of the emulators' answers to them.

    `variants`: where AWS promises neither of two things the simulated one can do either; which an emulator does.
    """

    run: Callable[["Calls"], None]
    differences: tuple[Difference, ...]
    visibility: int  # of the queues, seconds
    variants: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return self.run.__name__


SCRIPTS: list[Script] = []


def script(
    *differences: Difference, visibility: int = 30, **variants: Mapping[str, Any]
) -> Callable[[Callable[["Calls"], None]], Script]:
    """Makes a script of a function. `variants`: of the simulated AWS, by the emulator that is so."""

    def made(run: Callable[["Calls"], None]) -> Script:
        SCRIPTS.append(Script(run, differences, visibility, variants))
        return SCRIPTS[-1]

    return made


class Calls:
    """The clients of a stage, whose calls are written down as steps: `put_item 2` is the second of its kind.

    `case`: what the next calls try, where there are many like them; their steps are named by it.
    A call that is refused answers nothing here; what AWS says of it is in its step.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.steps: dict[str, Any] = {}
        self.case = ""
        self.made: set[tuple[str, str, str]] = set()  # client, operation, parameter
        self.dynamodb = RecordedClient(self, "dynamodb")
        self.plain_dynamodb = RecordedClient(self, "plain_dynamodb")
        self.events = RecordedClient(self, "events")
        self.other_events = RecordedClient(self, "other_events")
        self.s3 = RecordedClient(self, "s3")
        self.secretsmanager = RecordedClient(self, "secretsmanager")
        self.sns = RecordedClient(self, "sns")
        self.sqs = RecordedClient(self, "sqs")
        self._counts: Counter[str] = Counter()
        self._aliases: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    # What S3 is sent

    def body(self, name: str, *, parts: int = 0, more: int = 0) -> bytes:
        """Content of its own, of so many smallest parts and some bytes, at most 4. Its digests get its name."""
        content = (name.encode() * self.stage.smallest_part)[: parts * self.stage.smallest_part + more]
        self._digests[hashlib.md5(content).hexdigest()] = f"MD5 of {name}"
        self._digests[crc64nvme(content)] = f"CRC64NVME of {name}"
        return content

    def joined(self, **parts: bytes) -> bytes:
        """These in a row, as a multipart upload joins them; its digests get their names."""
        content, name = b"".join(parts.values()), "+".join(parts)
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts.values())).hexdigest()
        self._digests[f"{digest}-{len(parts)}"] = f"ETag of {name}"
        self._digests[crc64nvme(content)] = f"CRC64NVME of {name}"
        return content

    # What queues and topics have been given

    def receive(self, queue: str, expected: int = 1) -> list[Received]:
        """Messages, in the order of their bodies. Waits for as many as are expected."""
        found = self.stage.receive(queue)
        for _ in range(10):
            if len(found) >= expected > 0:
                break
            self.stage.let_deliver()
            found += self.stage.receive(queue)
            if not expected:
                break
        found.sort(key=lambda message: _without_id(message.body))
        self.step("receive", [{**self._told(each.body), "receives": each.receives} for each in found])
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
        """Makes the call, writes down what came of it, and returns or raises just that."""
        self.made |= {(client, operation, parameter) for parameter in request}
        try:
            answer = self.stage.do(call)
        except Malformed as error:
            self.step(operation, {"refused": "as malformed"})
            raise Refused from error
        except ParamValidationError as error:
            self.step(operation, {"refused": "as malformed"})
            raise Refused from error
        except ClientError as error:
            self.step(operation, self._refusal(client, error))
            raise
        except (KeyError, TypeError) as error:  # of moto's, which is in this process
            self.step(operation, {"failed with": type(error).__name__})
            raise Refused from error
        if operation == "get_object":  # whose body can be read once
            content = answer["Body"].read()
            answer = {**answer, "Body": io.BytesIO(content)}
            self.step(operation, {"Body": self._named(content)})
        else:
            self.step(operation, self._answer(operation, answer))
        return answer

    def _answer(self, operation: str, answer: Mapping[str, Any]) -> Any:
        compared = {name: answer[name] for name in _ANSWERS[operation] if name in answer}
        if self.stage.name == "simulated" and len(compared) < len(answer):
            raise AssertionError(f"what the simulated {operation} answers is not all compared: {sorted(answer)}")
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

    def _refusal(self, client: str, error: ClientError) -> dict[str, Any]:
        response: Any = error.response
        if client == "sqs":
            return {"refused": "by SQS"}  # no service looks at its codes
        code = response["Error"]["Code"]
        if code in _MISTAKES:
            return {"refused": "as malformed"}
        more: dict[str, Any] = {}
        if "CancellationReasons" in response:
            more["reasons"] = [reason["Code"] for reason in response["CancellationReasons"]]
        if "Item" in response:
            more["Item"] = self._readable(response["Item"])
        return {"refused": code, **more}

    def _readable(self, value: Any, name: str = "") -> Any:
        """A value without what differs from stage to stage and says nothing."""
        if name in _TIMES:
            return "a time"
        if isinstance(value, Mapping):
            return {key: self._readable(part, key) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._readable(part, name) for part in value]
        if name in _OPAQUE:
            value = self._aliases.setdefault(value, f"{name} {len(self._aliases) + 1}")
        elif name in ("Size", "ContentLength"):
            value = "{} parts and {} bytes".format(*divmod(value, self.stage.smallest_part))
        elif isinstance(value, str):
            value = _DIGEST.sub(lambda found: self._digests.get(found[0], found[0]), value)
        return value

    def _named(self, content: bytes) -> str:
        return self._digests.get(crc64nvme(content), repr(content[:80]))

    def _told(self, body: str) -> dict[str, Any]:
        """A message: its body, or the event that lies in it. Account and region are the stage's, the time is now."""
        event = _event(body)
        if not event:
            return {"body": body}
        event["id"] = self._aliases.get(event["id"], "an id that PutEvents did not tell")
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


class Refused(ClientError):
    """A malformed request."""

    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "Malformed"}}, "")


class RecordedClient:
    """Looks like the client. `insistent`: whether it raises what AWS refuses, as a client does."""

    def __init__(self, calls: Calls, name: str, *, insistent: bool = False) -> None:
        self._calls = calls
        self._name = name
        self.insistent = insistent

    @property
    def meta(self) -> Any:
        return self._calls.stage.clients[self._name].meta

    @property
    def exceptions(self) -> Any:
        return self._calls.stage.clients[self._name].exceptions

    def raising(self) -> "RecordedClient":
        return RecordedClient(self._calls, self._name, insistent=True)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        client = self._calls.stage.clients[self._name]
        return lambda **request: self._call(operation, request, lambda: getattr(client, operation)(**request))

    def get_paginator(self, operation: str) -> "RecordedPages":
        return RecordedPages(self, operation)

    def pages(self, operation: str, request: Mapping[str, Any]) -> Any:
        client = self._calls.stage.clients[self._name]

        def joined() -> dict[str, Any]:
            whole: dict[str, Any] = {}
            for page in client.get_paginator(operation).paginate(**request, **self._calls.stage.paging):
                for name in set(_ANSWERS[operation]) & set(page):
                    whole.setdefault(name, []).extend(page[name])
            return whole

        return self._call(operation, request, joined)

    def losing_answer(self, operation: str, **request: Any) -> Any:
        """The call, with its answer lost, so that the client itself sends it once more."""
        plain = self._calls.stage.clients[self._name]
        api_name = "".join(word.capitalize() for word in operation.split("_"))

        def call() -> Any:
            with self._calls.stage.losing_an_answer(self._name, api_name):
                return getattr(plain, operation)(**request)

        return self._call(operation, request, call)

    def _call(self, operation: str, request: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        try:
            return self._calls.record(self._name, operation, request, call)
        except ClientError:
            if self.insistent:
                raise
            return {}


class RecordedPages:
    def __init__(self, client: RecordedClient, operation: str) -> None:
        self._client = client
        self._operation = operation

    def paginate(self, **request: Any) -> Any:
        if self._client.insistent:
            return self._pages(request)  # once somebody wants to see them, as with boto3's
        return self._client.pages(self._operation, request)

    def _pages(self, request: Mapping[str, Any]) -> Iterator[Any]:
        yield self._client.pages(self._operation, request)


def crc64nvme(content: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(content).to_bytes(8, "big")).decode()


MALFORMED: Mapping[str, Any] = {"refused": "as malformed"}


def refused(code: str) -> dict[str, Any]:
    return {"refused": code}


def lax(of: str, *steps: str, known_from: str, aws: Mapping[str, Any] = MALFORMED) -> Iterator[Difference]:
    """What an emulator takes, and AWS does not."""
    for step in steps:
        yield Difference(of=of, step=step, answers={}, aws=aws, known_from=known_from)


def expected(simulated: Mapping[str, Any], script: Script, of: str) -> dict[str, Any]:
    """What an emulator is to have said, going by the simulated AWS and by what is known of their differences.

    Raises `AssertionError` where the simulated one doesn't say what AWS is known to say.
    """
    steps = {step: _without_gaps(step, outcome, of) for step, outcome in simulated.items()}
    for difference in script.differences:
        if difference.of == of:
            assert simulated[difference.step] == difference.aws, difference
            assert difference.answers != difference.aws, difference
            steps[difference.step] = difference.answers
    return steps


def _without_gaps(step: str, outcome: Any, of: str) -> Any:
    gaps = {gap.name for gap in GAPS if gap.of == of and gap.step == step.partition(" ")[0].rstrip(":")}
    return _without(outcome, gaps) if gaps else outcome


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(part, names) for name, part in value.items() if name not in names}
    return [_without(part, names) for part in value] if isinstance(value, list) else value
