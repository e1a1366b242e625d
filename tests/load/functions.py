"""What a function's process needs for many media: the real handler, libraries and clients, with canned answers.

`python -m tests.load.functions CASE MEDIA` runs one invocation after the other in this process, until nothing is left
to do, and prints a line of JSON. Answers come from inside the process, made when they are asked for and kept on disk
where they have to be kept, so that its memory is the function's own.
"""

import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import msgspec
import requests
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import Session as BotocoreSession

from services.shared.events import SessionAuthenticated, SyncReviewDue, detail
from services.shared.gopro.client import PAGE_SIZE
from services.summarizer.sync import Medium, Sync
from tests.simulation.expressions import update
from tests.simulation.wiring import ACCOUNT, REGION, wires
from tests.template import ROOT

_SYNC_ID = "scheduled-2026-03-10"
_NOW = "2026-03-10T01:00:00Z"
_PAGE_BYTES = 1 << 20  # of a Query
CASES = ("list", "list all", "review", "close")

_NEW = 1000  # media
_PATIENCE_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case of one length, in a process of its own. Memory as Lambda counts it: of the whole process, in bytes."""

    case: str
    media: int
    idle: int  # memory before the first event
    peak: int
    seconds: float  # of processor time, without that for the answers
    invocations: int


def measure(case: str, media: int) -> Measured:
    """Raises `RuntimeError` when the function fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.functions", case, str(media)],
        cwd=ROOT,
        env={**os.environ, **_environment(_service_of(case))},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{case} with {media} media failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


def memory_of(case: str) -> int:
    """Bytes that the template gives the function of a case."""
    return memory_of_service(_service_of(case))


def memory_of_service(service: str) -> int:
    """Bytes that the template gives a service's function."""
    return wires().services[service].memory_megabytes << 20


def timeout_of(case: str) -> float:
    """Seconds that the template gives the function of a case."""
    return wires().services[_service_of(case)].timeout


def _service_of(case: str) -> str:
    return "lister" if case.startswith("list") else "summarizer"


def _environment(service: str) -> Mapping[str, str]:
    return {
        **wires().services[service].environment,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "POWERTOOLS_TRACE_DISABLED": "1",
    }


class Answers:
    """What AWS and GoPro say to a function that works on so many media."""

    def __init__(self, case: str, media: int, folder: Path) -> None:
        self.case = case
        self.media = media
        # What the library table has records of: in a first sync none, in a nightly one all but the newest.
        self.known = {"list": max(0, media - _NEW), "list all": 0}.get(case, media)
        self.published: list[tuple[str, dict[str, Any]]] = []  # what is to be reacted to, or ends the case
        self.seconds = 0.0  # of processor time, for making the answers
        self.told = 0  # media that were handed on
        self.sent: list[str] = []  # notifications
        self._folder = folder
        self._sync = _open_sync(case, media)
        self._to = TypeSerializer().serialize
        self._from = TypeDeserializer().deserialize

    def session(self) -> boto3.Session:
        core = BotocoreSession()
        core.register("before-send", self._answer)
        return boto3.Session(botocore_session=core)

    def _answer(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        began = time.process_time()
        try:
            return self._answer_to(request, event_name)
        finally:
            self.seconds += time.process_time() - began

    def _answer_to(self, request: AWSPreparedRequest, event_name: str) -> AWSResponse:
        _, service, operation = event_name.split(".")
        status, headers, content = 200, {"Content-Type": "application/x-amz-json-1.0"}, b""
        if service == "s3":
            status, content = self._s3(operation, request)
        elif service == "sns":
            self.sent.append(parse_qs(_bytes(request.body).decode())["Message"][0])
            content = b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        else:
            content = json.dumps(getattr(self, f"_{operation}")(json.loads(_bytes(request.body)))).encode()
        return AWSResponse(request.url, status, {**headers, "Content-Length": str(len(content))}, _Raw(content))

    # S3

    def _s3(self, operation: str, request: AWSPreparedRequest) -> tuple[int, bytes]:
        path = self._folder / unquote(urlsplit(str(request.url)).path).lstrip("/").replace("/", " ")
        if operation == "PutObject":
            path.write_bytes(_unchunked(request))
            return 200, b""
        if path.exists():
            return 200, path.read_bytes()
        return 404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"

    # Secrets Manager, EventBridge, SQS

    def _GetSecretValue(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"SecretString": json.dumps({"access_token": "token", "version": 1, "obtained_at": _NOW})}

    def _PutEvents(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        for entry in request["Entries"]:
            if entry["DetailType"] == "MediaDiscovered":
                self.told += 1
            else:
                self.published.append((entry["DetailType"], json.loads(entry["Detail"])))
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in request["Entries"]]}

    def _ChangeMessageVisibility(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}

    def _GetQueueAttributes(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Attributes": dict.fromkeys(request["AttributeNames"], "5")}

    # DynamoDB

    def _BatchGetItem(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        ((table, asked),) = request["RequestItems"].items()
        numbers = (int(key["media_id"]["S"][4:], 16) for key in asked["Keys"])
        known = [number for number in numbers if number < self.known]
        return {"Responses": {table: [self._item(self._record(number)) for number in known]}}

    def _record(self, number: int) -> Mapping[str, Any]:
        """A medium of the library table, with all that is ever in it."""
        stored = self.case != "review"
        return {
            "media_id": _media_id(number),
            "item": 0,
            "status": "STORED" if stored else "FAILED",
            "epoch": 1,
            "sync_id": "scheduled-2026-03-09",
            "tried_at": _NOW,
            "item_count": 1,
            "files_total": 1,
            "bytes_total": 4_000_000_000,
            "bytes_done": 4_000_000_000,
            **({"stored_at": _NOW} if stored else {"reason": "r" * 500, "failed_at": _NOW}),
        }

    def _GetItem(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Item": self._item(self._sync)}

    def _Query(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        partition = request["ExpressionAttributeValues"][":partition"]["S"]
        if partition.startswith("#"):
            return {"Items": [self._item({"sync_id": partition, "record": _SYNC_ID})]}
        after = request.get("ExclusiveStartKey")
        start = int(after["record"]["S"].removeprefix("medium#6a93"), 16) + 1 if after else 0
        items: list[Any] = []
        size = 0
        for number in range(start, self.media):
            items.append(self._item(self._medium(number)))
            size += _MEDIUM_BYTES
            if size > _PAGE_BYTES:
                return {"Items": items, "LastEvaluatedKey": {k: items[-1][k] for k in ("sync_id", "record")}}
        return {"Items": items}

    def _medium(self, number: int) -> Mapping[str, Any]:
        known = Medium(
            media_id=_media_id(number),
            state="DOWNLOADED" if self.case == "close" else "DISCOVERED",
            listed=True,
            filename=f"GX01{number % 10_000:04}.MP4",
            size=4_000_000_000,
            epoch=1,
            bytes=4_000_000_000,
        )
        return {**_without_none(known), "sync_id": _SYNC_ID, "record": f"medium#{known.media_id}", "seconds": 100}

    def _TransactWriteItems(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        for action in request["TransactItems"]:
            if "Update" in action:
                self._UpdateItem(action["Update"])
        return {}

    def _UpdateItem(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        values = {name: self._from(value) for name, value in request.get("ExpressionAttributeValues", {}).items()}
        after = json.loads(json.dumps(self._sync, default=int))
        update(request["UpdateExpression"])(self._sync, after, request.get("ExpressionAttributeNames", {}), values)
        self._sync = after
        return {}

    def _item(self, plain: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: self._to(value) for name, value in plain.items()}

    # GoPro

    def gopro(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        began = time.process_time()
        try:
            return self._page(request)
        finally:
            self.seconds += time.process_time() - began

    def _page(self, request: requests.PreparedRequest) -> requests.Response:
        parts = urlsplit(str(request.url))
        if parts.path == "/media/user":
            content: Any = {"total_count": self.media}
        else:
            page = int(parse_qs(parts.query)["page"][0])
            last = self.media - (page - 1) * PAGE_SIZE
            rows = [_row(number) for number in range(last - 1, max(0, last - PAGE_SIZE) - 1, -1)]
            content = {"_pages": {"total_items": self.media}, "_embedded": {"errors": [], "media": rows}}
        response = requests.Response()
        response.status_code, response.raw, response.url = 200, io.BytesIO(json.dumps(content).encode()), parts.geturl()
        response.headers["Content-Type"] = "application/json"
        return response


class _Raw(io.BytesIO):
    """As urllib3 hands a body over."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        while piece := self.read(1 << 16):
            yield piece


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()


def _unchunked(request: AWSPreparedRequest) -> bytes:
    """A body, without the frames that boto3 puts around one whose checksum follows it."""
    body = _bytes(request.body)
    if "aws-chunked" not in str(request.headers.get("Content-Encoding", "")):
        return body
    content = io.BytesIO(body)
    pieces = []
    while size := int(content.readline().split(b";")[0], 16):
        pieces.append(content.read(size))
        content.readline()
    return b"".join(pieces)


def _media_id(number: int) -> str:
    return f"6a93{number:020x}"


def _row(number: int) -> Mapping[str, Any]:
    captured = f"{datetime.fromtimestamp(1_600_000_000 + 60 * number, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "id": _media_id(number),
        "type": "Video",
        "filename": f"GX01{number % 10_000:04}.MP4",
        "file_size": 4_000_000_000,
        "item_count": 1,
        "captured_at": captured,
        "created_at": captured,
        "ready_to_view": "ready",
        "camera_model": "HERO13 Black",
    }


def _open_sync(case: str, media: int) -> Mapping[str, Any]:
    downloaded = media if case == "close" else 0
    sync = Sync(
        sync_id=_SYNC_ID,
        version=1,
        requested_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        trigger="scheduled",
        expected=media,
        listed=media,
        discovered=media,
        downloaded=downloaded,
        bytes=4_000_000_000 * downloaded,
    )
    return {**_without_none(sync), "record": "sync"}


def _without_none(state: Any) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(state).items() if value is not None and value != 0.0}


_MEDIUM_BYTES = 330  # about what a medium of a sync has, by DynamoDB's counting


def _record(detail_type: str, content: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """An event as a function is handed it."""
    envelope = {"detail-type": detail_type, "id": f"e{number}", "time": _NOW, "detail": content}
    message = {
        "messageId": f"m{number}",
        "receiptHandle": f"r{number}",
        "body": json.dumps(envelope),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox",
        "awsRegion": REGION,
    }
    return {"Records": [message]}


def _run(case: str, media: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(case, media, Path(folder))
        if case == "list all":
            os.environ |= {"MAX_MEDIA_PER_SYNC": str(media), "MAX_GIGABYTES_PER_SYNC": "1000000"}
        session = answers.session()
        with (
            mock.patch("boto3.Session", return_value=session),
            mock.patch("requests.adapters.HTTPAdapter.send", answers.gopro),
            mock.patch("services.shared.gopro.client.PACE_SECONDS", 0.0),
        ):
            handler = importlib.import_module(f"services.{_service_of(case)}.handler").handler
            idle, began = memory("VmRSS"), time.process_time()
            invocations = _invoke(handler, answers, _begin(case))
        _check(answers)
        return Measured(
            case=case,
            media=media,
            idle=idle,
            peak=memory("VmHWM"),
            seconds=time.process_time() - began - answers.seconds,
            invocations=invocations,
        )


def _begin(case: str) -> tuple[str, Mapping[str, Any]]:
    if _service_of(case) == "summarizer":
        return SyncReviewDue.__name__, {}
    begun = SessionAuthenticated(sync_id=_SYNC_ID, session_version=1, requested_at=_NOW)
    return SessionAuthenticated.__name__, detail(begun)


def _invoke(handler: Callable[..., Any], answers: Answers, first: tuple[str, Mapping[str, Any]]) -> int:
    """One invocation after the other, as long as there are pauses. Returns how many there were."""
    waiting, count = [first], 0
    while waiting:
        count += 1
        timeout = time.monotonic() + wires().services[_service_of(answers.case)].timeout
        context = SimpleNamespace(
            function_name="function",
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function",
            aws_request_id=str(count),
            get_remaining_time_in_millis=lambda until=timeout: int((until - time.monotonic()) * 1000),
        )
        answer = handler(_record(*waiting.pop(), count), context)
        if answer["batchItemFailures"]:
            raise RuntimeError("the function failed; its log says why")
        waiting += [event for event in answers.published if event[0].endswith("Paused")]
        answers.published = [event for event in answers.published if not event[0].endswith("Paused")]
    return count


def _check(answers: Answers) -> None:
    """The function has done what it is there for."""
    media, case = answers.media, answers.case
    names = [name for name, _ in answers.published]
    wanted = {"close": ["SyncCompleted"], "review": []}.get(case, ["LibraryListed"])
    if names != wanted or len(answers.sent) != (case == "close"):
        raise RuntimeError(f"{case} published {names}, and sent {len(answers.sent)} notifications")
    if case.startswith("list"):
        data = answers.published[0][1]["data"]
        counts = [data[name] for name in ("listed", "stored", "discovered", "deferred")]
        new = media - answers.known
        if counts != [media, answers.known, new, 0] or answers.told != new or data["warnings"]:
            raise RuntimeError(f"the listing of {media} media says {data}")


def memory(field: str, pid: int | str = "self") -> int:
    """Bytes that a process has now ("VmRSS"), or has had at most ("VmHWM")."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


if __name__ == "__main__":
    print(msgspec.json.encode(_run(sys.argv[1], int(sys.argv[2]))).decode())
