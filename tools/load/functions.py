"""Memory and processor time of a function for many media: real handler, libraries and clients, canned answers.

`python -m tools.load.functions CASE MEDIA` invokes the function in this process until nothing is left to do, and prints
a line of JSON. The answers are computed in the process on request, and kept on disk where they must persist, so that
the process's memory is the function's own.
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
from datetime import UTC, datetime, timedelta
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
from botocore.compat import HTTPHeaders
from botocore.session import Session as BotocoreSession

from services.lister.newest import FORM, Known
from services.shared.clock import iso
from services.shared.envelope import detail
from services.shared.events import SessionAuthenticated, SyncReviewDue
from services.shared.gopro.client import PAGE_SIZE, read_medium
from services.shared.library.records import REQUEST
from services.summarizer.records import Medium, Sync
from tools.simulator.expressions import update
from tools.simulator.functions import sqs_record
from tools.simulator.wiring import ACCOUNT, REGION, wires
from tools.template import ROOT

_SYNC_ID = "scheduled-2026-03-10"
_NOW = "2026-03-10T01:00:00Z"
_PAGE_BYTES = 1 << 20  # of a Query
CASES = ("list", "list all", "review", "close")
# Nights on which nothing is new, after nights on which everything was stored.
IDLE_CASES = ("list idle, all", "list idle, newest")

_NEW = 1000  # media
_PATIENCE_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case of one length, in a process of its own. Memory of the whole process in bytes, as Lambda counts it."""

    case: str
    media: int
    idle: int  # memory before the first event
    peak: int
    seconds: float  # of processor time, without that of the answers
    invocations: int
    gopro_requests: int = 0
    items_read: int = 0  # of the library table


def measure(case: str, media: int, *, patience_seconds: float = _PATIENCE_SECONDS) -> Measured:
    """Measure a case in a process of its own. Raises `RuntimeError` when the function fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.load.functions", case, str(media)],
        cwd=ROOT,
        env={**os.environ, **_environment(service_of(case))},
        capture_output=True,
        text=True,
        check=False,
        timeout=patience_seconds,
    )
    if done.returncode:
        raise RuntimeError(f"{case} with {media} media failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


def memory_of(case: str) -> int:
    """Return the bytes that the template gives the function of a case."""
    return wires().services[service_of(case)].memory_megabytes << 20


def service_of(case: str) -> str:
    """Return the service that a case measures."""
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
    """The answers of AWS and GoPro to a function that processes this many media."""

    def __init__(self, case: str, media: int, folder: Path) -> None:
        self.case = case
        self.media = media
        # Media with records in the library table: none in a first sync, all but the newest in a nightly one.
        self.known = {"list": max(0, media - _NEW), "list all": 0}.get(case, media)
        self.published: list[tuple[str, dict[str, Any]]] = []  # events that cause a reaction or end the case
        self.seconds = 0.0  # of processor time, spent on the answers
        self.gopro_requests = 0
        self.items_read = 0  # of the library table
        self.discovered = 0  # media that were published
        self.sent: list[str] = []  # notifications
        self._folder = folder
        self._sync = _open_sync(case, media)
        self._to = TypeSerializer().serialize
        self._from = TypeDeserializer().deserialize

    def session(self) -> boto3.Session:
        core = BotocoreSession()
        core.register("before-send", self._answer)  # type: ignore[arg-type]  # the return value is the answer
        return boto3.Session(botocore_session=core)

    def _answer(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        began = time.process_time()
        try:
            return self._answer_to(request, event_name)
        finally:
            self.seconds += time.process_time() - began

    def _answer_to(self, request: AWSPreparedRequest, event_name: str) -> AWSResponse:
        _, service, operation = event_name.split(".")
        status, content = 200, b""
        if service == "s3":
            status, content = self._s3(operation, request)
        elif service == "sns":
            self.sent.append(parse_qs(_bytes(request.body).decode())["Message"][0])
            content = b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        else:
            content = json.dumps(getattr(self, f"_{operation}")(json.loads(_bytes(request.body)))).encode()
        headers = HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.0", "Content-Length": len(content)})
        return AWSResponse(request.url, status, headers, _Raw(content))

    # S3

    def keep(self, name: str, content: bytes) -> None:
        """Put an object into a bucket. `name`: of the bucket, and the key."""
        self._path(name).write_bytes(content)

    def _path(self, name: str) -> Path:
        return self._folder / name.replace("/", " ")

    def _s3(self, operation: str, request: AWSPreparedRequest) -> tuple[int, bytes]:
        path = self._path(unquote(urlsplit(str(request.url)).path).lstrip("/"))
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
                self.discovered += 1
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
        ids = [key["media_id"]["S"] for key in asked["Keys"]]
        self.items_read += len(ids)
        numbers = (int(media_id[4:], 16) for media_id in ids if media_id != REQUEST)
        known = [number for number in numbers if number < self.known]
        return {"Responses": {table: [self._item(self._record(number)) for number in known]}}

    def _record(self, number: int) -> Mapping[str, Any]:
        """Return a medium of the library table with all attributes."""
        stored = self.case != "review"
        row = {"size": 4_000_000_000, "reprocessed_at": "", "labels": ""} if self.case in IDLE_CASES else {}
        return {
            **row,
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
        update(request["UpdateExpression"])(
            dict(self._sync), after, request.get("ExpressionAttributeNames", {}), values
        )
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
        self.gopro_requests += 1
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
    """A body, as urllib3 returns it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        while piece := self.read(1 << 16):
            yield piece


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()


def _unchunked(request: AWSPreparedRequest) -> bytes:
    """Return the body without the chunk frames that boto3 adds when a checksum trails."""
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


def _known(media: int) -> Known:
    """Return what a full walk yesterday has left behind, after which everything was stored."""
    newest = (read_medium(_row(number)) for number in range(media - 1, max(0, media - PAGE_SIZE) - 1, -1))
    yesterday = iso(datetime.now(UTC) - timedelta(days=1))
    return Known(
        form=FORM,
        library_table=os.environ["LIBRARY_TABLE"],
        full_walk_at=yesterday,
        decided_at=yesterday,
        total=media,
        front=tuple(newest),
    )


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


_MEDIUM_BYTES = 330  # the approximate size of a sync's medium, as DynamoDB counts it


def _run(case: str, media: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(case, media, Path(folder))
        if case == "list all":
            os.environ |= {"MAX_MEDIA_PER_SYNC": str(media), "MAX_GIGABYTES_PER_SYNC": "1000000"}
        session = answers.session()
        if case == "list idle, newest":
            known = msgspec.json.encode(_known(media))
            answers.keep(f"{os.environ['MEDIA_BUCKET']}/listings/_known.json", known)
        with (
            mock.patch("boto3.Session", return_value=session),
            mock.patch("requests.adapters.HTTPAdapter.send", answers.gopro),
            mock.patch("services.shared.gopro.client.PACE_SECONDS", 0.0),
        ):
            handler = importlib.import_module(f"services.{service_of(case)}.handler").handler
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
            gopro_requests=answers.gopro_requests,
            items_read=answers.items_read,
        )


def _begin(case: str) -> tuple[str, Mapping[str, Any]]:
    if service_of(case) == "summarizer":
        return SyncReviewDue.__name__, {}
    begun = SessionAuthenticated(sync_id=_SYNC_ID, session_version=1, requested_at=_NOW)
    return SessionAuthenticated.__name__, detail(begun)


def _invoke(handler: Callable[..., Any], answers: Answers, first: tuple[str, Mapping[str, Any]]) -> int:
    """Invoke the handler until it no longer pauses, and return the number of invocations."""
    waiting, count = [first], 0
    while waiting:
        count += 1
        timeout = time.monotonic() + wires().services[service_of(answers.case)].timeout
        context = SimpleNamespace(
            function_name="function",
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function",
            aws_request_id=str(count),
            get_remaining_time_in_millis=lambda until=timeout: int((until - time.monotonic()) * 1000),
        )
        detail_type, content = waiting.pop()
        envelope = {"detail-type": detail_type, "id": f"e{count}", "time": _NOW, "detail": content}
        answer = handler({"Records": [sqs_record(f"m{count}", json.dumps(envelope))]}, context)
        if answer["batchItemFailures"]:
            raise RuntimeError("the function failed; its log says why")
        waiting += [event for event in answers.published if event[0].endswith("Paused")]
        answers.published = [event for event in answers.published if not event[0].endswith("Paused")]
    return count


def _check(answers: Answers) -> None:
    """Check that the function has done its work. Raises `RuntimeError`."""
    media, case = answers.media, answers.case
    names = [name for name, _ in answers.published]
    wanted = {"close": ["SyncCompleted", "OperatorsNotified"], "review": []}.get(case, ["LibraryListed"])
    if names != wanted or len(answers.sent) != (case == "close"):
        raise RuntimeError(f"{case} published {names}, and sent {len(answers.sent)} notifications")
    if case.startswith("list"):
        data = answers.published[0][1]["data"]
        counts = [data[name] for name in ("listed", "stored", "discovered", "deferred")]
        new = media - answers.known
        walk = "newest" if case == "list idle, newest" else "full"
        if counts != [media, answers.known, new, 0] or answers.discovered != new or data["warnings"]:
            raise RuntimeError(f"the listing of {media} media says {data}")
        if data["walk"] != walk:
            raise RuntimeError(f"the listing of {media} media says {data}")


def memory(field: str, pid: int | str = "self") -> int:
    """Return the process's memory in bytes: current ("VmRSS") or peak ("VmHWM")."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


if __name__ == "__main__":
    print(msgspec.json.encode(_run(sys.argv[1], int(sys.argv[2]))).decode())
