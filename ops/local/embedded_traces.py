"""X-Ray for the embedded AWS: the daemon that receives functions' subsegments, and the API that returns traces.

`embedded_aws.py` loads this under MiniStack's interpreter; it uses only the standard library. As on AWS, a traced
invocation is a trace: the function's own segment, which Lambda writes, and the subsegments that the function sends by
UDP, each a separate document. Traces are kept in memory, and the oldest are dropped first. Every invocation is sampled;
AWS samples one a second and 5 % of the rest.
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

# The environment variable that names the daemon's address.
DAEMON_ADDRESS = "AWS_XRAY_DAEMON_ADDRESS"
MAXIMUM_BYTES = 64 * 1024 * 1024  # of all documents in memory
_MAXIMUM_DATAGRAM = 64 * 1024  # bytes; X-Ray accepts no larger document
_MAXIMUM_IDS = 5  # in one BatchGetTraces
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
    """Traces by their ids; thread-safe.

    `may_upload`: whether a function may send traces, which its role's `xray:PutTraceSegments` decides. The traces of a
    function that may not are dropped.
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
        """Open the trace of a header (`Root=…;Parent=…;Sampled=1`) and return its id."""
        parts = dict(part.split("=", 1) for part in header.split(";"))
        trace_id = parts["Root"]
        if parts.get("Sampled") == "1" and self._may_upload(function):
            with self._lock:
                trace = _Trace(function=function, arn=arn, root=parts["Parent"], start=time.time())
                self._traces[trace_id] = trace
                self._keep_own(trace_id, trace, request_id="")
        return trace_id

    def end(self, trace_id: str, *, request_id: str, fault: bool) -> None:
        """Close the trace of an invocation that ended."""
        with self._lock:
            trace = self._traces.get(trace_id)
            if trace is not None:
                trace.end, trace.fault = time.time(), fault
                self._keep_own(trace_id, trace, request_id=request_id)

    def take(self, document: bytes) -> None:
        """Add a segment document to its trace. Drops it if it is malformed or its trace was never opened."""
        with suppress(ValueError, KeyError, TypeError):
            text = document.decode()
            segment = json.loads(text)
            with self._lock:
                self._keep(self._traces[segment["trace_id"]], segment["id"], text)

    def summaries(self, since: float, until: float) -> list[dict[str, Any]]:
        """Return what GetTraceSummaries returns: the traces that began within these unix seconds, oldest first."""
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
        """Return what BatchGetTraces returns, for those of the traces that exist."""
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
    """Receives what the X-Ray SDKs send to a free loopback port: a header line, then a segment document."""

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
    """Opens a trace for each invocation with a trace header: those of functions with active tracing."""

    def __init__(self, runtime: Any, traces: Traces) -> None:
        self._traces = traces
        self._plain_invoke = runtime.Worker.invoke
        runtime.Worker.invoke = lambda worker, *args, **kwargs: self.invoke(worker, *args, **kwargs)  # noqa: PLW0108  # a bound method takes no worker

    def invoke(
        self, worker: Any, event: Any, request_id: str, *, trace_id: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Invoke the function. `trace_id` is MiniStack's name for the whole header."""
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
    """The two calls of X-Ray's API that read traces. All other calls and unsupported options are refused."""

    def __init__(self, traces: Traces, responses: Any) -> None:
        self._traces, self._responses = traces, responses

    async def answer(self, method: str, path: str, headers: Any, body: bytes, query: Any) -> Response:  # noqa: ARG002  # as MiniStack calls it
        """Answer a request, as MiniStack passes it to a service."""
        asked: dict[str, Any] = json.loads(body or b"{}")
        refusal = self._refusal(f"{method} {path}", asked)
        if refusal:
            refused: Response = self._responses.error_response_json("InvalidRequestException", refusal, 400)
            return refused
        if path == "/Traces":
            content: dict[str, Any] = {"Traces": self._traces.get(asked["TraceIds"]), "UnprocessedTraceIds": []}
        else:
            summaries = self._traces.summaries(asked["StartTime"], asked["EndTime"])
            content = {"TraceSummaries": summaries, "TracesProcessedCount": len(summaries)}
        answer: Response = self._responses.json_response(content)
        return answer

    @staticmethod
    def _refusal(call: str, asked: Mapping[str, Any]) -> str:
        if call not in ("POST /Traces", "POST /TraceSummaries"):
            return f"{call} is not supported here"
        if len(asked.get("TraceIds", ())) > _MAXIMUM_IDS:
            return f"TraceIds has more than {_MAXIMUM_IDS} entries"
        return "FilterExpression is not supported here" if asked.get("FilterExpression") else ""


def install(runtime: Any, responses: Any, handlers: dict[str, Any], traces: Traces) -> None:
    """Install the tracing. `handlers`: MiniStack's services by name, to which X-Ray is added."""
    os.environ[DAEMON_ADDRESS] = Daemon(traces).address  # the functions' processes inherit it
    TracedInvocations(runtime, traces)
    handlers["xray"] = Api(traces, responses).answer
