"""What the embedded AWS adds to MiniStack, each behaviour against a started instance."""

import base64
import io
import json
import subprocess
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from awscrt import checksums
from botocore.exceptions import ClientError

from ops.local.embedded_aws import MINISTACK_VERSION
from ops.local.embedded_traces import Traces
from ops.local.emulator import ACCOUNT, REGION
from ops.local.toolchain import EmulatorTools
from tests.contract.embedded_aws import EmbeddedAws

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


# --- S3 -------------------------------------------------------------------------------------------------------------


def test_the_right_whole_object_checksum_is_accepted_and_told(aws: EmbeddedAws, bucket: str) -> None:
    first, last = b"a" * 5 * MIB, b"the end"
    upload = Upload(aws.client("s3"), bucket)
    parts = [upload.part(1, first), upload.part(2, last)]

    done = upload.complete(
        parts, ChecksumCRC64NVME=crc64nvme(first + last), ChecksumType="FULL_OBJECT", MpuObjectSize=5 * MIB + 7
    )

    head = upload.s3.head_object(Bucket=bucket, Key=upload.key, ChecksumMode="ENABLED")
    attributes = upload.s3.get_object_attributes(Bucket=bucket, Key=upload.key, ObjectAttributes=["Checksum"])
    for told in (done, head, attributes["Checksum"]):
        assert (told["ChecksumCRC64NVME"], told["ChecksumType"]) == (crc64nvme(first + last), "FULL_OBJECT")
    assert upload.created["ChecksumType"] == "FULL_OBJECT"
    assert upload.s3.get_object(Bucket=bucket, Key=upload.key)["Body"].read() == first + last


def test_a_wrong_whole_object_checksum_is_refused_and_nothing_is_stored(aws: EmbeddedAws, bucket: str) -> None:
    upload = Upload(aws.client("s3"), bucket)
    parts = [upload.part(1, b"content")]

    assert refusal(upload.complete, parts=parts, ChecksumCRC64NVME=crc64nvme(b"other")) == "BadDigest"

    assert refusal(upload.s3.head_object, Bucket=bucket, Key=upload.key) == "404"
    upload.complete(parts, ChecksumCRC64NVME=crc64nvme(b"content"))


def test_only_the_listed_parts_count_for_the_whole_object(aws: EmbeddedAws, bucket: str) -> None:
    first, last = b"a" * 5 * MIB, b"the end"
    upload = Upload(aws.client("s3"), bucket)
    parts = [upload.part(1, first), upload.part(3, last)]
    upload.part(2, b"uploaded, and not listed")

    done = upload.complete(parts, ChecksumCRC64NVME=crc64nvme(first + last))

    assert done["ChecksumCRC64NVME"] == crc64nvme(first + last)


def test_a_repeated_complete_tells_the_same(aws: EmbeddedAws, bucket: str) -> None:
    upload = Upload(aws.client("s3"), bucket)
    parts = [upload.part(1, b"content")]

    answers = [upload.complete(parts, ChecksumCRC64NVME=crc64nvme(b"content")) for _ in range(2)]

    assert {a["ChecksumCRC64NVME"] for a in answers} == {crc64nvme(b"content")}
    assert {a["ChecksumType"] for a in answers} == {"FULL_OBJECT"}


def test_a_part_under_5_mib_is_refused_unless_it_is_the_last(aws: EmbeddedAws, bucket: str) -> None:
    upload = Upload(aws.client("s3"), bucket)
    parts = [upload.part(1, b"small"), upload.part(2, b"last")]

    assert refusal(upload.complete, parts=parts) == "EntityTooSmall"


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


def test_checksums_are_computed_at_native_speed(aws: EmbeddedAws, bucket: str) -> None:
    content = bytes(32 * MIB)
    began = time.monotonic()

    aws.client("s3").put_object(Bucket=bucket, Key="zeros", Body=content, ChecksumCRC64NVME=crc64nvme(content))

    assert time.monotonic() - began < 2.5  # MiniStack's own code takes 0.15 s for each MiB


# --- EventBridge ----------------------------------------------------------------------------------------------------


def entry(bus: str, **changes: Any) -> dict[str, Any]:
    return {"EventBusName": bus, "Source": "test.source", "DetailType": "Happened", "Detail": "{}", **changes}


@pytest.mark.parametrize("detail", ["", "not JSON", "[]", '"text"', "null", '{"open": '])
def test_a_malformed_detail_is_refused(aws: EmbeddedAws, bus: str, detail: str) -> None:
    answer = aws.client("events").put_events(Entries=[entry(bus, Detail=detail)])

    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == ("MalformedDetail" if detail else "InvalidArgument")
    assert "EventId" not in answer["Entries"][0]


def test_an_unknown_bus_is_refused(aws: EmbeddedAws) -> None:
    answer = aws.client("events").put_events(Entries=[entry("no-such-bus")])

    assert answer["FailedEntryCount"] == 1
    assert "no-such-bus does not exist" in answer["Entries"][0]["ErrorMessage"]


def test_a_bus_is_known_by_its_arn_too(aws: EmbeddedAws, bus: str, received: Callable[..., list[Any]]) -> None:
    arn = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}"

    assert aws.client("events").put_events(Entries=[entry(arn)])["FailedEntryCount"] == 0
    assert len(received(1)) == 1


def test_refused_entries_keep_their_place_among_the_accepted(
    aws: EmbeddedAws, bus: str, received: Callable[..., list[Any]]
) -> None:
    entries = [
        entry(bus, Detail='{"n": 1}'), entry(bus, Source=""), entry(bus, Detail='{"n": 2}'), entry(bus, Detail="no"),
    ]  # fmt: skip

    answer = aws.client("events").put_events(Entries=entries)

    assert answer["FailedEntryCount"] == 2
    assert ["EventId" in result for result in answer["Entries"]] == [True, False, True, False]
    delivered = {event["id"]: event["detail"] for event in received(2)}
    assert delivered == {answer["Entries"][0]["EventId"]: {"n": 1}, answer["Entries"][2]["EventId"]: {"n": 2}}


def test_a_request_of_1_mib_is_refused_whole(aws: EmbeddedAws, bus: str) -> None:
    half = json.dumps({"text": "x" * (MIB // 2)})

    assert refusal(aws.client("events").put_events, Entries=[entry(bus, Detail=half)] * 2) == "ValidationException"
    assert aws.client("events").put_events(Entries=[entry(bus, Detail=half)])["FailedEntryCount"] == 0


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


def test_a_schedule_in_another_zone_is_not_due_yet(
    aws: EmbeddedAws, bus: str, received: Callable[..., list[Any]]
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)

    schedule(aws, bus, f"at({at:%Y-%m-%dT%H:%M:%S})", "America/New_York")

    assert not received(1, seconds=4)


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


def test_functions_share_what_a_layer_unpacks_to_and_it_hides_what_stands_beside_ministack(aws: EmbeddedAws) -> None:
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


def test_what_the_daemon_can_not_read_is_dropped_and_it_goes_on(aws: EmbeddedAws) -> None:
    name = function(aws, SUBSEGMENT, tracing="Active")
    header = '{"format": "json", "version": 1}\n'

    invoke(
        aws, name, before=["", "no header", f"{header}[]", f"{header}{{", f'{header}{{"trace_id": "1-0-0", "id": "x"}}']
    )

    (trace,) = traces_of(aws, name, documents=2)
    assert [document["name"] for document in trace["documents"]] == [name, "work"]


def test_what_this_x_ray_does_not_do_is_refused(aws: EmbeddedAws) -> None:
    xray = aws.client("xray")

    assert refusal(xray.batch_get_traces, TraceIds=["1-0-0"] * 6) == "InvalidRequestException"
    assert refusal(xray.get_trace_summaries, StartTime=0, EndTime=1, FilterExpression="fault") == (
        "InvalidRequestException"
    )
    assert refusal(xray.get_sampling_rules) == "InvalidRequestException"


def open_trace(traces: Traces, number: int, function_name: str = "f") -> str:
    return traces.begin(f"Root=1-0-{number};Parent=p{number};Sampled=1", function=function_name, arn="arn")


def test_of_a_function_that_may_not_upload_nothing_is_kept() -> None:
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
    assert f"MiniStack {MINISTACK_VERSION} is installed, this was written for 9.9" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_ministack_that_lacks_what_is_replaced_is_refused() -> None:
    ran = shim("shim._S3 += ('_gone',); shim._SCHEDULER += ('_gone_too',); shim.main()")

    assert ran.returncode == 1
    assert "lacks ministack.services.s3._gone, ministack.services.scheduler._gone_too" in ran.stderr


def test_functions_cannot_import_awscrt_from_the_emulators_environment() -> None:
    ran = shim("shim.native_checksums(shim.os.environ['AWSCRT_DIR'])\nimport subprocess, sys\n"
               "sys.exit(subprocess.run([sys.executable, '-c', 'import awscrt']).returncode)")  # fmt: skip

    assert ran.returncode == 1
    assert "No module named 'awscrt'" in ran.stderr


DUE = """
import types, time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
_, eventbridge, scheduler, *_, responses = shim.modules()
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
