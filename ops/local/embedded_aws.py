"""Starts MiniStack, and gives it what AWS does and it does not.

Run by MiniStack's own interpreter, isolated (`python -I ops/local/embedded_aws.py`), because MiniStack's environment is
not the project's: functions run under the same interpreter and must see nothing but their own package and layer. For
the same reason awscrt, which computes checksums a hundred times faster than MiniStack's own code, is loaded from a
folder of its own (`AWSCRT_DIR`) that is taken off the path again.

What is added, each with a test in `tests/contract/test_embedded_aws.py` or `test_embedded_iam.py`:

- S3: CRC64NVME at native speed; whole-object checksums of multipart uploads, computed over the parts that the Complete
  request lists and compared with the value it names; parts under 5 MiB refused, but for the last.
- EventBridge: `PutEvents` refuses entries without source, detail-type or detail, a detail that is no JSON object, an
  unknown bus, and requests of 1 MiB or more. (An unknown bus is where this is stricter than AWS has been seen to be: a
  wrong name should show here, and not as events that go nowhere.)
- Scheduler: the schedule's time zone, daylight saving included; the parameters of an EventBridge target; the context
  attributes such as `<aws.scheduler.scheduled-time>`; a tick every second instead of every ten.
- Lambda: a layer is unpacked once, as it is on AWS, and not anew for every worker: that took most of a cold start and a
  hundred megabytes for each.
- X-Ray, which MiniStack has none of: traces of functions with active tracing, in `embedded_traces.py`.
- IAM, with `AUTH=true`: what MiniStack doesn't ask roles and policies for, in `embedded_iam.py`.

Everything reaches into MiniStack's internals, so it is tied to one version and refuses to start with another.
"""

# ruff: noqa: SLF001 - reaching into MiniStack is what this is for

import base64
import hashlib
import io
import json
import os
import secrets
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib import import_module, metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

MINISTACK_VERSION = "1.5.33"

# What is replaced or called, by module: all of it is checked before anything is touched.
_S3 = (
    "_crc64nvme",
    "_composite_checksum",
    "_create_multipart_upload",
    "_complete_multipart_upload",
    "_get_object_attributes",
    "_completed_multipart_uploads",
    "_multipart_uploads",
    "_ensure_bucket",
    "_error",
    "_qp",
)
_EVENTBRIDGE = (
    "_put_events",
    "_invoke_target",
    "_event_bus_name_from_ref",
    "_event_buses",
    "_parse_rate_seconds",
    "_parse_cron_fields",
    "_cron_next_fire",
)
_SCHEDULER = (
    "_tick_schedules",
    "_schedules",
    "_schedule_last_fired",
    "_create_schedule",
    "_update_schedule",
    "_to_epoch",
    "_error",
    "_SCHEDULE_TICK_INTERVAL",
)
_RUNTIME = ("Worker",)
_APP = ("SERVICE_HANDLERS", "main")
_LAMBDA = ("_resolve_layer_zip",)
_RESPONSES = (
    "error_response_json",
    "json_response",
    "new_uuid",
    "get_account_id",
    "get_region",
    "set_request_account_id",
    "set_request_region",
)

_OK = 200
_MAXIMUM_ENTRIES = 10
_MINIMUM_PART = 5 * 1024 * 1024  # bytes; of every part but the last
_MAXIMUM_PUT_EVENTS = 1024 * 1024  # bytes, over all entries of a request

Response = tuple[int, dict[str, str], bytes]


class UnknownMiniStackError(Exception):
    """The installed MiniStack is not the one this was written for."""


def modules() -> tuple[Any, Any, Any, Any, Any, Any, Any]:
    """The modules that are changed, in the order of the code. Raises `UnknownMiniStackError`, naming what is wrong."""
    try:
        version = metadata.version("ministack")
    except metadata.PackageNotFoundError as error:
        raise UnknownMiniStackError(f"MiniStack is not installed for {sys.executable}") from error
    if version != MINISTACK_VERSION:
        raise UnknownMiniStackError(f"MiniStack {version} is installed, this was written for {MINISTACK_VERSION}")
    needed = {
        "ministack.services.s3": _S3,
        "ministack.services.eventbridge": _EVENTBRIDGE,
        "ministack.services.scheduler": _SCHEDULER,
        "ministack.core.lambda_runtime": _RUNTIME,
        "ministack.services.lambda_svc": _LAMBDA,
        "ministack.app": _APP,
        "ministack.core.responses": _RESPONSES,
    }
    s3, eventbridge, scheduler, runtime, functions, app, responses = having(needed).values()
    return s3, eventbridge, scheduler, runtime, functions, app, responses


def having(needed: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The modules of these names, which have these attributes. Raises `UnknownMiniStackError` that names what lacks."""
    found = {name: import_module(name) for name in needed}
    expected = [(name, attribute) for name, attributes in needed.items() for attribute in attributes]
    missing = [f"{name}.{attribute}" for name, attribute in expected if not hasattr(found[name], attribute)]
    if missing:
        raise UnknownMiniStackError(f"MiniStack {MINISTACK_VERSION} lacks {', '.join(missing)}")
    return found


def beside(name: str) -> Any:
    """A module that stands beside this one; their folder stays off the import path."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} can't be loaded")
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def native_checksums(folder: str) -> Any:
    """The checksums of awscrt, from a folder that stays off the import path."""
    sys.path.append(folder)
    try:
        return import_module("awscrt.checksums")
    finally:
        sys.path.remove(folder)


# --- S3 -------------------------------------------------------------------------------------------------------------


class WholeObjectChecksums:
    """Gives CRC64NVME uploads the one checksum type that S3 has for them, FULL_OBJECT."""

    def __init__(self, s3: Any, crt: Any) -> None:
        self._s3, self._crt = s3, crt
        self._plain_create, self._plain_complete = s3._create_multipart_upload, s3._complete_multipart_upload
        self._plain_composite, self._plain_attributes = s3._composite_checksum, s3._get_object_attributes
        # MiniStack asks for the composite checksum in the middle of a Complete: the answer for the request at hand.
        self._whole_object: ContextVar[str | None] = ContextVar("whole_object", default=None)
        s3._crc64nvme = crt.crc64nvme
        s3._composite_checksum = self.composite
        s3._create_multipart_upload = self.create
        s3._complete_multipart_upload = self.complete
        s3._get_object_attributes = self.attributes

    def create(self, bucket: str, key: str, headers: Mapping[str, str]) -> Response:
        asked_type = headers.get("x-amz-checksum-type", "FULL_OBJECT").upper()
        if headers.get("x-amz-checksum-algorithm", "").upper() == "CRC64NVME" and asked_type != "FULL_OBJECT":
            message = f"The {asked_type} checksum type cannot be used with the crc64nvme checksum algorithm."
            return self._refuse("InvalidRequest", message, bucket, key)
        status, response_headers, body = self._plain_create(bucket, key, headers)
        if response_headers.get("x-amz-checksum-algorithm") == "CRC64NVME":
            response_headers = {**response_headers, "x-amz-checksum-type": "FULL_OBJECT"}
        return status, response_headers, body

    def complete(
        self, bucket: str, key: str, body: bytes, query: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Response:
        upload_id = self._s3._qp(query, "uploadId")
        upload = self._s3._multipart_uploads.get(upload_id, {})
        parts = [upload["parts"][number] for number in _listed_parts(body) if number in upload.get("parts", ())]
        if any(part["size"] < _MINIMUM_PART for part in parts[:-1]):
            message = "Your proposed upload is smaller than the minimum allowed object size."
            return self._refuse("EntityTooSmall", message, bucket, key)
        whole = self._whole_crc64nvme(parts) if upload.get("checksum_algorithm") == "CRC64NVME" else None
        token = self._whole_object.set(whole)
        try:
            status, response_headers, response_body = self._plain_complete(bucket, key, body, query, headers)
        finally:
            self._whole_object.reset(token)
        if whole is not None and status == _OK:
            self._s3._ensure_bucket(bucket)["objects"][key]["checksum_type"] = "FULL_OBJECT"
            response_body = _as_full_object(response_body)
            # MiniStack answers a repeated Complete with the first one's response.
            answered = (status, response_headers, response_body)
            self._s3._completed_multipart_uploads[upload_id]["response"] = answered
        return status, response_headers, response_body

    def composite(self, algorithm: str, part_checksums: list[str]) -> Any:
        return self._whole_object.get() or self._plain_composite(algorithm, part_checksums)

    def attributes(self, *args: Any, **kwargs: Any) -> Response:
        status, headers, body = self._plain_attributes(*args, **kwargs)
        return status, headers, _as_full_object(body) if b"<ChecksumCRC64NVME>" in body else body

    def _whole_crc64nvme(self, parts: Iterable[Mapping[str, Any]]) -> str:
        """The checksum of the parts' bytes in a row, base64, from the parts' own checksums."""
        whole = 0
        for part in parts:
            checksum = int.from_bytes(base64.b64decode(part["checksums"]["CRC64NVME"]), "big")
            whole = self._crt.combine_crc64nvme(whole, checksum, part["size"])
        return base64.b64encode(whole.to_bytes(8, "big")).decode()

    def _refuse(self, code: str, message: str, bucket: str, key: str) -> Response:
        refused: Response = self._s3._error(code, message, 400, f"/{bucket}/{key}")
        return refused


def _listed_parts(body: bytes) -> list[int]:
    """The part numbers that a Complete request lists, ascending. None when it can't be read: MiniStack then refuses."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - sent by our own processes, over loopback
        return sorted(int(e.text or "") for e in root.iter() if e.tag.rpartition("}")[2] == "PartNumber")
    except (ET.ParseError, ValueError):
        return []


def _as_full_object(body: bytes) -> bytes:
    return body.replace(b"<ChecksumType>COMPOSITE<", b"<ChecksumType>FULL_OBJECT<")


# --- EventBridge ----------------------------------------------------------------------------------------------------


class PutEventsRefusals:
    """Refuses the entries that MiniStack would take and lose."""

    def __init__(self, eventbridge: Any, responses: Any) -> None:
        self._eventbridge, self._responses = eventbridge, responses
        self._plain_put = eventbridge._put_events
        eventbridge._put_events = self.put

    def put(self, data: Mapping[str, Any], allow_aws_source: bool = False) -> Response:
        entries = data.get("Entries", [])
        if sum(map(_entry_size, entries)) >= _MAXIMUM_PUT_EVENTS:
            message = "Total size of the entries in the request is over the limit."
            too_large: Response = self._responses.error_response_json("ValidationException", message, 400)
            return too_large
        refusals = [self._refusal(entry) for entry in entries]
        if not any(refusals) or len(entries) > _MAXIMUM_ENTRIES:
            answer: Response = self._plain_put(data, allow_aws_source)
            return answer
        accepted = [entry for entry, refused in zip(entries, refusals, strict=True) if refused is None]
        _, _, body = self._plain_put({**data, "Entries": accepted}, allow_aws_source)
        answers = iter(json.loads(body)["Entries"])
        results = [refused or next(answers) for refused in refusals]
        failed = sum("ErrorCode" in result for result in results)
        mixed: Response = self._responses.json_response({"FailedEntryCount": failed, "Entries": results})
        return mixed

    def _refusal(self, entry: Mapping[str, Any]) -> dict[str, str] | None:
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                return _argument_error(name, f"{name} is a required argument.")
        if not _is_json_object(entry["Detail"]):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        bus, error = self._eventbridge._event_bus_name_from_ref(entry.get("EventBusName", "default"))
        if error is None and bus not in self._eventbridge._event_buses:
            return _argument_error("EventBusName", f"Event bus {bus} does not exist.")
        return None  # another error in the bus's name is MiniStack's own to report


def _argument_error(name: str, reason: str) -> dict[str, str]:
    return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Parameter {name} is not valid. Reason: {reason}"}


def _is_json_object(text: Any) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError):
        return False


def _entry_size(entry: Mapping[str, Any]) -> int:
    """Bytes, as AWS counts them: 14 for a time, the rest in UTF-8."""
    texts = [entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *(entry.get("Resources") or [])]
    return sum(len(str(text).encode()) for text in texts if text) + (14 if entry.get("Time") else 0)


# --- Scheduler ------------------------------------------------------------------------------------------------------


class LocalTimeSchedules:
    """Fires schedules at their local time, as the events that their targets' parameters ask for."""

    def __init__(self, scheduler: Any, eventbridge: Any, responses: Any) -> None:
        self._scheduler, self._eventbridge, self._responses = scheduler, eventbridge, responses
        scheduler._create_schedule = self._refusing_unknown_zones(scheduler._create_schedule)
        scheduler._update_schedule = self._refusing_unknown_zones(scheduler._update_schedule)
        scheduler._tick_schedules = self.tick
        scheduler._SCHEDULE_TICK_INTERVAL = 1

    def tick(self) -> None:
        """Fires what is due now, each schedule under its own account and region."""
        before = self._responses.get_account_id(), self._responses.get_region()
        try:
            for key, schedule in list(self._scheduler._schedules._data.items()):
                account, region, _ = key
                self._responses.set_request_account_id(account)
                self._responses.set_request_region(region)
                self._fire_if_due(key, schedule, time.time())
        finally:
            self._responses.set_request_account_id(before[0])
            self._responses.set_request_region(before[1])

    def _fire_if_due(self, key: tuple[str, str, str], schedule: Mapping[str, Any], now: float) -> None:
        start = self._scheduler._to_epoch(schedule.get("StartDate")) or 0
        end = self._scheduler._to_epoch(schedule.get("EndDate")) or now
        if schedule["State"] != "ENABLED" or not start <= now <= end:
            return
        fired: dict[tuple[str, str, str], float] = self._scheduler._schedule_last_fired
        last = max(fired.get(key, 0), schedule["LastModificationDate"])
        scheduled = max((at for at in self._times(schedule, last, now) if last < at <= now), default=None)
        if scheduled is None:
            return
        fired[key] = scheduled
        self._fire(schedule, scheduled)
        if schedule["ActionAfterCompletion"] == "DELETE" and schedule["ScheduleExpression"].startswith("at("):
            del self._scheduler._schedules._data[key], fired[key]

    def _times(self, schedule: Mapping[str, Any], last: float, now: float) -> Iterator[float]:
        """The times for which it is set, unix seconds; all those after `last` and until `now` among them."""
        expression, zone = schedule["ScheduleExpression"].strip(), ZoneInfo(schedule["ScheduleExpressionTimezone"])
        created = schedule["CreationDate"]
        if expression.startswith("at("):
            yield datetime.fromisoformat(expression[3:-1].strip()).replace(tzinfo=zone).timestamp()
        elif interval := self._eventbridge._parse_rate_seconds(expression):
            if now - created >= interval:
                yield created + int((now - created) // interval) * interval
        elif fields := self._eventbridge._parse_cron_fields(expression):
            local = self._eventbridge._cron_next_fire(fields, datetime.fromtimestamp(last, zone))
            while local is not None and local.timestamp() <= now:
                if datetime.fromtimestamp(local.timestamp(), zone).replace(fold=0) == local:
                    yield local.timestamp()  # else the clock skips this local time, and so does Scheduler
                local = self._eventbridge._cron_next_fire(fields, local)

    def _fire(self, schedule: Mapping[str, Any], scheduled: float) -> None:
        target = dict(schedule["Target"])
        if "Input" in target:
            target["Input"] = _with_context(target["Input"], schedule["Arn"], scheduled)
        parameters = target.get("EventBridgeParameters") or {}
        event = {
            "EventId": self._responses.new_uuid(),
            "Source": parameters.get("Source", "aws.scheduler"),
            "DetailType": parameters.get("DetailType", "Scheduled Event"),
            "Detail": "{}",
            "Time": int(time.time()),
            "Resources": [schedule["Arn"]],
            "Account": self._responses.get_account_id(),
            "Region": self._responses.get_region(),
        }
        self._eventbridge._invoke_target(target, event, schedule)

    def _refusing_unknown_zones(self, plain: Callable[..., Response]) -> Callable[..., Response]:
        def write(name: str, body: Mapping[str, Any]) -> Response:
            zone = body.get("ScheduleExpressionTimezone", "UTC")
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                message = f"Invalid Schedule Expression Timezone {zone}."
                refused: Response = self._scheduler._error(400, "ValidationException", message)
                return refused
            return plain(name, body)

        return write


def _with_context(text: str, schedule_arn: str, scheduled: float) -> str:
    """The target's input with Scheduler's context attributes filled in."""
    attributes = {
        "schedule-arn": schedule_arn,
        "scheduled-time": datetime.fromtimestamp(scheduled, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "execution-id": secrets.token_hex(8),
        "attempt-number": "1",
    }
    for name, value in attributes.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


# --- Lambda ---------------------------------------------------------------------------------------------------------


class SharedLayers:
    """Unpacks a layer once, and gives every worker that starts a layer which leads there."""

    def __init__(self, runtime: Any, functions: Any, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._starting: ContextVar[bool] = ContextVar("starting", default=False)
        self._plain_spawn, self._plain_resolve = runtime.Worker._spawn, functions._resolve_layer_zip
        runtime.Worker._spawn = lambda worker: self.spawn(worker)  # noqa: PLW0108 - a bound method takes no worker
        functions._resolve_layer_zip = self.resolve

    def spawn(self, worker: Any) -> None:
        token = self._starting.set(True)
        try:
            self._plain_spawn(worker)
        finally:
            self._starting.reset(token)

    def resolve(self, attachment: Any) -> bytes | None:
        """The layer's zip; for a worker that starts, a small one that leads to what the layer's own unpacks to."""
        content: bytes | None = self._plain_resolve(attachment)
        return _leading_to(self._unpacked(content)) if content and self._starting.get() else content

    def _unpacked(self, content: bytes) -> Path:
        layer = self._folder / hashlib.sha256(content).hexdigest()
        with self._lock:
            if not layer.exists():
                partial = layer.with_suffix(".partial")
                zipfile.ZipFile(io.BytesIO(content)).extractall(partial)
                partial.rename(layer)
        return layer


def _leading_to(layer: Path) -> bytes:
    # A line of a .pth file that begins with `import` is run. Merely naming the folder would put it last on the path,
    # behind MiniStack's own packages.
    line = f"import sys; sys.path.insert(0, {str(layer / 'python')!r})\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("python/lib/python3/site-packages/layer.pth", line)
    return content.getvalue()


def main() -> None:
    """Becomes MiniStack. Ends with one clear line when the installed one is not the right one."""
    try:
        s3, eventbridge, scheduler, runtime, functions, app, responses = modules()
        iam = beside("embedded_iam")
        asked_by_iam = having(iam.NEEDED)
        crt = native_checksums(os.environ["AWSCRT_DIR"])
    except UnknownMiniStackError as error:
        sys.exit(f"embedded AWS: {error}. Run `make setup`.")
    except KeyError:
        sys.exit("embedded AWS: AWSCRT_DIR must name the folder that holds awscrt")
    except ImportError as error:
        sys.exit(f"embedded AWS: {error} (looked in AWSCRT_DIR={os.environ['AWSCRT_DIR']}). Run `make setup`.")
    WholeObjectChecksums(s3, crt)
    PutEventsRefusals(eventbridge, responses)
    LocalTimeSchedules(scheduler, eventbridge, responses)
    SharedLayers(runtime, functions, Path(tempfile.gettempdir()) / "layers")
    tracing = beside("embedded_traces")
    traces = tracing.Traces()
    if os.environ.get("AUTH") == "true":
        traces = tracing.Traces(iam.install(asked_by_iam, Path(os.environ["IAM_DECISIONS"])).may_trace)
    tracing.install(runtime, responses, app.SERVICE_HANDLERS, traces)
    app.main()


if __name__ == "__main__":
    main()
