"""Microburst between deployed functions and the embedded AWS: what AWS does on a bad day, as it looks on the wire.

A function whose `AWS_ENDPOINT_URL_<SERVICE>` is the proxy's URL makes its calls of that service through it. Which
requests are hit, and how, is said in Microburst's own rules, and every hit is in its log.

One fault it can't inject, since it rewrites no answer by its content: a PutEvents that takes some entries of a request
and refuses the others. That is added here (`refusing_entries`), and hangs on a rule like any other. Two faults of its
own are worked around: it takes the parts of an upload for objects, and drops the `Content-Length` of answers to HEAD.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from microburst.app import make_app
from microburst.core.pipeline import Microburst
from microburst.detection import rest_operations
from microburst.forward import HOP_BY_HOP, ResponseFault, Upstream
from microburst.models import get_service_model
from microburst.rules import FiredEvent

_EVERY = "x-refuse-every"
_CODES = ("ThrottlingException", "InternalFailure")  # those that EventBridge says may be sent again

_OF_THE_CONNECTION = HOP_BY_HOP - {"content-length"}

_T = TypeVar("_T")
Rule = dict[str, Any]


def refusing_entries(*, every: int) -> Rule:
    """What a rule about PutEvents does: refuses the first entry of a request, and from there on every so many-th."""
    return {"response": {"set_headers": {_EVERY: str(every)}}}


def _tell_s3_operations_apart() -> None:
    """By their names on the wire, which Microburst 0.10 asks botocore's models for in a way that these don't know."""
    model: Any = get_service_model("s3")
    for known in rest_operations("s3"):
        shape = model.operation_model(known["op"]).input_shape
        if shape is None:
            continue
        required = [shape.members[name].serialization for name in shape.required_members]
        known["required_query"] = {one["name"] for one in required if one.get("location") == "querystring"}
        if known["payload_name"]:
            known["payload_name"] = shape.members[shape.serialization["payload"]].serialization["name"]


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A request that reached AWS, as the function sent it."""

    method: str
    query: dict[str, str]
    body: bytes  # empty where it was streamed: objects and parts


class _Upstream(Upstream):  # type: ignore[misc]  # Microburst has no types
    """Remembers what it forwards."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.passed: list[Passed] = []

    async def relay(
        self, request: web.Request, body: bytes | None, mutator: ResponseFault | None = None, data: Any = None
    ) -> web.StreamResponse:
        self.passed.append(Passed(method=request.method, query=dict(request.rel_url.query), body=body or b""))
        if mutator and _EVERY in mutator.set_headers:
            return await self._take_in_part(request, json.loads(body or b""), int(mutator.set_headers[_EVERY]))
        if request.method == "HEAD":
            return await self._head(request)
        relayed: web.StreamResponse = await super().relay(request, body, mutator, data)
        return relayed

    async def _head(self, request: web.Request) -> web.Response:
        assert self.session
        url, headers = self.base_url + request.rel_url.raw_path_qs, self._outbound_headers(request)
        async with self.session.head(url, headers=headers) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OF_THE_CONNECTION]
            return web.Response(status=answer.status, headers=kept)

    async def _take_in_part(self, request: web.Request, asked: dict[str, Any], every: int) -> web.Response:
        taken = [entry for index, entry in enumerate(asked["Entries"]) if index % every]
        results: Any = iter(())
        if taken:
            assert self.session
            async with self.session.post(
                self.base_url,
                data=json.dumps({**asked, "Entries": taken}),
                headers=self._outbound_headers(request),
            ) as answer:
                results = iter(json.loads(await answer.read())["Entries"])
        entries = [
            next(results) if index % every else {"ErrorCode": _CODES[index // every % len(_CODES)], "ErrorMessage": "…"}
            for index in range(len(asked["Entries"]))
        ]
        refused = sum("ErrorCode" in entry for entry in entries)
        return web.json_response(
            {"FailedEntryCount": refused, "Entries": entries}, content_type="application/x-amz-json-1.1"
        )


class FaultProxy:
    """A running proxy, in a thread of this process, on a free loopback port. Forwards everything until it has rules."""

    def __init__(self, endpoint_url: str) -> None:
        _tell_s3_operations_apart()
        self._microburst = Microburst(endpoint_url)
        self._upstream = self._microburst.upstream = _Upstream(endpoint_url)
        self._runner = web.AppRunner(make_app(self._microburst), shutdown_timeout=1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._run(self._runner.setup())
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        self._run(site.start())
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def inject(self, *rules: Rule) -> None:
        """Apply these rules and no others from now on; the first one that a request meets counts."""
        self._microburst.engine.set_rules(list(rules))

    def hits(self, operation: str, action: str = "") -> list[FiredEvent]:
        """Return the requests of this operation that a rule has hit; `action`: how its description begins."""
        return [
            hit for hit in list(self._microburst.fired) if hit.operation == operation and hit.action.startswith(action)
        ]

    def passed(self) -> list[Passed]:
        """Return the requests that reached AWS, in order of arrival."""
        return list(self._upstream.passed)

    def clear(self) -> None:
        """Forget all rules and requests."""
        self.inject()
        self._microburst.fired.clear()
        self._upstream.passed.clear()

    def end(self) -> None:
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)
