"""CloudWatch Logs for the embedded AWS: events in log groups, filters on JSON, and the whole log of an invocation.

`embedded_aws.py` loads this under MiniStack's interpreter; it uses only the standard library.

- A rule with a log group as its target writes the whole event there, in a log stream of the rule's own. With
  `AUTH=true`, `embedded_iam.py` asks the account's resource policies first.
- `FilterLogEvents` understands patterns on JSON of this form, where MiniStack takes every line: conditions
  `$.field = "text"` and `$.field NOT EXISTS`, each in parentheses, all joined by `&&` or all by `||`.
- The log of an invocation has all that a function in Python wrote before it returned. MiniStack takes what has come
  within some milliseconds; on a busy machine the rest is in the log of the next invocation, or in none.
"""

# ruff: noqa: SLF001 - this file patches MiniStack's internals

import json
import queue
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# The attributes that are replaced or called, by module. `embedded_aws.py` checks them before the first is replaced.
NEEDED: Mapping[str, Sequence[str]] = {
    "ministack.core.arn": ("parse_arn",),
    "ministack.core.lambda_runtime": ("Worker", "_PYTHON_WORKER_SCRIPT"),
    "ministack.services.cloudwatch_logs": (
        "_compile_filter_pattern",
        "_create_log_stream",
        "_put_log_events",
        "_log_groups",
    ),
    "ministack.services.eventbridge": ("_invoke_target", "_pattern_event_view"),
}

_CALL = "            result = handler_fn(event, context)\n"  # in the script of MiniStack's workers
_END = "embedded AWS: the end of an invocation"  # the line that a worker writes behind those of the function
_END_SECONDS = 30.0  # for that line to come
_CONDITION = re.compile(r'\(\s*\$\.([\w.-]+)\s*(?:=\s*"((?:[^"\\]|\\.)*)"|(NOT EXISTS))\s*\)')


class LogTargets:
    """Delivers events into log groups. The other targets are MiniStack's."""

    def __init__(self, modules: Mapping[str, Any]) -> None:
        """`modules`: those of `NEEDED`, by the last part of their names."""
        self._eventbridge, self._logs = modules["eventbridge"], modules["cloudwatch_logs"]
        self._parse_arn = modules["arn"].parse_arn
        self._plain_invoke = self._eventbridge._invoke_target
        self._eventbridge._invoke_target = self.invoke

    def invoke(
        self, target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None
    ) -> None:
        arn = str(target.get("Arn", ""))
        if not arn.startswith("arn:aws:logs:"):
            self._plain_invoke(target, event, rule, view)
            return
        group = self._parse_arn(arn).resource.removeprefix("log-group:").removesuffix(":*")
        if group not in self._logs._log_groups:
            return  # as on AWS: the delivery fails, and nobody hears of it
        whole = (view or self._eventbridge._pattern_event_view(event)).event_with_detail()
        where = {"logGroupName": group, "logStreamName": str(rule["Name"])}
        self._logs._create_log_stream(where)  # answers with an error where it is there
        line = {"timestamp": int(time.time() * 1000), "message": json.dumps(whole)}
        self._logs._put_log_events({**where, "logEvents": [line]})


def filter_by_json(logs: Any) -> None:
    """Make `FilterLogEvents` understand patterns on JSON, as far as the module's text says."""
    plain = logs._compile_filter_pattern

    def compiled(pattern: str | None) -> Callable[[str], bool]:
        found = (pattern or "").strip()
        if not found.startswith("{"):
            matcher: Callable[[str], bool] = plain(pattern)
            return matcher
        return _matcher(found)

    logs._compile_filter_pattern = compiled


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a line matches. Raises `ValueError` for a pattern that nobody here understands."""
    conditions = [(path.split("."), text, bool(absent)) for path, text, absent in _CONDITION.findall(pattern)]
    joined = _CONDITION.sub("", pattern).split()
    if not conditions or joined[0] != "{" or joined[-1] != "}" or len({*joined[1:-1]} - {"&&"}) > 1:
        raise ValueError(f"a pattern on JSON that the embedded AWS doesn't understand: {pattern}")
    combined = any if "||" in joined else all

    def matches(line: str) -> bool:
        try:
            content = json.loads(line)
        except ValueError:
            return False
        return combined(
            (value is None) if absent else (value == json.loads(f'"{text}"'))
            for path, text, absent in conditions
            for value in [_at(content, path)]
        )

    return matches


def whole_logs(runtime: Any) -> None:
    """Make workers of functions in Python end the log of each invocation with a line, and wait for that line."""
    if _CALL not in runtime._PYTHON_WORKER_SCRIPT:
        raise ValueError("the workers' script is not the one that this supports")
    runtime._PYTHON_WORKER_SCRIPT = runtime._PYTHON_WORKER_SCRIPT.replace(
        _CALL,
        "            try:\n"
        f"    {_CALL}"
        "            finally:\n"
        f"                sys.stderr.write({_END!r} + chr(10))\n"
        "                sys.stderr.flush()\n",
    )
    plain = runtime.Worker._drain_stderr_bounded

    def drain(worker: Any, *args: Any, **kwargs: Any) -> str:
        if not str(worker.config.get("Runtime", "")).startswith("python"):
            return str(plain(worker, *args, **kwargs))
        lines: list[str] = []
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            reads = worker._stderr_thread is not None and worker._stderr_thread.is_alive()
            try:
                line = worker._stderr_queue.get(timeout=0.1)
            except queue.Empty:
                if reads:
                    continue
                break  # the process has ended, and all that it wrote is read
            if line == _END:
                break
            lines.append(line)
        return "\n".join(lines)

    runtime.Worker._drain_stderr_bounded = drain


def _at(content: Any, path: Sequence[str]) -> Any:
    """Return the value at a path; None where there is none."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def install(found: Mapping[str, Any]) -> None:
    """Install all of it. `found`: the modules of `NEEDED`, by their full names."""
    modules = {name.rsplit(".", 1)[-1]: module for name, module in found.items()}
    LogTargets(modules)
    filter_by_json(modules["cloudwatch_logs"])
    whole_logs(modules["lambda_runtime"])
