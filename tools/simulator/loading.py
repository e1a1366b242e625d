"""Loads the services' modules, unchanged, with virtual time, threads and network in place of the real ones.

The modules are imported anew while stand-ins replace some libraries, so that all other users of the libraries and of
the services are unaffected. A few limits are reduced, so that a file of some bytes has several parts.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from tools.simulator import network
from tools.simulator.virtual import VirtualRandom, VirtualThreading, VirtualTime, VirtualUuid
from tools.simulator.wiring import wires

# Bytes instead of mebibytes: parts of 5 to 32 bytes, in segments of 4.
_SMALL: Mapping[tuple[str, str], Any] = {
    ("services.downloader.download", "SMALL"): 8,
    ("services.downloader.transfer.bucket", "MIB"): 1,
    ("services.downloader.transfer.bucket", "SMALLEST_PART"): 5,
    ("services.downloader.transfer.bucket", "_USUAL_PARTS"): (5, 8, 10, 15, 16, 20, 25, 32),
    ("services.downloader.transfer.connections", "_LEAST_BYTES"): 2,
    ("services.downloader.transfer.parts", "SMALLEST_SEGMENT"): 4,
    ("services.downloader.transfer.parts", "_LOOK_BYTES"): 4,
}
SMALLEST_PART = 5


class Log:
    """The logger of all services. `sink` receives the event name and the fields of each line."""

    def __init__(self) -> None:
        self.sink: Callable[[str, Mapping[str, Any]], None] | None = None

    def _write(self, event: str, /, **more: Any) -> None:
        if self.sink:
            self.sink(event, more)

    debug = info = warning = error = _write
    registered_handler = SimpleNamespace(setLevel=lambda _: None)

    @contextmanager
    def append_context_keys(self, **keys: Any) -> Iterator[None]:
        yield

    def inject_lambda_context(self, **_: Any) -> Callable[[Any], Any]:
        return lambda handler: handler


LOG = Log()


class _Quiet:
    """A tracer or metrics object that does nothing: decorated functions stay as they are, and records are dropped."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *given, **_: given[0] if given else None


class _NoSession:
    """The boto3 session at the import of a handler; each execution environment builds its own clients later."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: mock.MagicMock()


_STAND_INS: Mapping[str, Any] = {
    "aws_lambda_powertools": SimpleNamespace(
        Logger=lambda **_: LOG, Tracer=lambda **_: _Quiet(), Metrics=lambda **_: _Quiet()
    ),
    "boto3": SimpleNamespace(Session=_NoSession),
    "random": VirtualRandom,
    "requests": network.REQUESTS,
    "threading": VirtualThreading,
    "time": VirtualTime,
    "uuid": VirtualUuid,
}


class Services:
    """The services' modules, by name below `services`."""

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = modules

    def __getitem__(self, name: str) -> Any:
        return self._modules[f"services.{name}"]

    def set_page_size(self, size: int) -> None:
        """Set how many media a page of the listing has."""
        self["lister.reactions"].PAGE_SIZE = size


@cache
def services() -> Services:
    """Return the services, imported for the simulation."""
    others = _take_out()
    try:
        with mock.patch("boto3.Session", _NoSession):
            _import_handlers()  # loads the required libraries: none may be loaded among stand-ins
        _take_out()
        with mock.patch.dict(sys.modules, _STAND_INS):
            _import_handlers()
            modules = _take_out()
    finally:
        _take_out()
        sys.modules.update(others)
    for (module, name), value in _SMALL.items():
        if not hasattr(modules[module], name):
            raise RuntimeError(f"{module} has no {name} any more")
        setattr(modules[module], name, value)
    modules["services.downloader.transfer.connections"].Connection = network.Connection  # type: ignore[attr-defined]
    network.CLOUD.connection_lost = modules["services.downloader.transfer.errors"].ConnectionLost
    return Services(modules)


def _take_out() -> dict[str, ModuleType]:
    """Remove all modules of the services from `sys.modules`."""
    ours = [name for name in sys.modules if name == "services" or name.startswith("services.")]
    return {name: sys.modules.pop(name) for name in ours}


def _import_handlers() -> None:
    logs: Any = importlib.import_module("services.shared.logs")
    logs.quiet_libraries = lambda: None  # they are other tests' libraries, too
    for name, service in wires().services.items():
        with mock.patch.dict(os.environ, {**service.environment, "POWERTOOLS_TRACE_DISABLED": "1"}):
            importlib.import_module(f"services.{name}.handler")
