"""X-Ray for the embedded AWS: the daemon that functions send their subsegments to, and the API that tells of them.

Loaded by `embedded_aws.py`, under MiniStack's interpreter; standard library only. A traced invocation is a trace, as it
is on AWS: the function's own segment, which Lambda writes, and the subsegments that come from the function by UDP, each
of them a document of its own. Traces are kept in memory; the oldest go first. Every invocation is sampled, where AWS
takes one a second and a twentieth of the rest.
"""

import json
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

# How Lambda tells a function where its daemon listens.
DAEMON_ADDRESS = "AWS_XRAY_DAEMON_ADDRESS"
MAXIMUM_BYTES = 64 * 1024 * 1024  # of all documents that are kept
_MAXIMUM_DATAGRAM = 64 * 1024  # bytes; X-Ray takes no larger document
_MAXIMUM_IDS = 5  # that BatchGetTraces takes
_RECEIVE_BUFFER = 4 * 1024 * 1024  # bytes; the kernel may give less

Response = tuple[int, dict[str, str], bytes]


@dataclass
class _Trace:
    """One invocation. `documents`: JSON texts by segment id, the function's own first."""

    function: str
    arn: str
    root: str  # the id of the function's own segment
    start: float  # unix seconds
    end: float | None = None
    fault: bool = False
    documents: dict[str, str] = field(default_factory=dict)


class Traces:
    """What was traced, by trace id; safe to use from any thread.

    `may_upload`: whether a function may send traces, as its role's `xray:PutTraceSegments` says. Of one that may not,
    nothing is kept.
    """

    def __init__(
        self, may_upload: Callable[[str], bool] = lambda _: True, *, maximum_bytes: int = MAXIMUM_BYTES
    ) -> None:
        self._may_upload = may_upload
        self._maximum_bytes = maximum_bytes
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._bytes = 0

    def begin(self, header: str, *, function: str, arn: str) -> str:
        """Opens the trace that a header (`Root=…;Parent=…;Sampled=1`) names. Returns its id."""
        parts = dict(part.split("=", 1) for part in header.split(";"))
        trace_id = parts["Root"]
        if parts.get("Sampled") == "1" and self._may_upload(function):
            with self._lock:
                trace = _Trace(function=function, arn=arn, root=parts["Parent"], start=time.time())
                self._traces[trace_id] = trace
                self._keep_own(trace_id, trace, request_id="")
        return trace_id

    def end(self, trace_id: str, *, request_id: str, fault: bool) -> None:
        """The invocation is over."""
        with self._lock:
            trace = self._traces.get(trace_id)
            if trace is not None:
                trace.end, trace.fault = time.time(), fault
                self._keep_own(trace_id, trace, request_id=request_id)

    def take(self, document: bytes) -> None:
        """Keeps a segment document of an open trace. One that is none, or of no trace that was begun, is dropped."""
        with suppress(ValueError, KeyError, TypeError):
            text = document.decode()
            segment = json.loads(text)
            with self._lock:
                self._keep(self._traces[segment["trace_id"]], segment["id"], text)

    def summaries(self, since: float, until: float) -> list[dict[str, Any]]:
        """As GetTraceSummaries tells of the traces that began within these unix seconds, in the order of beginning."""
        with self._lock:
            return [
                {
                    "Id": trace_id,
                    "StartTime": trace.start,
                    "Duration": (trace.end or trace.start) - trace.start,
                    "HasFault": trace.fault,
                    "IsPartial": trace.end is None,
                    "ResourceARNs": [{"ARN": trace.arn}],
                    "ServiceIds": [{"Name": trace.function, "Type": "AWS::Lambda::Function"}],
                }
                for trace_id, trace in self._traces.items()
                if since <= trace.start <= until
            ]

    def get(self, trace_ids: Sequence[str]) -> list[dict[str, Any]]:
        """As BatchGetTraces tells of those of the traces that there are."""
        with self._lock:
            found = [(trace_id, self._traces[trace_id]) for trace_id in trace_ids if trace_id in self._traces]
            return [
                {
                    "Id": trace_id,
                    "Duration": (trace.end or trace.start) - trace.start,
                    "Segments": [{"Id": one, "Document": text} for one, text in trace.documents.items()],
                }
                for trace_id, trace in found
            ]

    def _keep_own(self, trace_id: str, trace: _Trace, *, request_id: str) -> None:
        ended = {"in_progress": True} if trace.end is None else {"end_time": trace.end, "fault": trace.fault}
        segment = {
            "trace_id": trace_id,
            "id": trace.root,
            "name": trace.function,
            "origin": "AWS::Lambda::Function",
            "resource_arn": trace.arn,
            "start_time": trace.start,
            "aws": {"request_id": request_id},
            **ended,
        }
        self._keep(trace, trace.root, json.dumps(segment))

    def _keep(self, trace: _Trace, segment_id: str, text: str) -> None:
        self._bytes += len(text) - len(trace.documents.get(segment_id, ""))
        trace.documents[segment_id] = text
        while self._bytes > self._maximum_bytes:
            _, oldest = self._traces.popitem(last=False)
            self._bytes -= sum(map(len, oldest.documents.values()))


class Daemon:
    """Listens on a free loopback port for what the X-Ray SDKs send: a line of header, then a segment document."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        threading.Thread(target=self._listen, name="x-ray daemon", daemon=True).start()

    def _listen(self) -> None:
        while True:
            header, _, document = self._socket.recv(_MAXIMUM_DATAGRAM).partition(b"\n")
            if b'"json"' in header:
                self._traces.take(document)


class TracedInvocations:
    """Opens a trace for each invocation that MiniStack gives a trace header: those of functions with active tracing."""

    def __init__(self, runtime: Any, traces: Traces) -> None:
        self._traces = traces
        self._plain_invoke = runtime.Worker.invoke
        runtime.Worker.invoke = lambda worker, *args, **kwargs: self.invoke(worker, *args, **kwargs)  # noqa: PLW0108  # a bound method takes no worker

    def invoke(
        self, worker: Any, event: Any, request_id: str, *, trace_id: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """`trace_id` is MiniStack's name for the whole header."""
        if trace_id is None:
            untraced: dict[str, Any] = self._plain_invoke(worker, event, request_id, **more)
            return untraced
        config: Mapping[str, Any] = worker.config
        trace = self._traces.begin(trace_id, function=config["FunctionName"], arn=config["FunctionArn"])
        fault = True
        try:
            result: dict[str, Any] = self._plain_invoke(worker, event, request_id, trace_id=trace_id, **more)
            fault = result.get("status") != "ok"
        finally:
            self._traces.end(trace, request_id=request_id, fault=fault)
        return result


class Api:
    """The two calls of X-Ray's API that read traces. Any other is refused, and so is what they would not do here."""

    def __init__(self, traces: Traces, responses: Any) -> None:
        self._traces, self._responses = traces, responses

    async def answer(self, method: str, path: str, headers: Any, body: bytes, query: Any) -> Response:  # noqa: ARG002  # as MiniStack calls it
        """One request, as MiniStack hands it to a service."""
        asked: dict[str, Any] = json.loads(body or b"{}")
        refusal = self._refusal(f"{method} {path}", asked)
        if refusal:
            refused: Response = self._responses.error_response_json("InvalidRequestException", refusal, 400)
            return refused
        if path == "/Traces":
            told: dict[str, Any] = {"Traces": self._traces.get(asked["TraceIds"]), "UnprocessedTraceIds": []}
        else:
            summaries = self._traces.summaries(asked["StartTime"], asked["EndTime"])
            told = {"TraceSummaries": summaries, "TracesProcessedCount": len(summaries)}
        answer: Response = self._responses.json_response(told)
        return answer

    @staticmethod
    def _refusal(call: str, asked: Mapping[str, Any]) -> str:
        if call not in ("POST /Traces", "POST /TraceSummaries"):
            return f"{call} is not served here"
        if len(asked.get("TraceIds", ())) > _MAXIMUM_IDS:
            return f"TraceIds holds more than {_MAXIMUM_IDS}"
        return "FilterExpression is not served here" if asked.get("FilterExpression") else ""


def install(runtime: Any, responses: Any, handlers: dict[str, Any], traces: Traces) -> None:
    """Begins to trace. `handlers`: MiniStack's services by name, among them X-Ray from now on."""
    os.environ[DAEMON_ADDRESS] = Daemon(traces).address  # functions' processes inherit it
    TracedInvocations(runtime, traces)
    handlers["xray"] = Api(traces, responses).answer
