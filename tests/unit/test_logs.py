"""What Lambda keeps of a function's log lines at each log level."""

import json
import re
import uuid

import pytest
from aws_lambda_powertools import Logger

from services.shared.logs import function_logger

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
RFC_3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"


@pytest.mark.parametrize("level", LEVELS)
def test_a_function_writes_the_lines_of_its_level_and_above_each_with_a_time_that_lambda_reads(
    level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", uuid.uuid4().hex)
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", level)
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "DEBUG" if level == "DEBUG" else "INFO")  # as the stack sets it
    logger, of_a_module = function_logger(), Logger(child=True)

    for one in LEVELS:
        getattr(logger, one.lower())("of_the_function")
        getattr(of_a_module, one.lower())("of_a_module")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kept = LEVELS[LEVELS.index(level) :]
    assert [(one["level"], one["message"]) for one in lines] == [
        (one, where) for one in kept for where in ("of_the_function", "of_a_module")
    ]
    assert all(re.fullmatch(RFC_3339, one["timestamp"]) for one in lines)
