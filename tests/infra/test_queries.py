"""The saved queries name fields, messages and levels that the functions' log lines really have."""

import io
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from services.shared.errors import PermanentError, TransientError
from services.shared.events import SERVICES
from tests.unit.inbox_fakes import record
from tests.unit.test_inbox import MEDIUM, Stage, results
from tools.template import ROOT, Template

KEYWORDS = {
    *("fields", "filter", "sort", "stats", "limit", "by", "as", "asc", "desc", "and", "or", "in"),
    *("ispresent", "min", "max", "count"),
}
# Insights makes these itself, of every line.
BUILT_IN = {"@timestamp", "@message"}


def flattened(line: Mapping[str, Any]) -> dict[str, str]:
    """Return a line's fields as Insights discovers them: the elements of a list by their numbers."""
    fields: dict[str, str] = {}
    for name, value in line.items():
        if isinstance(value, list):
            fields |= {f"{name}.{number}": str(one) for number, one in enumerate(value)}
        else:
            fields[name] = str(value)
    return fields


@pytest.fixture
def lines() -> list[dict[str, str]]:
    """Return lines that an inbox writes about messages that succeed, fail, are given up, or say nothing."""
    handler = Logger().registered_handler
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    try:
        stage = Stage(results, TransientError("busy"), PermanentError("gone"))
        for number in range(3):
            stage.process(record(MEDIUM, name=f"m{number}"))
        stage.process(record("not an event", name="m3"))
    finally:
        if before is not None:
            handler.setStream(before)
    return [flattened(json.loads(line)) for line in written.getvalue().splitlines()]


def messages() -> set[str]:
    """Return the message of every line that a service writes to its log."""
    sources = [path.read_text() for path in (ROOT / "services").rglob("*.py")]
    return {found for source in sources for found in re.findall(r'logger\.\w+\(\s*"(\w+)"', source)}


def query_of(prod: Template, name: str) -> str:
    (found,) = (one for one in prod.of_type("AWS::Logs::QueryDefinition") if one["Name"].endswith(f"/{name}"))
    return re.sub(r"^#.*\n", "", found["QueryString"], flags=re.MULTILINE)


NAMES = ("One sync in order", "One medium", "Slowest media", "Every refusal")


def test_the_saved_queries_are_in_a_folder_of_the_stack_and_read_the_logs_of_all_functions(prod: Template) -> None:
    queries = prod.of_type("AWS::Logs::QueryDefinition")
    assert {query["Name"] for query in queries} == {f"{prod.stack}/{name}" for name in NAMES}
    for query in queries:
        read = {prod.referred(one).id for one in query["LogGroupNames"]}
        assert read == {service.log_group.id for service in prod.services.values()}


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_query_is_in_a_line_of_a_function(
    prod: Template, lines: list[dict[str, str]], name: str
) -> None:
    query = query_of(prod, name)
    made_here = set(re.findall(r"\bas (\w+)", query))
    words = re.findall(r"@?[A-Za-z_][\w.]*", re.sub(r'"[^"]*"', "", query))
    fields = set(words) - KEYWORDS - BUILT_IN - made_here
    known = {field for line in lines for field in line}
    assert fields
    assert fields <= known, f"no line has {fields - known}"


@pytest.mark.parametrize("name", NAMES)
def test_every_value_that_a_query_looks_for_is_one_that_a_line_has(
    prod: Template, lines: list[dict[str, str]], name: str
) -> None:
    query = query_of(prod, name)
    known = {
        "level": {line["level"] for line in lines},
        "message": messages(),
        "service": set(SERVICES),
    }
    compared = re.findall(r'(\w+) = "([^"]*)"', query)
    for field, values in re.findall(r"(\w+) in \[([^\]]*)\]", query):
        compared += [(field, value) for value in re.findall(r'"([^"]*)"', values)]
    for field, value in compared:
        assert value in known.get(field, {"SYNC_ID", "MEDIUM_ID"}), f"no line has {field} = {value}"


def test_a_query_about_one_thing_says_which_word_to_replace(prod: Template) -> None:
    for name, word in (("One sync in order", "SYNC_ID"), ("One medium", "MEDIUM_ID")):
        (found,) = (one for one in prod.of_type("AWS::Logs::QueryDefinition") if one["Name"].endswith(name))
        comment, _, query = found["QueryString"].partition("\n")
        assert word in comment
        assert f'= "{word}"' in query
