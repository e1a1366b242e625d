"""What the embedded AWS adds to MiniStack, each behaviour against a started instance."""

import base64
import hashlib
import io
import json
import queue
import subprocess
import textwrap
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from awscrt import checksums
from botocore.exceptions import ClientError

from ops.local import embedded_logs
from ops.local.embedded_aws import MINISTACK_VERSION
from ops.local.embedded_traces import Traces
from ops.local.emulator import ACCOUNT, REGION
from ops.local.toolchain import EmulatorTools
from tests.contract.embedded_aws import EmbeddedAws

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.fixture
def bucket(aws: EmbeddedAws) -> str:
    """A versioned bucket, as the project's is."""
    name = f"bucket-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def bus(aws: EmbeddedAws) -> str:
    name = f"bus-{uuid.uuid4().hex}"
    aws.client("events").create_event_bus(Name=name)
    return name


@pytest.fixture
def received(aws: EmbeddedAws, bus: str) -> Callable[..., list[Any]]:
    """Returns what a rule for the sources of this test has delivered, once it is `count` events."""
    sqs, events = aws.client("sqs"), aws.client("events")
    queue = sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": "test."}]}))
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])

    def receive(count: int, seconds: float = 5.0) -> list[Any]:
        found: list[Any] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    return receive


def crc64nvme(content: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(content).to_bytes(8, "big")).decode()


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


@dataclass
class Upload:
    """A multipart upload with CRC64NVME; its parts may have been uploaded without being listed."""

    s3: Any
    bucket: str
    key: str = "media/film.mp4"

    def __post_init__(self) -> None:
        where = {"Bucket": self.bucket, "Key": self.key}
        self.created = self.s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC64NVME")
        self.where = {**where, "UploadId": self.created["UploadId"]}

    def part(self, number: int, content: bytes) -> dict[str, Any]:
        sent = self.s3.upload_part(**self.where, PartNumber=number, Body=content, ChecksumCRC64NVME=crc64nvme(content))
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC64NVME": sent["ChecksumCRC64NVME"]}

    def complete(self, parts: list[dict[str, Any]], **arguments: Any) -> Any:
        return self.s3.complete_multipart_upload(**self.where, MultipartUpload={"Parts": parts}, **arguments)


# What is sent to it by the services: tests/contract/scripts_*.py.

# --- S3 -------------------------------------------------------------------------------------------------------------


def test_the_whole_objects_checksum_is_returned_with_its_type(aws: EmbeddedAws, bucket: str) -> None:
    upload, content = Upload(aws.client("s3"), bucket), b"content"

    done = upload.complete([upload.part(1, content)], ChecksumCRC64NVME=crc64nvme(content), ChecksumType="FULL_OBJECT")

    head = upload.s3.head_object(Bucket=bucket, Key=upload.key, ChecksumMode="ENABLED")
    attributes = upload.s3.get_object_attributes(Bucket=bucket, Key=upload.key, ObjectAttributes=["Checksum"])
    for answer in (done, head, attributes["Checksum"]):
        assert (answer["ChecksumCRC64NVME"], answer["ChecksumType"]) == (crc64nvme(content), "FULL_OBJECT")
    assert upload.created["ChecksumType"] == "FULL_OBJECT"


def test_an_object_under_a_kms_key_has_an_etag_that_is_no_md5_and_keeps_it(aws: EmbeddedAws, bucket: str) -> None:
    s3, content = aws.client("s3"), b"content"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "a-key"}}
    plain = s3.put_object(Bucket=bucket, Key="plain", Body=content)["ETag"]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})

    whole = s3.put_object(Bucket=bucket, Key="whole", Body=content)
    upload = Upload(s3, bucket)
    parts = [upload.part(1, content)]
    upload.complete(parts)

    assert plain == f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    assert s3.head_object(Bucket=bucket, Key="whole")["ETag"] == whole["ETag"] != plain
    head = s3.head_object(Bucket=bucket, Key=upload.key)
    of_parts = hashlib.md5(hashlib.md5(content, usedforsecurity=False).digest(), usedforsecurity=False).hexdigest()
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["ETag"].endswith('-1"')
    assert head["ETag"] != f'"{of_parts}-1"'
    upload.complete(parts)
    assert s3.head_object(Bucket=bucket, Key=upload.key)["ETag"] == head["ETag"]


def test_a_buckets_default_retention_holds_for_each_kind_of_upload(aws: EmbeddedAws, bucket: str) -> None:
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)

    s3.put_object(Bucket=bucket, Key="whole", Body=b"content")
    upload = Upload(s3, bucket)
    upload.complete([upload.part(1, b"content")])

    for key in ("whole", upload.key):
        version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
        assert refusal(s3.delete_object, Bucket=bucket, Key=key, VersionId=version) == "AccessDenied"
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True)


def test_other_checksums_stay_composite(aws: EmbeddedAws, bucket: str) -> None:
    s3, where = aws.client("s3"), {"Bucket": bucket, "Key": "film.mp4"}
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC32")["UploadId"]
    part = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"content", ChecksumAlgorithm="CRC32")
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]

    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})

    head = s3.head_object(**where, ChecksumMode="ENABLED")
    assert head["ChecksumType"] == "COMPOSITE"
    assert head["ChecksumCRC32"].endswith("-1")


def test_a_composite_crc64nvme_is_refused(aws: EmbeddedAws, bucket: str) -> None:
    create = aws.client("s3").create_multipart_upload
    wanted = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"}

    assert refusal(create, Bucket=bucket, Key="film.mp4", **wanted) == "InvalidRequest"


# --- EventBridge ----------------------------------------------------------------------------------------------------


def entry(bus: str, **changes: Any) -> dict[str, Any]:
    return {"EventBusName": bus, "Source": "test.source", "DetailType": "Happened", "Detail": "{}", **changes}


@pytest.mark.parametrize("detail", ["", "not JSON", "[]", '"text"', "null", '{"open": '])
def test_a_malformed_detail_is_refused(aws: EmbeddedAws, bus: str, detail: str) -> None:
    answer = aws.client("events").put_events(Entries=[entry(bus, Detail=detail)])

    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == ("MalformedDetail" if detail else "InvalidArgument")
    assert "EventId" not in answer["Entries"][0]


def test_a_bus_is_known_by_its_arn_too(aws: EmbeddedAws, bus: str, received: Callable[..., list[Any]]) -> None:
    arn = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}"

    assert aws.client("events").put_events(Entries=[entry(arn)])["FailedEntryCount"] == 0
    assert len(received(1)) == 1


# --- CloudWatch Logs ------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(aws: EmbeddedAws, bus: str) -> str:
    """A log group that a rule fills with all events of this test."""
    group = f"/aws/events/{bus}"
    aws.client("logs").create_log_group(logGroupName=group)
    events = aws.client("events")
    events.put_rule(Name="journal", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": "test."}]}))
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    events.put_targets(Rule="journal", EventBusName=bus, Targets=[{"Id": "log", "Arn": arn}])
    return group


def lines(aws: EmbeddedAws, group: str, **more: Any) -> list[dict[str, Any]]:
    found = aws.client("logs").filter_log_events(logGroupName=group, **more)["events"]
    return [json.loads(line["message"]) for line in found]


def test_a_rule_writes_whole_events_into_a_log_group(
    aws: EmbeddedAws, bus: str, journal: str, received: Callable[..., list[Any]]
) -> None:
    began = int(time.time() * 1000)
    aws.client("events").put_events(Entries=[entry(bus, Detail='{"a": "é"}'), entry(bus, Source="other")])
    aws.client("events").put_events(Entries=[entry(bus, DetailType="Again")])

    assert lines(aws, journal, startTime=began) == received(2), "as the queue has them"
    assert [line["detail-type"] for line in lines(aws, journal)] == ["Happened", "Again"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ('{ ($.detail.medium = "m1") }', [1, 3]),
        ('{ ($.detail.medium = "m1") || ($.detail-type = "Other") }', [1, 3, 4]),
        ('{ ($.detail.medium = "m1") && ($.detail.sync = "s2") }', [3]),
        ('{ ($.detail.sync = "s1") && ($.detail.medium NOT EXISTS) }', [2]),
        ('{ ($.detail.medium = "a\\"b") }', [5]),
        ('{ ($.detail.medium.name = "m1") }', []),
        ('"s2"', [3]),
        ("", [1, 2, 3, 4, 5]),
    ],
)
def test_a_filter_on_json_narrows_a_search(
    aws: EmbeddedAws, bus: str, journal: str, pattern: str, found: list[int]
) -> None:
    details: list[dict[str, Any]] = [
        {"n": 1, "sync": "s1", "medium": "m1"},
        {"n": 2, "sync": "s1"},
        {"n": 3, "sync": "s2", "medium": "m1"},
        {"n": 4},
        {"n": 5, "medium": 'a"b'},
    ]
    kinds = ["Happened"] * 3 + ["Other", "Happened"]
    entries = [entry(bus, DetailType=kind, Detail=json.dumps(one)) for kind, one in zip(kinds, details, strict=True)]
    aws.client("events").put_events(Entries=entries)

    assert [line["detail"]["n"] for line in lines(aws, journal, filterPattern=pattern)] == found


def test_the_log_of_an_invocation_has_every_line_that_the_function_wrote_and_no_other(aws: EmbeddedAws) -> None:
    code = """
        def handler(event, context):
            for number in range(event["lines"]):
                print(f"line {number} of {event['name']}")
            if event["name"] == "failed":
                raise ValueError
    """
    name = function(aws, textwrap.dedent(code))
    calls = {"first": 2000, "none": 0, "failed": 2000, "last": 1}
    for call, count in calls.items():
        aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"name": call, "lines": count}))

    logged = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    written = [line["message"] for line in logged if line["message"].startswith("line ")]
    assert written == [f"line {number} of {call}" for call, count in calls.items() for number in range(count)]
    assert [one for one in logged if embedded_logs._END in one["message"]] == []


class LateWorker:
    """A worker whose lines reach the emulator only when somebody waits for them."""

    def __init__(self, runtime: str, *lines: str) -> None:
        self.config = {"Runtime": runtime}
        self._stderr_queue: queue.Queue[str] = queue.Queue()
        self._waits = threading.Event()
        self._stderr_thread = threading.Thread(target=self._write, args=lines)
        plain_get = self._stderr_queue.get

        def get(*args: Any, **kwargs: Any) -> str:
            self._waits.set()
            return plain_get(*args, **kwargs)

        self._stderr_queue.get = get  # type: ignore[method-assign]
        self._stderr_thread.start()

    def _write(self, *lines: str) -> None:
        self._waits.wait()
        for line in lines:
            time.sleep(0.15)  # longer than one look
            self._stderr_queue.put(line)

    def _drain_stderr_bounded(self) -> str:
        self._waits.set()
        return "MiniStack's own"


def test_lines_that_come_late_are_waited_for_until_the_last_one_or_the_end_of_the_process() -> None:
    class Worker(LateWorker):
        pass

    runtime = SimpleNamespace(Worker=Worker, _PYTHON_WORKER_SCRIPT=f"before\n{embedded_logs._CALL}after\n")
    embedded_logs.whole_logs(runtime)

    going_on = Worker("python3.13", "one", "two", embedded_logs._END, "of the next")
    assert going_on._drain_stderr_bounded() == "one\ntwo"
    ended = Worker("python3.13", "one", "killed before the end")
    assert ended._drain_stderr_bounded() == "one\nkilled before the end"
    assert Worker("nodejs22.x", "one")._drain_stderr_bounded() == "MiniStack's own"


def test_another_script_of_the_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="script"):
        embedded_logs.whole_logs(SimpleNamespace(_PYTHON_WORKER_SCRIPT="something else"))


# --- Scheduler ------------------------------------------------------------------------------------------------------


def schedule(aws: EmbeddedAws, bus: str, expression: str, zone: str, **detail: Any) -> str:
    name = f"schedule-{uuid.uuid4().hex}"
    aws.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=expression,
        ScheduleExpressionTimezone=zone,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}",
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/scheduler",
            "EventBridgeParameters": {"Source": "test.schedule", "DetailType": "SyncRequested"},
            "Input": json.dumps(detail),
        },
    )
    return name


def test_a_schedule_puts_the_event_that_its_target_describes(
    aws: EmbeddedAws, bus: str, received: Callable[..., list[Any]]
) -> None:
    zone = "Europe/Berlin"
    at = datetime.now(ZoneInfo(zone)).replace(microsecond=0) + timedelta(seconds=2)
    name = schedule(
        aws, bus, f"at({at:%Y-%m-%dT%H:%M:%S})", zone,
        provider="gopro", due="<aws.scheduler.scheduled-time>", run="<aws.scheduler.execution-id>",
        arn="<aws.scheduler.schedule-arn>", attempt="<aws.scheduler.attempt-number>",
    )  # fmt: skip

    (event,) = received(1, seconds=10)

    assert (event["source"], event["detail-type"]) == ("test.schedule", "SyncRequested")
    assert event["detail"].pop("run")
    assert event["detail"] == {
        "provider": "gopro",
        "due": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "arn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}",
        "attempt": "1",
    }
    assert not received(1, seconds=3), "it fires once"


def test_an_unknown_time_zone_is_refused(aws: EmbeddedAws, bus: str) -> None:
    with pytest.raises(ClientError, match="Mars/Olympus"):
        schedule(aws, bus, "cron(0 2 * * ? *)", "Mars/Olympus")


# --- Lambda ---------------------------------------------------------------------------------------------------------


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return content.getvalue()


def function(aws: EmbeddedAws, code: str, *layer_arns: str, tracing: str = "PassThrough") -> str:
    name = f"function-{uuid.uuid4().hex}"
    aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="own.handler",
        Role=f"arn:aws:iam::{ACCOUNT}:role/function",
        Code={"ZipFile": zipped(own=code)},
        Layers=[*layer_arns],
        TracingConfig={"Mode": tracing},
    )
    aws.client("lambda").get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return name


def test_functions_share_an_unpacked_layer_which_hides_the_emulators_own_packages(aws: EmbeddedAws) -> None:
    functions = aws.client("lambda")
    content = zipped(python__only_here="", python__urllib3="")  # MiniStack has a urllib3 of its own
    layer = functions.publish_layer_version(LayerName="packages", Content={"ZipFile": content})["LayerVersionArn"]
    code = "import only_here, urllib3\ndef handler(*_): return [only_here.__file__, urllib3.__file__]"

    answers = [
        json.load(functions.invoke(FunctionName=function(aws, code, layer))["Payload"]) for _ in range(2)
    ]  # fmt: skip

    assert answers[0] == answers[1]
    assert [Path(file).name for file in answers[0]] == ["only_here.py", "urllib3.py"]
    assert all("/layers/" in file for file in answers[0])


# --- X-Ray ----------------------------------------------------------------------------------------------------------

# What an SDK does: it puts a subsegment below the segment that the trace header names, and sends it to the daemon.
SUBSEGMENT = """
import json, os, socket
def send(text):
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(text.encode(), (host, int(port)))
def handler(event, context):
    header = dict(part.split("=") for part in os.environ.get("_X_AMZN_TRACE_ID", "Root=;Parent=").split(";"))
    segment = {"trace_id": header["Root"], "id": "53995c3f42cd8ad8", "parent_id": header["Parent"],
               "name": "work", "type": "subsegment", "start_time": 1.0, "end_time": 2.0}
    for text in event["before"]:
        send(text)
    send('{"format": "json", "version": 1}\\n' + json.dumps(segment))
    return event["answer"]
"""


def traces_of(
    aws: EmbeddedAws, function_name: str, ended: int = 1, *, documents: int = 1, seconds: float = 15
) -> list[dict[str, Any]]:
    """The summaries of a function's traces, once so many are complete and each has so many `documents`."""
    xray = aws.client("xray")
    deadline = time.monotonic() + seconds
    while True:
        answer = xray.get_trace_summaries(StartTime=time.time() - 600, EndTime=time.time())
        found = [
            summary
            for summary in answer["TraceSummaries"]
            if summary["ServiceIds"][0]["Name"] == function_name and not summary["IsPartial"]
        ]
        for summary in found:
            (trace,) = xray.batch_get_traces(TraceIds=[summary["Id"]])["Traces"]
            summary["documents"] = [json.loads(segment["Document"]) for segment in trace["Segments"]]
        # What a function sends goes by UDP, and may come after its own segment.
        enough = len(found) >= ended and all(len(summary["documents"]) >= documents for summary in found)
        if enough or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def invoke(aws: EmbeddedAws, function_name: str, **event: Any) -> dict[str, Any]:
    payload = json.dumps({"before": [], "answer": "done", **event})
    answered: dict[str, Any] = aws.client("lambda").invoke(FunctionName=function_name, Payload=payload)
    return answered


def test_a_traced_invocation_is_the_functions_segment_and_below_it_what_the_function_sent(aws: EmbeddedAws) -> None:
    name = function(aws, SUBSEGMENT, tracing="Active")
    began = time.time()

    invoke(aws, name)

    (trace,) = traces_of(aws, name, documents=2)
    own, sent = trace["documents"]
    assert (own["name"], own["origin"], own["fault"]) == (name, "AWS::Lambda::Function", False)
    assert began - 1 <= own["start_time"] <= own["end_time"] <= time.time()
    assert own["aws"]["request_id"]
    assert (sent["name"], sent["parent_id"], sent["trace_id"]) == ("work", own["id"], trace["Id"])
    assert not trace["HasFault"]


def test_each_invocation_is_a_trace_and_a_failed_one_has_a_fault(aws: EmbeddedAws) -> None:
    name = function(aws, SUBSEGMENT, tracing="Active")

    invoke(aws, name)
    aws.client("lambda").invoke(FunctionName=name, Payload="{}")  # the event lacks what the handler reads

    assert [trace["HasFault"] for trace in traces_of(aws, name, 2)] == [False, True]


def test_a_function_without_tracing_leaves_no_trace(aws: EmbeddedAws) -> None:
    name = function(aws, SUBSEGMENT)

    assert json.load(invoke(aws, name)["Payload"]) == "done"

    assert traces_of(aws, name, seconds=1) == []


def test_the_daemon_drops_what_it_cannot_read_and_keeps_the_rest(aws: EmbeddedAws) -> None:
    name = function(aws, SUBSEGMENT, tracing="Active")
    header = '{"format": "json", "version": 1}\n'

    invoke(
        aws, name, before=["", "no header", f"{header}[]", f"{header}{{", f'{header}{{"trace_id": "1-0-0", "id": "x"}}']
    )

    (trace,) = traces_of(aws, name, documents=2)
    assert [document["name"] for document in trace["documents"]] == [name, "work"]


def test_requests_that_this_x_ray_does_not_know_are_refused(aws: EmbeddedAws) -> None:
    xray = aws.client("xray")

    assert refusal(xray.batch_get_traces, TraceIds=["1-0-0"] * 6) == "InvalidRequestException"
    assert refusal(xray.get_trace_summaries, StartTime=0, EndTime=1, FilterExpression="fault") == (
        "InvalidRequestException"
    )
    assert refusal(xray.get_sampling_rules) == "InvalidRequestException"


def open_trace(traces: Traces, number: int, function_name: str = "f") -> str:
    return traces.begin(f"Root=1-0-{number};Parent=p{number};Sampled=1", function=function_name, arn="arn")


def test_no_trace_is_kept_of_a_function_that_may_not_upload() -> None:
    traces = Traces(may_upload=lambda name: name != "forbidden")

    kept, dropped = open_trace(traces, 1, "allowed"), open_trace(traces, 2, "forbidden")
    for trace_id in (kept, dropped):
        traces.take(json.dumps({"trace_id": trace_id, "id": "work"}).encode())
        traces.end(trace_id, request_id="r", fault=False)

    assert [one["Id"] for one in traces.summaries(0, time.time())] == [kept]
    assert [one["Id"] for one in traces.get([kept, dropped])] == [kept]


def test_the_oldest_traces_go_when_memory_is_full() -> None:
    traces = Traces(maximum_bytes=20_000)

    for number in range(100):
        trace_id = open_trace(traces, number)
        traces.take(json.dumps({"trace_id": trace_id, "id": "work", "text": "x" * 1000}).encode())

    kept = [one["Id"] for one in traces.summaries(0, time.time())]
    assert 5 < len(kept) < 20
    assert kept == [f"1-0-{number}" for number in range(100)][-len(kept) :]


# --- which MiniStack -----------------------------------------------------------------------------------------------


def shim(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code with MiniStack's interpreter, `shim` being the module under test."""
    path = Path(__file__).parents[2] / "ops/local/embedded_aws.py"
    loading = (
        "import importlib.util as u\n"
        f"spec = u.spec_from_file_location('shim', {str(path)!r}); shim = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(shim)\n"
    )
    tools = EmulatorTools.find()
    return subprocess.run(
        [tools.python, "-I", "-c", loading + code], env={"AWSCRT_DIR": str(tools.awscrt)}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def test_another_version_of_ministack_is_refused() -> None:
    ran = shim("shim.MINISTACK_VERSION = '9.9'; shim.main()")

    assert ran.returncode == 1
    assert f"MiniStack {MINISTACK_VERSION} is installed, but only 9.9 is supported" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_ministack_that_lacks_what_is_replaced_is_refused() -> None:
    ran = shim("shim._S3 += ('_gone',); shim._SCHEDULER += ('_gone_too',); shim.main()")

    assert ran.returncode == 1
    assert "lacks ministack.services.s3._gone, ministack.services.scheduler._gone_too" in ran.stderr


def test_checksums_are_computed_by_native_code() -> None:
    # MiniStack's own code takes 0.15 s for each MiB.
    ran = shim(
        "s3, crt = shim.modules()[0], shim.native_checksums(shim.os.environ['AWSCRT_DIR'])\n"
        "shim.WholeObjectChecksums(s3, crt); print(s3._crc64nvme is crt.crc64nvme)"
    )

    assert ran.stdout.strip() == "True", ran.stderr


def test_functions_cannot_import_awscrt_from_the_emulators_environment() -> None:
    ran = shim("shim.native_checksums(shim.os.environ['AWSCRT_DIR'])\nimport subprocess, sys\n"
               "sys.exit(subprocess.run([sys.executable, '-c', 'import awscrt']).returncode)")  # fmt: skip

    assert ran.returncode == 1
    assert "No module named 'awscrt'" in ran.stderr


DUE = """
import types, time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
_, eventbridge, scheduler, *_, responses, _ = shim.modules()
fired = []
eventbridge._invoke_target = lambda target, event, rule: fired.append(target["Input"])
shim.LocalTimeSchedules(scheduler, eventbridge, responses)
zone = ZoneInfo("Europe/Berlin")
def from_until(since, until, minutes=5):
    begin, end = since.timestamp(), until.timestamp()
    record = {"Arn": "arn", "State": "ENABLED", "ScheduleExpression": EXPRESSION, "CreationDate": begin,
              "ScheduleExpressionTimezone": "Europe/Berlin", "LastModificationDate": begin,
              "ActionAfterCompletion": "NONE", "Target": {"Arn": "x", "Input": "<aws.scheduler.scheduled-time>"}}
    scheduler._schedules._data[("000000000000", "us-east-1", "default/daily")] = record
    now = begin
    while now <= end:
        scheduler.time.time = lambda: now
        scheduler._tick_schedules()
        now += minutes * 60
    print(*fired)
"""


@pytest.mark.parametrize(
    ("expression", "since", "until", "expected"),
    [
        ("cron(0 2 * * ? *)", (2027, 1, 1, 12), (2027, 1, 3, 12), "2027-01-02T01:00:00Z 2027-01-03T01:00:00Z"),
        ("cron(0 2 * * ? *)", (2027, 7, 1, 12), (2027, 7, 2, 12), "2027-07-02T00:00:00Z"),
        ("cron(0 2 * * ? *)", (2027, 3, 27, 12), (2027, 3, 29, 12), "2027-03-29T00:00:00Z"),
        ("cron(30 2 * * ? *)", (2027, 10, 30, 12), (2027, 11, 1, 12), "2027-10-31T00:30:00Z 2027-11-01T01:30:00Z"),
        ("rate(15 minutes)", (2027, 1, 1, 12), (2027, 1, 1, 12, 40), "2027-01-01T11:15:00Z 2027-01-01T11:30:00Z"),
    ],
    ids=["winter", "summer", "an-hour-that-is-skipped", "an-hour-that-is-repeated", "rate"],
)
def test_schedules_keep_local_time(
    expression: str, since: tuple[int, ...], until: tuple[int, ...], expected: str
) -> None:
    times = ", ".join(f"datetime(*{time}, tzinfo=zone)" for time in (since, until))

    ran = shim(f"EXPRESSION = {expression!r}\n{DUE}\nfrom_until({times})")

    assert ran.stdout.strip() == expected, ran.stderr


# --- CloudFormation -------------------------------------------------------------------------------------------------


def test_a_stack_with_an_alarm_on_metric_math_is_created(aws: EmbeddedAws) -> None:
    def metric(name: str) -> dict[str, Any]:
        return {"Metric": {"Namespace": "AWS/SQS", "MetricName": name}, "Stat": "Sum", "Period": 300}

    alarm = {
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "EvaluationPeriods": 3,
        "Threshold": 1,
        "Metrics": [
            {"Id": "both", "Expression": "a + b"},
            {"Id": "a", "MetricStat": metric("First"), "ReturnData": False},
            {"Id": "b", "MetricStat": metric("Second"), "ReturnData": False},
        ],
    }
    name = f"stack-{uuid.uuid4().hex}"
    template = {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}}
    stacks = aws.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})

    (created,) = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=name)["MetricAlarms"]
    assert (created["MetricName"], created["EvaluationPeriods"]) == ("First", 3)


def test_a_stack_with_a_nat_gateway_a_flow_log_and_a_budget_is_created(aws: EmbeddedAws) -> None:
    resources = {
        "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
        "Gateway": {
            "Type": "AWS::EC2::NatGateway",
            "Properties": {"SubnetId": "subnet-1", "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]}},
        },
        "Flows": {"Type": "AWS::EC2::FlowLog", "Properties": {"ResourceId": "vpc-1", "ResourceType": "VPC"}},
        "Budget": {"Type": "AWS::Budgets::Budget", "Properties": {"Budget": {"BudgetType": "COST"}}},
    }
    stack = {"StackName": f"stack-{uuid.uuid4().hex}"}
    stacks = aws.client("cloudformation")
    stacks.create_stack(**stack, TemplateBody=json.dumps({"Resources": resources}))
    stacks.get_waiter("stack_create_complete").wait(**stack, WaiterConfig={"Delay": 1})

    there = stacks.describe_stack_resources(**stack)["StackResources"]
    assert {one["LogicalResourceId"] for one in there} == set(resources)


def test_a_new_bucket_has_its_lifecycle_rule_and_a_new_table_its_point_in_time_recovery(aws: EmbeddedAws) -> None:
    abort = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 21}}
    table = {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    rules = {"Rules": [{"Id": "abort", "Status": "Enabled", **abort}]}
    recovery = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    resources = {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"LifecycleConfiguration": rules}},
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {**table, **recovery}},
        "Plain": {"Type": "AWS::DynamoDB::Table", "Properties": table},
    }
    name, stacks = f"stack-{uuid.uuid4().hex}", aws.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    summaries = stacks.list_stack_resources(StackName=name)["StackResourceSummaries"]
    created = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in summaries}

    (rule,) = aws.client("s3").get_bucket_lifecycle_configuration(Bucket=created["Bucket"])["Rules"]
    assert {key: rule[key] for key in ("ID", "Status")} == {"ID": "abort", "Status": "Enabled"}
    assert rule["AbortIncompleteMultipartUpload"] == abort["AbortIncompleteMultipartUpload"]

    def recovers(table: str) -> str:
        backups = aws.client("dynamodb").describe_continuous_backups(TableName=created[table])
        recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        return str(recovery["PointInTimeRecoveryStatus"])

    assert (recovers("Table"), recovers("Plain")) == ("ENABLED", "DISABLED")


def test_a_stack_with_a_saved_query_and_a_group_of_traces_is_created_updated_and_deleted(aws: EmbeddedAws) -> None:
    def template(query: str, expression: str) -> str:
        resources = {
            "Query": {"Type": "AWS::Logs::QueryDefinition", "Properties": {"Name": "q", "QueryString": query}},
            "Group": {"Type": "AWS::XRay::Group", "Properties": {"GroupName": "g", "FilterExpression": expression}},
        }
        return json.dumps({"Resources": resources})

    stack = {"StackName": f"stack-{uuid.uuid4().hex}"}
    stacks = aws.client("cloudformation")
    stacks.create_stack(**stack, TemplateBody=template("fields @message", "fault"))
    stacks.get_waiter("stack_create_complete").wait(**stack, WaiterConfig={"Delay": 1})
    before = {one["LogicalResourceId"]: one for one in stacks.describe_stack_resources(**stack)["StackResources"]}
    stacks.update_stack(**stack, TemplateBody=template("fields @timestamp", "error"))
    stacks.get_waiter("stack_update_complete").wait(**stack, WaiterConfig={"Delay": 1})
    after = {one["LogicalResourceId"]: one for one in stacks.describe_stack_resources(**stack)["StackResources"]}
    stacks.delete_stack(**stack)
    stacks.get_waiter("stack_delete_complete").wait(**stack, WaiterConfig={"Delay": 1})

    assert before.keys() == after.keys() == {"Query", "Group"}
    for name, one in before.items():
        assert after[name]["PhysicalResourceId"] == one["PhysicalResourceId"], "an update replaces neither"
