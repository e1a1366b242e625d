"""Stands in for the network: the services' HTTP sessions and connections lead to the simulated GoPro."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import requests

from tools.simulator.gopro import Body, GoPro, Lost, Response
from tools.simulator.virtual import SimulatorError


class Cloud:
    """The GoPro of the current run, and the exception for a broken connection."""

    gopro: GoPro | None = None
    connection_lost: type[Exception] = Exception

    def current(self) -> GoPro:
        if self.gopro is None:
            raise SimulatorError("there is no simulated GoPro")
        return self.gopro


CLOUD = Cloud()


class Session:
    """The part of `requests.Session` that GoPro's client uses."""

    def __init__(self) -> None:
        self.trust_env = True
        self.headers: dict[str, Any] = {}
        self.cookies = SimpleNamespace(clear=lambda: None)

    def request(self, method: str, url: str, **request: Any) -> Response:
        return CLOUD.current().request(method, url, **request)


# Stands in for the module `requests`.
REQUESTS = SimpleNamespace(Session=Session, RequestException=requests.RequestException, Response=requests.Response)


class Connection:
    """The transfer engine's connection."""

    def __init__(self, pace: Any, _: object) -> None:
        self._stall_seconds = float(pace.seconds)

    def get(self, url: str, headers: Mapping[str, str]) -> Body:
        try:
            return CLOUD.current().open(url, headers, self._stall_seconds)
        except Lost:
            raise CLOUD.connection_lost("no answer from the origin") from None

    def close(self) -> None:
        pass
