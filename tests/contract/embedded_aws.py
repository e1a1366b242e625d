"""A client's view of a started embedded AWS."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ops.local.emulator import REGION


@dataclass
class EmbeddedAws:
    endpoint_url: str
    certificate: str | None = None  # vouches for the endpoint, where it is TLS
    decisions: Path = Path()  # what was decided about roles, where they decide
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, name: str) -> Any:
        if name not in self.clients:
            self.clients[name] = self.client_of(boto3.Session("test", "test", region_name=REGION), name)
        return self.clients[name]

    def client_of(self, session: boto3.Session, name: str) -> Any:
        config = Config(proxies={}, retries={"total_max_attempts": 1})
        client: Any = session.client
        return client(name, endpoint_url=self.endpoint_url, config=config, verify=self.certificate)
