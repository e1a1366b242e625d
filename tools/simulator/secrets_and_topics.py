"""Secrets Manager and SNS."""

# ruff: noqa: N803  # arguments are named as boto3 names them

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tools.simulator.effects import Client, Effects, refusal
from tools.simulator.virtual import SimulatorError

_T = TypeVar("_T")

_UNSETTLED_SECONDS = (0.0, 0.0, 1.0, 5.0, 30.0)  # after a write
_STALE = 0.5  # of the reads in that time


class Secrets:
    """The secrets, eventually consistent: for a while after a write, a read may return the version before."""

    def __init__(
        self, content: Mapping[str, str | None], effects: Effects, chance: random.Random | None = None
    ) -> None:
        """Create the secrets. Without `chance`, every read returns what was written last."""
        self.content = dict(content)  # what was written last; None: a secret without a value
        self.effects = effects
        self.on_put: list[Callable[[str, str], None]] = []  # secret, content
        self.chance = chance
        self._numbers: Counter[str] = Counter()  # of each secret's version
        self._before: dict[str, str | None] = {}  # the content before what was written last
        self._settled: dict[str, float] = {}  # from when on all reads return what was written last

    def put(self, secret: str, content: str) -> str:
        """Write a secret, and return the id of its version."""
        self._before[secret] = self.content[secret]
        self.content[secret] = content
        self._numbers[secret] += 1
        if self.chance:
            self._settled[secret] = self.effects.scheduler.now + self.chance.choice(_UNSETTLED_SECONDS)
        for watch in self.on_put:
            watch(secret, content)
        return self._version(secret)

    def get(self, secret: str, version: str | None) -> tuple[str | None, str, list[str]]:
        """Return a content, the id of its version and its stages. The content is None if there is none."""
        newest = self.content.get(secret), self._version(secret), ["AWSCURRENT"]
        if version == newest[1]:
            return newest
        before = self._before.get(secret), self._version(secret, -1), ["AWSPREVIOUS"]
        if version is not None:
            return before if version == before[1] else (None, version, [])
        unsettled = self._settled.get(secret, 0.0) > self.effects.scheduler.now
        # The stages, too, are those from before the write.
        stale = self.chance and unsettled and self.chance.random() < _STALE
        return (*before[:2], ["AWSCURRENT"]) if stale else newest

    def _version(self, secret: str, later: int = 0) -> str:
        return f"version {self._numbers[secret] + later} of {secret}"


class SecretsClient(Client):
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def get_secret_value(self, *, SecretId: str, VersionId: str | None = None) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            content, version, stages = self._secrets.get(SecretId, VersionId)
            if content is None:
                raise refusal("ResourceNotFoundException", "GetSecretValue")
            return {"SecretString": content, "VersionId": version, "VersionStages": stages}

        return self._call("get_secret_value", SecretId, apply)

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            if SecretId not in self._secrets.content:
                raise refusal("ResourceNotFoundException", "PutSecretValue")
            return {"VersionId": self._secrets.put(SecretId, SecretString), "VersionStages": ["AWSCURRENT"]}

        return self._call("put_secret_value", SecretId, apply)

    def _call(self, name: str, secret: str, apply: Callable[[], _T]) -> _T:
        codes = ("InternalServiceError", "ThrottlingException")
        return self._secrets.effects.call(f"secrets.{name}", secret, apply, codes=codes)


@dataclass(frozen=True)
class Notification:
    at: float
    subject: str
    body: str
    attributes: Mapping[str, str]


class Topic:
    def __init__(self, arn: str, effects: Effects) -> None:
        self.arn = arn
        self.effects = effects
        self.sent: list[Notification] = []


class SnsClient(Client):
    def __init__(self, topic: Topic) -> None:
        self._topic = topic

    def publish(
        self, *, TopicArn: str, Subject: str, Message: str, MessageAttributes: Mapping[str, Mapping[str, str]]
    ) -> dict[str, str]:
        if TopicArn != self._topic.arn:
            raise SimulatorError(f"no topic {TopicArn}")
        if not (Subject.isascii() and Subject.isprintable() and 0 < len(Subject) < 100):
            raise SimulatorError(f"SNS takes no such subject: {Subject!r}")
        if len(Message.encode()) > 262_144:
            raise SimulatorError("SNS takes 256 KB")
        attributes = {name: value["StringValue"] for name, value in MessageAttributes.items()}

        def apply() -> dict[str, str]:
            self._topic.sent.append(Notification(self._topic.effects.scheduler.now, Subject, Message, attributes))
            return {"MessageId": f"n{len(self._topic.sent)}"}

        codes = ("InternalError", "ThrottledException", "AuthorizationErrorException")
        return self._topic.effects.call("sns.publish", Subject, apply, codes=codes)
