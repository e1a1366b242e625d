"""The AWS CLI as far as the runbooks use it: operations and options are botocore's, as the real one's are.

Run as `python -m tests.e2e.aws_cli SERVICE OPERATION --option value …`. Unknown operations and options end it with 255.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.loaders import UnknownServiceError

# Options that the AWS CLI calls differently, because it has another option of that name itself.
_RENAMED = {("sns", "subscribe", "notification-endpoint"): "endpoint"}
_SERVICES = {"s3api": "s3"}  # likewise
# Services that the local stage doesn't have: their requests are checked, and go no further.
_ONLY_CHECKED = {"service-quotas"}
_UNKNOWN = 255


def main(arguments: Sequence[str]) -> int:
    """Make the request and print the answer, as JSON or with `--output text`."""
    endpoint_url = None
    if arguments[0] == "--endpoint-url":
        endpoint_url, arguments = arguments[1], arguments[2:]
    service, operation, *rest = arguments
    given = _options(rest)
    query, output = ("".join(given.pop(name, [])) for name in ("query", "output"))
    try:
        # The stubs know each service by its literal name.
        client: Any = boto3.client(_SERVICES.get(service, service), endpoint_url=endpoint_url)  # type: ignore[call-overload]
        names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        model = client.meta.service_model.operation_model(names[operation])
        request = _request(service, operation, given, model.input_shape.members)
    except (KeyError, UnknownServiceError) as error:
        print(f"aws: unknown: {error}", file=sys.stderr)
        return _UNKNOWN
    if service in _ONLY_CHECKED:
        missing = set(model.input_shape.required_members) - set(request)
        return _UNKNOWN if missing else 0
    answer = getattr(client, xform_name(names[operation]))(**request)
    answer.pop("ResponseMetadata", None)
    found = jmespath.search(query, answer) if query else answer
    print(_text(found) if output == "text" else json.dumps(found, indent=4, default=str))
    return 0


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values = given.setdefault(word.removeprefix("--"), [])
        else:
            values.append(word)
    return given


def _request(service: str, operation: str, given: dict[str, list[str]], members: Any) -> dict[str, Any]:
    request: dict[str, Any] = {}
    for path in given.pop("cli-input-json", []):
        request |= json.loads(Path(path.removeprefix("file://")).read_text())
    options = {xform_name(name, "-"): name for name in members}
    for option, values in given.items():
        name = options[_RENAMED.get((service, operation, option), option)]
        request[name] = _value(members[name], values)
    return request


def _value(shape: Any, values: list[str]) -> Any:
    if shape.type_name == "list":
        return values
    if shape.type_name == "boolean" and not values:
        return True
    (value,) = values
    if shape.type_name == "structure":  # as `Name=value,Other=value`
        pairs = (pair.split("=", 1) for pair in value.split(","))
        return {name: _value(shape.members[name], [text]) for name, text in pairs}
    if shape.type_name == "boolean":
        return {"true": True, "false": False}[value]
    return {"integer": int, "long": int, "double": float}.get(shape.type_name, str)(value)


def _text(found: Any) -> str:
    if isinstance(found, list):
        rows = [one if isinstance(one, list) else [one] for one in found]
        return "\n".join("\t".join(map(str, row)) for row in rows)
    return str(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
