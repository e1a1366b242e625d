"""The simulated AWS answers as others do that were made to be like AWS: the same calls, the same answers.

Where one of those is known to answer otherwise than AWS, the script says so, and how that is known. The simulated one
never does: where it differs from AWS, it is wrong.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from tests.contract import scripts_dynamodb, scripts_messages, scripts_s3, scripts_services
from tests.contract.aws_stages import EmbeddedStages, MotoStages, SimulatedStages
from tests.contract.embedded_aws import EmbeddedAws
from tests.contract.service_calls import service_calls
from tests.contract.transcripts import GAPS, SCRIPTS, Calls, Script, expected
from tests.simulation.bus import EventsClient
from tests.simulation.dynamodb import ResourceClient, TypedClient
from tests.simulation.queues import SqsClient
from tests.simulation.s3 import S3Client
from tests.simulation.secrets_and_topics import SecretsClient, SnsClient

MODULES = (scripts_dynamodb, scripts_messages, scripts_s3, scripts_services)  # which have filled SCRIPTS
SIMULATED: Mapping[str, type] = {
    "dynamodb": ResourceClient,
    "plain_dynamodb": TypedClient,
    "events": EventsClient,
    "s3": S3Client,
    "secretsmanager": SecretsClient,
    "sns": SnsClient,
    "sqs": SqsClient,
}


@pytest.fixture(scope="module")
def moto_stages() -> MotoStages:
    return MotoStages()


@pytest.fixture(scope="module")
def embedded_stages(aws: EmbeddedAws) -> EmbeddedStages:
    return EmbeddedStages(aws.endpoint_url)


@pytest.fixture(params=["moto", "embedded"])
def emulator(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_stages")


def run(stages: Any, script: Script, **variant: Any) -> Calls:
    with stages.stage(visibility=script.visibility, **variant) as stage:
        calls = Calls(stage)
        script.run(calls)
    return calls


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_simulated_aws_answers_as_an_emulator_does(emulator: Any, script: Script) -> None:
    emulated = run(emulator, script)
    simulated = run(SimulatedStages(), script, **script.variants.get(emulated.stage.name, {}))
    assert emulated.steps == expected(simulated.steps, script, emulated.stage.name)


def test_what_is_known_of_an_emulator_is_known_from_somewhere_and_is_about_a_step_that_there_is() -> None:
    for gap in GAPS:
        assert gap.known_from
    for script in SCRIPTS:
        assert {difference.of for difference in script.differences} <= {"moto", "embedded"}
        steps = run(SimulatedStages(), script).steps
        for difference in script.differences:
            assert difference.known_from
            assert difference.step in steps


# --- nothing is left out --------------------------------------------------------------------------------------------


@cache
def made() -> frozenset[tuple[str, str, str]]:
    """All calls of all scripts: client, operation and parameter."""
    return frozenset().union(*(run(SimulatedStages(), script).made for script in SCRIPTS))


def simulated_calls() -> Iterator[tuple[str, str, str]]:
    """What the simulated clients can be asked: client, operation and parameter."""
    for client, kind in SIMULATED.items():
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and name != "get_paginator":
                parameters = inspect.signature(method).parameters.values()
                yield from ((client, name, p.name) for p in parameters if p.kind is p.KEYWORD_ONLY)
    for client, operation, method in (
        ("dynamodb", "query", ResourceClient._query),
        ("s3", "list_parts", S3Client._list_parts),
    ):
        parameters = inspect.signature(method).parameters.values()
        yield from ((client, operation, p.name) for p in parameters if p.kind is p.KEYWORD_ONLY)


def test_whatever_the_simulated_clients_can_be_asked_a_script_asks() -> None:
    # Powertools asks few things of the plain client; the rest of it is the resource's.
    of_powertools = {operation for client, operation, _ in made() if client == "plain_dynamodb"}
    left = {call for call in set(simulated_calls()) - made() if call[0] != "plain_dynamodb" or call[1] in of_powertools}
    assert left == set()
    assert {"put_item", "update_item", "get_item", "delete_item"} <= of_powertools


def test_whatever_the_services_ask_of_aws_a_script_asks(moto_stages: MotoStages) -> None:
    asked = {(operation, parameter) for _, operation, parameter in made()}
    operations = {operation for operation, _ in asked}
    calls = service_calls(moto_stages.clients)
    assert {f"{call} in {where}" for call, where in calls.items() if call[1] and call not in asked} == set()
    assert {f"{call} in {where}" for call, where in calls.items() if call[0] not in operations} == set()
    assert len(calls) > 60, "the services' calls are not found any more"
