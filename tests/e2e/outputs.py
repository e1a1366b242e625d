"""Everything that a local stage puts out, as texts for the canary to search."""

import json
import re
import ssl
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    from tests.e2e.stage import Stage

LISTENERS = ("all-events", "all-notifications")  # queues of the tests' own

LOG_LINE, EXCEPTION, EVENT, QUEUE_BODY, DEAD_LETTER = "log line", "exception", "event", "queue body", "dead letter"
ITEM, OBJECT, CONTENT, NOTIFICATION, TRACE = "table item", "object metadata", "object content", "notification", "trace"
SETTING = "setting"  # of the deployment: outputs, parameters, environments, descriptions
KINDS = (
    LOG_LINE, EXCEPTION, EVENT, QUEUE_BODY, DEAD_LETTER, ITEM, OBJECT, CONTENT, NOTIFICATION, TRACE, SETTING,
)  # fmt: skip

# Up to the next line of the log that is another's.
_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\).*?(?=^\d{4}-\d\d-\d\d |^END |\Z)", re.DOTALL | re.MULTILINE
)
_WRITTEN = ("listings/", "reports/")  # what the services write themselves; all else are the user's own media
_LONGEST_INVOCATION = 900  # seconds: Lambda's own limit
_TRACES_A_REQUEST = 5
_SETTINGS = (  # service, call, name of the list in its answer
    ("cloudformation", "describe_stacks", "Stacks"),
    ("lambda", "list_functions", "Functions"),
    ("secretsmanager", "list_secrets", "SecretList"),
    ("cloudwatch", "describe_alarms", "MetricAlarms"),
    ("events", "list_rules", "Rules"),
    ("scheduler", "list_schedules", "Schedules"),
)


@dataclass(frozen=True)
class Output:
    kind: str
    where: str
    text: str


@dataclass(frozen=True)
class Trace:
    """An invocation of a function; `documents`: of its segments, as JSON."""

    id: str
    function: str
    complete: bool
    documents: tuple[str, ...]


def traces(xray: Any, since: float, *, without: Collection[str] = ()) -> Iterator[Trace]:
    """Yield those that began after this unix second, in the order of beginning."""
    found = _pages(xray, "get_trace_summaries", "TraceSummaries", StartTime=since, EndTime=time.time() + 1)
    summaries = [one for one in found if one["Id"] not in without]
    for start in range(0, len(summaries), _TRACES_A_REQUEST):
        some = {one["Id"]: one for one in summaries[start : start + _TRACES_A_REQUEST]}
        for trace in xray.batch_get_traces(TraceIds=[*some])["Traces"]:
            summary = some[trace["Id"]]
            yield Trace(
                id=trace["Id"],
                function=summary["ServiceIds"][0]["Name"],
                complete=not summary["IsPartial"],
                documents=tuple(segment["Document"] for segment in trace["Segments"]),
            )


@dataclass
class Outputs:
    """Reads what has come since the last look. What stays (items, objects, letters) is read each time."""

    stage: "Stage"
    _log_read: int = 0  # bytes of the emulator's log
    _looked_at: float = 0.0  # unix seconds
    _traces_read: set[str] = field(default_factory=set)

    def look(self) -> list[Output]:
        """Return all outputs."""
        began = time.time()
        found = [
            *self._logs(),
            *self._emulator_log(),
            *self._traces(),
            *self._events(),
            *self._queues(),
            *self._items(),
            *self._objects(),
            *self._settings(),
        ]
        self._looked_at = began
        return found

    def _logs(self) -> Iterator[Output]:
        """The functions' logs as CloudWatch has them, of all groups that there are."""
        logs = self.stage.client("logs")
        streams: dict[str, list[str]] = defaultdict(list)
        for group in _pages(logs, "describe_log_groups", "logGroups"):
            name = group["logGroupName"]
            since = int(self._looked_at * 1000)
            for event in _pages(logs, "filter_log_events", "events", logGroupName=name, startTime=since):
                streams[f"{name} {event['logStreamName']}"].append(event["message"])
        for stream, lines in streams.items():
            yield from _log(stream, lines)

    def _emulator_log(self) -> Iterator[Output]:
        """What the emulator logged, of the functions too: the errors of those that could not even start."""
        path = self.stage.record.folder / "ministack.log"
        with path.open("rb") as log:
            log.seek(self._log_read)
            content = log.read()
        whole = content[: content.rfind(b"\n") + 1]  # a line that is still being written is read the next time
        yield from _log(f"{path.name} from byte {self._log_read}", whole.decode(errors="replace").splitlines())
        self._log_read += len(whole)

    def _traces(self) -> Iterator[Output]:
        since = max(0.0, self._looked_at - _LONGEST_INVOCATION)
        for trace in traces(self.stage.client("xray"), since, without=self._traces_read):
            for document in trace.documents:
                segment = json.loads(document)
                where = f"{trace.function}, segment {segment['name']}"
                yield Output(TRACE, where, document)
                cause = segment.get("cause")
                if isinstance(cause, dict):
                    yield from (Output(EXCEPTION, where, _text(one)) for one in cause["exceptions"])
            if trace.complete:
                self._traces_read.add(trace.id)

    def _events(self) -> Iterator[Output]:
        for event in self.stage.events():
            yield Output(EVENT, f"{event['detail-type']} {event['id']}", _text(event))
        for message in self.stage.notifications():
            yield Output(NOTIFICATION, f"notification {message['MessageId']}", _text(message))

    def _queues(self) -> Iterator[Output]:
        """What lies in all queues, hidden messages too. Looking changes nothing, which a receive would."""
        trusted = ssl.create_default_context(cafile=self.stage.record.certificate)
        url = f"{self.stage.record.endpoint_url}/_ministack/sqs/messages"
        with urlopen(url, timeout=60, context=trusted) as answer:
            accounts = json.load(answer)["messages"]
        queues = [item for regions in accounts.values() for queues in regions.values() for item in queues.items()]
        for queue, messages in queues:
            name = queue.rpartition("/")[2]
            kind = DEAD_LETTER if "DeadLetters" in name else QUEUE_BODY
            for message in [] if name in LISTENERS else messages:
                yield Output(kind, f"{name}, message {message['MessageId']}", _text(message))

    def _items(self) -> Iterator[Output]:
        for output in self.stage.outputs:
            if output.endswith("TableName"):
                for number, item in enumerate(self.stage.items(output)):
                    yield Output(ITEM, f"{output}, item {number}", _text(item))

    def _objects(self) -> Iterator[Output]:
        s3, bucket = self.stage.client("s3"), self.stage.outputs["MediaBucketName"]
        for listed in _pages(s3, "list_objects_v2", "Contents", Bucket=bucket):
            key = listed["Key"]
            written, first = key.startswith(_WRITTEN), {"Range": "bytes=0-0"} if listed["Size"] else {}
            answer = s3.get_object(Bucket=bucket, Key=key, **({} if written else first))
            content = answer["Body"].read()
            yield Output(OBJECT, key, _text([key, answer["ResponseMetadata"]["HTTPHeaders"]]))
            if answer.get("TagCount"):
                yield Output(OBJECT, key, _text(s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]))
            if written:
                yield Output(CONTENT, key, content.decode())
        for upload in self.stage.uploads():
            yield Output(OBJECT, f"upload of {upload['Key']}", _text(upload))

    def _settings(self) -> Iterator[Output]:
        for service, call, name in _SETTINGS:
            more = {"EventBusName": self.stage.outputs["EventBusName"]} if service == "events" else {}
            for number, one in enumerate(getattr(self.stage.client(service), call)(**more)[name]):
                yield Output(SETTING, f"{name} {number}", _text(one))


def _log(where: str, lines: list[str]) -> Iterator[Output]:
    for number, line in enumerate(lines, start=1):
        yield Output(LOG_LINE, f"{where}, line {number}", line)
    for raised in _TRACEBACK.finditer("\n".join(lines)):
        yield Output(EXCEPTION, where, raised[0])


def _pages(client: Any, call: str, name: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(call).paginate(**arguments):
        yield from page.get(name, [])


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
