"""A client's view of a started embedded AWS."""

from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from ops.local.emulator import REGION


@dataclass
class EmbeddedAws:
    endpoint_url: str
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, name: str) -> Any:
        if name not in self.clients:
            session = boto3.Session("test", "test", region_name=REGION)
            config = Config(proxies={}, retries={"total_max_attempts": 1})
            self.clients[name] = session.client(name, endpoint_url=self.endpoint_url, config=config)  # type: ignore[call-overload]
        return self.clients[name]
