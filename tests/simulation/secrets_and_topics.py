"""Secrets Manager and SNS."""

# ruff: noqa: N803  # arguments are named as boto3 names them

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tests.simulation.effects import Client, Effects, refusal
from tests.simulation.virtual import SimulatorError

_T = TypeVar("_T")


class Secrets:
    def __init__(self, content: Mapping[str, str | None], effects: Effects) -> None:
        self.content = dict(content)  # None: a secret that was never given a value
        self.effects = effects
        self.on_put: list[Callable[[str, str], None]] = []  # secret, content


class SecretsClient(Client):
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        def apply() -> dict[str, str]:
            content = self._secrets.content.get(SecretId)
            if content is None:
                raise refusal("ResourceNotFoundException", "GetSecretValue")
            return {"SecretString": content}

        return self._call("get_secret_value", SecretId, apply)

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> dict[str, str]:
        def apply() -> dict[str, str]:
            if SecretId not in self._secrets.content:
                raise refusal("ResourceNotFoundException", "PutSecretValue")
            self._secrets.content[SecretId] = SecretString
            for watch in self._secrets.on_put:
                watch(SecretId, SecretString)
            return {}

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
