"""The simulated AWS answers as the embedded one, which is made to be like AWS: the same calls, the same answers.

Where the embedded one is known to answer otherwise than AWS, the script says so, and how that is known. The simulated
one never does: where it differs from AWS, it is wrong.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.contract import scripts_dynamodb, scripts_messages, scripts_s3
from tests.contract.aws_stages import EmbeddedStages, SimulatedStage, Stage
from tests.contract.embedded_aws import EmbeddedAws
from tests.contract.transcripts import SCRIPTS, Calls, Script, compare
from tools.simulator.bus import EventsClient
from tools.simulator.dynamodb import ResourceClient
from tools.simulator.queues import SqsClient
from tools.simulator.s3 import S3Client
from tools.simulator.secrets_and_topics import SecretsClient, SnsClient

MODULES = (scripts_dynamodb, scripts_messages, scripts_s3)  # which have filled SCRIPTS
SIMULATED: Mapping[str, type] = {
    "dynamodb": ResourceClient,
    "events": EventsClient,
    "s3": S3Client,
    "secretsmanager": SecretsClient,
    "sns": SnsClient,
    "sqs": SqsClient,
}


@pytest.fixture(scope="module")
def embedded_stages(aws: EmbeddedAws) -> EmbeddedStages:
    return EmbeddedStages(aws.endpoint_url)


def run(stage: Stage, script: Script) -> Calls:
    calls = Calls(stage)
    script.run(calls)
    return calls


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_simulated_aws_answers_as_the_embedded_one(embedded_stages: EmbeddedStages, script: Script) -> None:
    simulated = run(SimulatedStage(visibility=script.visibility, **script.variant), script)
    embedded = run(embedded_stages.stage(visibility=script.visibility), script)
    compare(embedded.steps, simulated.steps, script)


def simulated_calls() -> Iterator[tuple[str, str, str]]:
    """What the simulated clients can be asked: client, operation and parameter."""
    methods: list[tuple[str, str, Callable[..., Any]]] = [
        (client, name, method)
        for client, kind in SIMULATED.items()
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name != "get_paginator"
    ]
    methods += [("dynamodb", "query", ResourceClient._query), ("s3", "list_parts", S3Client._list_parts)]
    for client, operation, method in methods:
        parameters = inspect.signature(method).parameters.values()
        yield from ((client, operation, p.name) for p in parameters if p.kind is p.KEYWORD_ONLY)


def test_a_script_uses_every_parameter_of_the_simulated_clients() -> None:
    made: set[tuple[str, str, str]] = set().union(
        *(run(SimulatedStage(visibility=script.visibility), script).made for script in SCRIPTS)
    )
    assert set(simulated_calls()) - made == set()
