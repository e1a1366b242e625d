"""Starts MiniStack and adds behaviour of AWS that it lacks.

MiniStack's own interpreter runs this file, isolated (`python -I ops/local/embedded_aws.py`). Functions run under the
same interpreter and must see only their own package and layer, so MiniStack's environment is not the project's. For the
same reason awscrt, which computes checksums a hundred times faster than MiniStack's code, is loaded from its own folder
(`AWSCRT_DIR`), which is then taken off the import path.

Additions, each with a test in `tests/contract/test_embedded_aws.py` or `test_embedded_iam.py`:

- S3: CRC64NVME at native speed; whole-object checksums of multipart uploads, computed over the parts that the Complete
  request lists and compared with the value it names; refusal of parts under 5 MiB, except the last; ETags of objects
  encrypted with KMS, which are no MD5; the default retention of multipart uploads. Nothing is encrypted, and no
  permission on a key is asked for.
- EventBridge: `PutEvents` refuses entries without source, detail-type or detail, a detail that is not a JSON object, an
  unknown bus, and requests of 1 MiB or more. AWS was seen to accept an unknown bus; refusing it shows a wrong name at
  once instead of losing events.
- Scheduler: the schedule's time zone including daylight saving; the parameters of an EventBridge target; context
  attributes such as `<aws.scheduler.scheduled-time>`; a tick every second instead of every ten.
- Lambda: a layer is unpacked once, as on AWS. MiniStack unpacks it for every worker, which takes most of a cold start
  and a hundred megabytes each time.
- CloudFormation: alarms on metric math are created, as alarms on the first of their metrics. Nothing emits metrics
  here, so that no alarm ever rings. Saved queries, X-Ray groups, NAT gateways with their addresses, flow logs and
  budgets are accepted, and are in their stack alone: nothing here runs a query by its name, sorts traces into groups,
  routes a packet or costs anything. Functions in a VPC reach all that this machine reaches. Connections and API
  destinations are created, updated and deleted. A new bucket gets its lifecycle rule, and a new table its point-in-time
  recovery.
- X-Ray: traces of functions with active tracing, in `embedded_traces.py`. MiniStack has no X-Ray.
- CloudWatch Logs: rules write events into log groups, filters on JSON narrow a search, and the log of an invocation is
  whole, in `embedded_logs.py`.
- IAM, with `AUTH=true`: the checks of roles and policies that MiniStack omits, in `embedded_iam.py`.

All of this patches MiniStack's internals, so it supports exactly one version and refuses to start with another.
"""

# ruff: noqa: SLF001 - this file patches MiniStack's internals

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

# The attributes that are replaced or called, by module. All are checked before the first is replaced.
_S3 = (
    "_crc64nvme",
    "_composite_checksum",
    "_create_multipart_upload",
    "_complete_multipart_upload",
    "_put_object",
    "_apply_object_lock_from_headers",
    "_object_retention",
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
    *(f"_{verb}_{noun}" for noun in ("connection", "api_destination") for verb in ("create", "update", "delete")),
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
_PROVISIONERS = ("_cw_metric_alarm_record", "_RESOURCE_HANDLERS", "_s3", "_dynamodb")
# Each with the attributes that a template may ask for.
_IN_THE_STACK_ALONE: Mapping[str, Sequence[str]] = {
    "AWS::Logs::QueryDefinition": (),
    "AWS::XRay::Group": (),
    "AWS::EC2::EIP": ("AllocationId",),
    "AWS::EC2::NatGateway": (),
    "AWS::EC2::FlowLog": (),
    "AWS::Budgets::Budget": (),
}
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
_MAXIMUM_NAME = 64  # characters of a connection's, and of an API destination's
_MINIMUM_PART = 5 * 1024 * 1024  # bytes; of every part but the last
_MAXIMUM_PUT_EVENTS = 1024 * 1024  # bytes, over all entries of a request

Response = tuple[int, dict[str, str], bytes]


class UnknownMiniStackError(Exception):
    """The installed MiniStack is not the supported version."""


def modules() -> tuple[Any, Any, Any, Any, Any, Any, Any, Any]:
    """Return the modules to patch, in the order of the code. Raises `UnknownMiniStackError`."""
    try:
        version = metadata.version("ministack")
    except metadata.PackageNotFoundError as error:
        raise UnknownMiniStackError(f"MiniStack is not installed for {sys.executable}") from error
    if version != MINISTACK_VERSION:
        raise UnknownMiniStackError(f"MiniStack {version} is installed, but only {MINISTACK_VERSION} is supported")
    needed = {
        "ministack.services.s3": _S3,
        "ministack.services.eventbridge": _EVENTBRIDGE,
        "ministack.services.scheduler": _SCHEDULER,
        "ministack.core.lambda_runtime": _RUNTIME,
        "ministack.services.lambda_svc": _LAMBDA,
        "ministack.app": _APP,
        "ministack.core.responses": _RESPONSES,
        "ministack.services.cloudformation.provisioners": _PROVISIONERS,
    }
    s3, eventbridge, scheduler, runtime, functions, app, responses, provisioners = having(needed).values()
    return s3, eventbridge, scheduler, runtime, functions, app, responses, provisioners


def having(needed: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Import these modules. Raises `UnknownMiniStackError` that names the attributes they lack."""
    found = {name: import_module(name) for name in needed}
    expected = [(name, attribute) for name, attributes in needed.items() for attribute in attributes]
    missing = [f"{name}.{attribute}" for name, attribute in expected if not hasattr(found[name], attribute)]
    if missing:
        raise UnknownMiniStackError(f"MiniStack {MINISTACK_VERSION} lacks {', '.join(missing)}")
    return found


def beside(name: str) -> Any:
    """Import a module from this file's folder, which stays off the import path."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} can't be loaded")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module here
    spec.loader.exec_module(module)
    return module


def native_checksums(folder: str) -> Any:
    """Import awscrt's checksums from a folder that stays off the import path afterwards."""
    sys.path.append(folder)
    try:
        return import_module("awscrt.checksums")
    finally:
        sys.path.remove(folder)


# --- S3 -------------------------------------------------------------------------------------------------------------


class WholeObjectChecksums:
    """Gives CRC64NVME uploads the only checksum type that S3 has for them, FULL_OBJECT."""

    def __init__(self, s3: Any, crt: Any) -> None:
        self._s3, self._crt = s3, crt
        self._plain_create, self._plain_complete = s3._create_multipart_upload, s3._complete_multipart_upload
        self._plain_composite, self._plain_attributes = s3._composite_checksum, s3._get_object_attributes
        # The checksum of the current Complete request: MiniStack asks for it in the middle of one.
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
            # MiniStack answers a repeated Complete with the first response.
            answered = (status, response_headers, response_body)
            self._s3._completed_multipart_uploads[upload_id]["response"] = answered
        return status, response_headers, response_body

    def composite(self, algorithm: str, part_checksums: list[str]) -> Any:
        return self._whole_object.get() or self._plain_composite(algorithm, part_checksums)

    def attributes(self, *args: Any, **kwargs: Any) -> Response:
        status, headers, body = self._plain_attributes(*args, **kwargs)
        return status, headers, _as_full_object(body) if b"<ChecksumCRC64NVME>" in body else body

    def _whole_crc64nvme(self, parts: Iterable[Mapping[str, Any]]) -> str:
        """Combine the parts' checksums into that of the whole object; base64."""
        whole = 0
        for part in parts:
            checksum = int.from_bytes(base64.b64decode(part["checksums"]["CRC64NVME"]), "big")
            whole = self._crt.combine_crc64nvme(whole, checksum, part["size"])
        return base64.b64encode(whole.to_bytes(8, "big")).decode()

    def _refuse(self, code: str, message: str, bucket: str, key: str) -> Response:
        refused: Response = self._s3._error(code, message, 400, f"/{bucket}/{key}")
        return refused


class KeysAndLocks:
    """Treats objects under a key or a lock as S3 does.

    An object that is encrypted with KMS gets an ETag that is no MD5 of its own. A bucket's default retention holds for
    multipart uploads, too.
    """

    def __init__(self, s3: Any) -> None:
        self._s3, self._plain_put, self._plain_complete = s3, s3._put_object, s3._complete_multipart_upload
        s3._put_object = self.put
        s3._complete_multipart_upload = self.complete

    def put(self, bucket: str, key: str, body: bytes, headers: Mapping[str, str]) -> Response:
        status, response_headers, response_body = self._plain_put(bucket, key, body, headers)
        if status == _OK and (etag := self._changed(bucket, key)):
            response_headers = {**response_headers, "ETag": etag}
        return status, response_headers, response_body

    def complete(self, bucket: str, key: str, *args: Any, **kwargs: Any) -> Response:
        answer: Response = self._plain_complete(bucket, key, *args, **kwargs)
        if answer[0] == _OK:
            self._changed(bucket, key)
            version = self._s3._ensure_bucket(bucket)["objects"][key].get("version_id")
            if (bucket, key, version) not in self._s3._object_retention:
                self._s3._apply_object_lock_from_headers(bucket, key, {}, version)
        return answer

    def _changed(self, bucket: str, key: str) -> str:
        """Change the ETag of an object that is encrypted with KMS, and return the new one; empty for all others."""
        found = self._s3._ensure_bucket(bucket)["objects"][key]
        if found["preserved_headers"].get("x-amz-server-side-encryption") != "aws:kms":
            return ""
        if not found.get("etag_under_kms"):  # the first of several equal Complete requests
            digest, _, parts = found["etag"].strip('"').partition("-")
            other = hashlib.md5(f"kms {digest}".encode(), usedforsecurity=False).hexdigest()
            found |= {"etag": f'"{other}-{parts}"' if parts else f'"{other}"', "etag_under_kms": True}
        return str(found["etag"])


def _listed_parts(body: bytes) -> list[int]:
    """Return the part numbers of a Complete request, ascending; none if it is malformed, which MiniStack refuses."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - sent by the project's own processes, over loopback
        return sorted(int(e.text or "") for e in root.iter() if e.tag.rpartition("}")[2] == "PartNumber")
    except (ET.ParseError, ValueError):
        return []


def _as_full_object(body: bytes) -> bytes:
    return body.replace(b"<ChecksumType>COMPOSITE<", b"<ChecksumType>FULL_OBJECT<")


# --- EventBridge ----------------------------------------------------------------------------------------------------


class PutEventsRefusals:
    """Refuses entries that MiniStack would accept and lose."""

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
        return None  # MiniStack itself reports other errors in the bus's name


def _argument_error(name: str, reason: str) -> dict[str, str]:
    return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Parameter {name} is not valid. Reason: {reason}"}


def _is_json_object(text: Any) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError):
        return False


def _entry_size(entry: Mapping[str, Any]) -> int:
    """Return the bytes as AWS counts them: 14 for a time, all else in UTF-8."""
    texts = [entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *(entry.get("Resources") or [])]
    return sum(len(str(text).encode()) for text in texts if text) + (14 if entry.get("Time") else 0)


# --- Scheduler ------------------------------------------------------------------------------------------------------


class LocalTimeSchedules:
    """Fires schedules at their local time, with the events that their targets' parameters describe."""

    def __init__(self, scheduler: Any, eventbridge: Any, responses: Any) -> None:
        self._scheduler, self._eventbridge, self._responses = scheduler, eventbridge, responses
        scheduler._create_schedule = self._refusing_unknown_zones(scheduler._create_schedule)
        scheduler._update_schedule = self._refusing_unknown_zones(scheduler._update_schedule)
        scheduler._tick_schedules = self.tick
        scheduler._SCHEDULE_TICK_INTERVAL = 1

    def tick(self) -> None:
        """Fire the schedules that are due, each under its own account and region."""
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
        """Yield times of the schedule in unix seconds, including all after `last` and until `now`."""
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
                    yield local.timestamp()  # otherwise the clock skips this local time, and so does Scheduler
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
    """Fill Scheduler's context attributes into a target's input."""
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
    """Unpacks each layer once, and gives every starting worker a small layer that points there."""

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
        """Return the layer's zip or, for a starting worker, a small one that points to the unpacked layer."""
        content: bytes | None = self._plain_resolve(attachment)
        return _pointing_to(self._unpacked(content)) if content and self._starting.get() else content

    def _unpacked(self, content: bytes) -> Path:
        layer = self._folder / hashlib.sha256(content).hexdigest()
        with self._lock:
            if not layer.exists():
                partial = layer.with_suffix(".partial")
                zipfile.ZipFile(io.BytesIO(content)).extractall(partial)
                partial.rename(layer)
        return layer


def _pointing_to(layer: Path) -> bytes:
    # Python runs a line of a .pth file that begins with `import`. A line with only the folder would put it last on the
    # import path, behind MiniStack's own packages.
    line = f"import sys; sys.path.insert(0, {str(layer / 'python')!r})\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("python/lib/python3/site-packages/layer.pth", line)
    return content.getvalue()


# --- CloudFormation -------------------------------------------------------------------------------------------------


def accept_metric_math(provisioners: Any) -> None:
    """Make CloudFormation create an alarm on metric math with the first of its metrics, which MiniStack refuses."""
    plain = provisioners._cw_metric_alarm_record

    def record(name: str, properties: Mapping[str, Any]) -> Any:
        metrics = [one["MetricStat"] for one in properties.get("Metrics", []) if "MetricStat" in one]
        if not metrics:
            return plain(name, properties)
        one = metrics[0]
        of_one = {**one["Metric"], "Statistic": one["Stat"], "Period": one["Period"]}
        others = {key: value for key, value in properties.items() if key != "Metrics"}
        return plain(name, {**others, **of_one})

    provisioners._cw_metric_alarm_record = record


def provision_api_destinations(provisioners: Any, eventbridge: Any) -> None:
    """Make CloudFormation create connections and API destinations, which MiniStack's EventBridge has, and calls."""

    def handlers(kind: str, noun: str) -> dict[str, Any]:
        def asked(verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
            status, _, body = getattr(eventbridge, f"_{verb}_{noun}")(request)
            answer = json.loads(body)
            if status != _OK:
                raise ValueError(answer.get("message", "refused"))
            return {"Arn": answer.get(f"{kind}Arn")}

        def create(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
            name = f"{stack_name}-{logical_id}"[-_MAXIMUM_NAME:]
            return name, asked("create", {**properties, "Name": name})

        def update(name: str, _old: Mapping[str, Any], new: Mapping[str, Any], *_: Any) -> tuple[str, dict[str, Any]]:
            return name, asked("update", {**new, "Name": name})

        return {"create": create, "update": update, "delete": lambda name, *_: asked("delete", {"Name": name})}

    for kind, noun in (("Connection", "connection"), ("ApiDestination", "api_destination")):
        provisioners._RESOURCE_HANDLERS.setdefault(f"AWS::Events::{kind}", handlers(kind, noun))


def keep_what_protects(provisioners: Any) -> None:
    """Make CloudFormation set lifecycle rules and point-in-time recovery, which MiniStack has and leaves out."""

    def add_rules(bucket: str, properties: Mapping[str, Any]) -> None:
        rules = properties.get("LifecycleConfiguration", {}).get("Rules", [])
        made = [
            {
                "ID": rule.get("Id", ""),
                "Status": rule["Status"],
                "Filter": {"Prefix": rule.get("Prefix", "")},
                "AbortIncompleteMultipartUpload": rule["AbortIncompleteMultipartUpload"],
            }
            for rule in rules
            if "AbortIncompleteMultipartUpload" in rule
        ]
        if made:
            provisioners._s3._bucket_lifecycle[bucket] = made

    def add_recovery(table: str, properties: Mapping[str, Any]) -> None:
        specification = properties.get("PointInTimeRecoverySpecification", {})
        request = {"TableName": table, "PointInTimeRecoverySpecification": specification}
        provisioners._dynamodb._update_continuous_backups(request)

    def then(plain: Callable[..., Any], add: Callable[[str, Mapping[str, Any]], None]) -> Callable[..., Any]:
        def create(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
            name, attributes = plain(logical_id, properties, stack_name)
            add(name, properties)
            return name, attributes

        return create

    for kind, add in (("AWS::S3::Bucket", add_rules), ("AWS::DynamoDB::Table", add_recovery)):
        handlers = provisioners._RESOURCE_HANDLERS[kind]
        handlers["create"] = then(handlers["create"], add)


def accept_resources_without_effect(provisioners: Any) -> None:
    """Make CloudFormation accept resources of which MiniStack has no service, or no such part of a service."""

    def handlers(attributes: Sequence[str]) -> Mapping[str, Callable[..., Any]]:
        def create(logical_id: str, _properties: Mapping[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
            name = f"{stack_name}-{logical_id}"
            return name, dict.fromkeys(attributes, name)

        def update(physical_id: str, *_: Any) -> tuple[str, dict[str, Any]]:
            return physical_id, dict.fromkeys(attributes, physical_id)

        return {"create": create, "update": update, "delete": lambda *_: None}

    for kind, attributes in _IN_THE_STACK_ALONE.items():
        provisioners._RESOURCE_HANDLERS.setdefault(kind, handlers(attributes))


def main() -> None:
    """Patch MiniStack and run it. Exits with one clear line when the installed version is not supported."""
    try:
        s3, eventbridge, scheduler, runtime, functions, app, responses, provisioners = modules()
        iam = beside("embedded_iam")
        iam_modules = having(iam.NEEDED)
        logs = beside("embedded_logs")
        logs_modules = having(logs.NEEDED)
        crt = native_checksums(os.environ["AWSCRT_DIR"])
    except UnknownMiniStackError as error:
        sys.exit(f"embedded AWS: {error}. Run `make setup`.")
    except KeyError:
        sys.exit("embedded AWS: AWSCRT_DIR must name the folder that holds awscrt")
    except ImportError as error:
        sys.exit(f"embedded AWS: {error} (looked in AWSCRT_DIR={os.environ['AWSCRT_DIR']}). Run `make setup`.")
    WholeObjectChecksums(s3, crt)
    KeysAndLocks(s3)
    PutEventsRefusals(eventbridge, responses)
    LocalTimeSchedules(scheduler, eventbridge, responses)
    SharedLayers(runtime, functions, Path(tempfile.gettempdir()) / "layers")
    accept_metric_math(provisioners)
    accept_resources_without_effect(provisioners)
    provision_api_destinations(provisioners, eventbridge)
    keep_what_protects(provisioners)
    logs.install(logs_modules)  # before IAM, which looks at every delivery first
    tracing = beside("embedded_traces")
    traces = tracing.Traces()
    if os.environ.get("AUTH") == "true":
        traces = tracing.Traces(iam.install(iam_modules, Path(os.environ["IAM_DECISIONS"])).may_trace)
    tracing.install(runtime, responses, app.SERVICE_HANDLERS, traces)
    app.main()


if __name__ == "__main__":
    main()
