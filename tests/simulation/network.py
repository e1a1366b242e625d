"""What stands in for the network: the HTTP sessions and wires of the services lead to the simulated GoPro."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self

import requests

from tests.simulation.gopro import Body, GoPro, Lost, Response
from tests.simulation.virtual import SimulatorError


class Cloud:
    """The GoPro of the run that is on, and the error that a broken connection is."""

    gopro: GoPro | None = None
    connection_lost: type[Exception] = Exception

    def current(self) -> GoPro:
        if self.gopro is None:
            raise SimulatorError("there is no simulated GoPro")
        return self.gopro


CLOUD = Cloud()


class Session:
    """`requests.Session`, as far as GoPro's client uses it."""

    def __init__(self) -> None:
        self.trust_env = True
        self.headers: dict[str, Any] = {}
        self.cookies = SimpleNamespace(clear=lambda: None)

    def request(self, method: str, url: str, **request: Any) -> Response:
        return CLOUD.current().request(method, url, **request)


REQUESTS = SimpleNamespace(Session=Session, RequestException=requests.RequestException)


class Wire:
    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds

    def get(self, url: str, headers: Mapping[str, str]) -> Body:
        try:
            return CLOUD.current().open(url, headers, self._stall_seconds)
        except Lost:
            raise CLOUD.connection_lost("no answer from the origin") from None


class WirePool:
    """The transfer engine's pool of connections."""

    def __init__(self, pace: Any) -> None:
        self._stall_seconds = float(pace.seconds)

    def take(self) -> Wire:
        return Wire(self._stall_seconds)

    def give_back(self, wire: Wire) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
