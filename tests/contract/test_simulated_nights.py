"""What the services ask of AWS in simulated nights, asked of the embedded AWS again: each answer is the same."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.aws_stages import Clients, add_table
from tests.contract.embedded_aws import EmbeddedAws
from tests.contract.transcripts import ANSWERS
from tools.simulator.faults import Fault, Planned
from tools.simulator.scenario import HOUR, Action, Options, Scenario, quiet
from tools.simulator.world import World
from tools.simulator.written import BY_HAND, DAILY, by_hand, video

pytestmark = pytest.mark.slow

REPLAYED = ("dynamodb", "s3", "secretsmanager")
# Files that fit into one request: parts as small as the simulated ones are refused elsewhere.
LIBRARY = [video(number, size=5, etags="plain") for number in range(9)]
OFTEN = Planned(Fault.DUPLICATE, "MediaDiscovered")
BROKEN = Planned(Fault.CDN_FAILED, "cdn.open", LIBRARY[3].id)
FROZEN = Planned(Fault.FREEZE, "cdn.read", nth=4, seconds=400.0)
SLICES = {"PAGES_PER_SLICE": "2", "MAX_MEDIA_PER_SYNC": "6"}
NIGHTS: Mapping[str, Scenario] = {
    "calm": quiet(LIBRARY, actions=(DAILY, Action(60.0, "daily")), page_size=2, listing_granted=True),
    "rough": quiet(
        LIBRARY,
        actions=(BY_HAND, Action(900.0, "revoke"), by_hand("later", at=HOUR)),
        planned=(OFTEN, BROKEN, FROZEN),
        page_size=2,
        settings=SLICES,
        access="refresh",
        lifetime=1200,
        redrive=True,
        listing_granted=True,
    ),
    "no session": quiet(LIBRARY, actions=(BY_HAND, by_hand("later", at=5.0)), access="wrong"),
}
OPERATIONS = {  # all but those of multipart uploads
    "get_item", "put_item", "update_item", "delete_item", "batch_get_item", "transact_write_items", "query",
    "put_object", "get_object", "head_object", "get_secret_value", "put_secret_value",
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A call, and what came of it."""

    client: str
    operation: str
    request: Mapping[str, Any]
    outcome: Any

    def again(self, clients: Clients, bucket: str) -> Any:
        client = clients[self.client]
        if self.operation == "query":
            return outcome_of(self.operation, lambda: joined(client.get_paginator("query").paginate(**self.request)))
        request = {**self.request, "Bucket": bucket} if "Bucket" in self.request else self.request
        return outcome_of(self.operation, lambda: getattr(client, self.operation)(**request))


def outcome_of(operation: str, call: Callable[[], Any]) -> Any:
    try:
        return compared(operation, call())
    except ClientError as error:
        return refusal(error)


def compared(operation: str, answer: Mapping[str, Any]) -> Any:
    """What is compared of an answer: not a batch's order, ids of versions, or what the embedded PutObject lacks."""
    outcome = {name: answer[name] for name in ANSWERS[operation] if name in answer}
    if operation == "put_object":
        outcome.pop("ChecksumCRC64NVME", None)
    outcome.pop("VersionId", None)
    if operation == "get_object":
        outcome["Body"] = outcome["Body"].read()
    if operation == "batch_get_item":
        outcome["Responses"] = {name: sorted(items, key=repr) for name, items in outcome["Responses"].items()}
    return outcome


def refusal(error: ClientError) -> Any:
    response: Any = error.response
    return {
        "refused": response["Error"]["Code"],
        "reasons": [r["Code"] for r in response.get("CancellationReasons", [])],
    }


def joined(pages: Iterator[Mapping[str, Any]]) -> Mapping[str, Any]:
    return {"Items": [item for page in pages for item in page["Items"]]}


class Recorder:
    """Looks like a client of the simulated AWS, and writes its calls down in the order in which they took effect."""

    def __init__(self, client: Any, name: str, made: list[Made]) -> None:
        self._client = client
        self._name = name
        self._made = made

    @property
    def exceptions(self) -> Any:
        return self._client.exceptions

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            asked = deepcopy(request)
            try:
                answer = getattr(self._client, operation)(**request)
            except ClientError as error:
                self._made.append(Made(self._name, operation, asked, refusal(error)))
                raise
            self._made.append(Made(self._name, operation, asked, compared(operation, deepcopy(answer))))
            return answer

        return call

    def get_paginator(self, operation: str) -> Any:
        return self

    def paginate(self, **request: Any) -> Iterator[Any]:
        page = joined(self._client.get_paginator("query").paginate(**request))
        self._made.append(Made(self._name, "query", deepcopy(request), deepcopy(page)))
        yield page


class RecordedNight(World):
    """A night that is written down."""

    def __init__(self, plan: Scenario) -> None:
        self.made: list[Made] = []
        super().__init__(plan, Options())
        self.secrets.chance = None  # the embedded AWS answers with what was written last
        self.database.page_items = 10_000  # one page, so that a query sees the table at one moment

    def client(self, name: str, source: str) -> Any:
        client = super().client(name, source)
        return Recorder(client, name, self.made) if name in REPLAYED else client


@pytest.mark.parametrize("number", range(len(NIGHTS)), ids=list(NIGHTS))
def test_the_embedded_aws_answers_every_call_of_a_simulated_night_alike(aws: EmbeddedAws, number: int) -> None:
    night = RecordedNight([*NIGHTS.values()][number])
    clients, account = Clients(aws.endpoint_url), f"{222_000_000_000 + number}"
    clients.speak_for(account)
    for name, key in night.wires.tables.items():
        add_table(clients["dynamodb"], name, key)
    for name, content in night.secrets.content.items():
        clients["secretsmanager"].create_secret(Name=name, SecretString=content)
    clients["s3"].create_bucket(Bucket=account)  # the names of buckets are everybody's
    assert night.run().violations == []
    for place, made in enumerate(night.made):
        assert made.again(clients, account) == made.outcome, f"call {place}: {made}"


def test_the_nights_make_every_call() -> None:
    operations = set()
    for plan in NIGHTS.values():
        night = RecordedNight(plan)
        night.run()
        operations |= {made.operation for made in night.made}
    assert operations == OPERATIONS
