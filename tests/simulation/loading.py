"""The services' modules, as they are, with virtual time and threads in place of the real ones.

They are imported anew, so that other tests of the same process keep theirs. Nothing of their source is changed: names
of modules that they import (`time`, `threading`, `random`, `uuid`, `datetime`) are bound to virtual ones, loggers to
one that the invariants read, and a few limits are made small, so that a file of some bytes has several parts.
"""

import datetime as dt
import importlib
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, Self
from unittest import mock

from aws_lambda_powertools.utilities.idempotency import base as idempotency
from aws_lambda_powertools.utilities.idempotency.persistence import base, datarecord, dynamodb

from tests.simulation import network
from tests.simulation.virtual import (
    STAGE,
    VirtualDatetime,
    VirtualRandom,
    VirtualThreading,
    VirtualTime,
    VirtualUuid,
)
from tests.simulation.wiring import Wires

_STAND_INS: Mapping[str, tuple[Any, Any]] = {
    "time": (time, VirtualTime),
    "threading": (threading, VirtualThreading),
    "random": (random, VirtualRandom),
    "uuid": (uuid, VirtualUuid),
    "datetime": (dt.datetime, VirtualDatetime),
}
_FUNCTIONS: Mapping[Any, Any] = {
    time.sleep: STAGE.sleep,
    time.monotonic: STAGE.monotonic,
    time.time: STAGE.wall,
    random.random: STAGE.random,
}

# Bytes where the services count mebibytes: parts of 5 to 16 bytes, in segments of 4.
_SMALL: Mapping[tuple[str, str], Any] = {
    ("services.downloader.transfer.limits", "MIB"): 1,
    ("services.downloader.transfer.limits", "SMALLEST_PART"): 5,
    ("services.downloader.transfer.limits", "_USUAL_PARTS"): (5, 8, 10, 15, 16, 20, 25, 32),
    ("services.downloader.transfer.parts", "SMALLEST_SEGMENT"): 4,
    ("services.downloader.transfer.copying", "SMALLEST_SEGMENT"): 4,
    ("services.downloader.transfer.reader", "_LOOK_BYTES"): 4,
}
SMALLEST_PART = 5


class Log:
    """What the services' loggers are bound to."""

    def __init__(self) -> None:
        self.sink: Callable[[str, str, Mapping[str, Any], BaseException | None], None] | None = None

    def _write(self, level: str, message: object, more: Mapping[str, Any], error: BaseException | None) -> None:
        if self.sink:
            self.sink(level, str(message), more, error)

    def debug(self, message: object, **more: Any) -> None:
        self._write("DEBUG", message, more, None)

    def info(self, message: object, **more: Any) -> None:
        self._write("INFO", message, more, None)

    def warning(self, message: object, *, exc_info: bool = False, **more: Any) -> None:
        self._write("WARNING", message, more, sys.exception() if exc_info else None)

    def error(self, message: object, *, exc_info: bool = False, **more: Any) -> None:
        self._write("ERROR", message, more, sys.exception() if exc_info else None)

    def exception(self, message: object, **more: Any) -> None:
        self._write("ERROR", message, more, sys.exception())

    @contextmanager
    def append_context_keys(self, **keys: Any) -> Iterator[None]:
        yield


LOG = Log()


class Services:
    """The modules of the services, by name below `services`."""

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = modules

    def __getitem__(self, name: str) -> Any:
        return self._modules[f"services.{name}"]


class _NoSession:
    """What a handler is given while it is imported; the real building comes with each execution environment."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: mock.MagicMock()


@cache
def services() -> Services:
    """The services, imported for the simulation."""
    from tests.simulation.wiring import wires  # noqa: PLC0415  # for its cache

    others = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_ours(name)}
    try:
        _import_handlers(wires())
        modules = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_ours(name)}
    finally:
        sys.modules.update(others)
    for module in modules.values():
        _bind(module)
    _make_small(modules)
    for module in (base, datarecord, dynamodb, idempotency):
        _powertools_time(module)
    return Services(modules)


def _is_ours(name: str) -> bool:
    return name == "services" or name.startswith("services.")


def _import_handlers(wires: Wires) -> None:
    tracing = {"POWERTOOLS_TRACE_DISABLED": "1", "AWS_DEFAULT_REGION": "eu-central-1"}
    for name, service in wires.services.items():
        with (
            mock.patch.dict(os.environ, {**service.environment, **tracing}),
            mock.patch("boto3.Session", _NoSession),
        ):
            importlib.import_module(f"services.{name}.handler")


def _bind(module: ModuleType) -> None:
    for name, (real, virtual) in _STAND_INS.items():
        if getattr(module, name, None) is real:
            setattr(module, name, virtual)
    if hasattr(module, "logger"):
        module.logger = LOG  # type: ignore[attr-defined]
    if hasattr(module, "metrics"):
        module.metrics = SimpleNamespace(add_metric=lambda **_: None)  # type: ignore[attr-defined]
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == module.__name__:
            _bind_defaults(value)


def _bind_defaults(value: Any) -> None:
    """Clocks and sleeps that are the defaults of arguments or fields."""
    if isinstance(value, FunctionType):
        _bind_function(value)
    elif isinstance(value, type):
        for member in vars(value).values():
            if isinstance(member, FunctionType):
                _bind_function(member)


def _bind_function(function: FunctionType) -> None:
    if function.__kwdefaults__:
        function.__kwdefaults__.update({name: _virtual(default) for name, default in function.__kwdefaults__.items()})
    if function.__defaults__:
        function.__defaults__ = tuple(_virtual(default) for default in function.__defaults__)
    for cell in function.__closure__ or ():  # where a dataclass keeps the factories of its fields
        if _virtual(cell.cell_contents) is not cell.cell_contents:
            cell.cell_contents = _virtual(cell.cell_contents)


def _virtual(value: Any) -> Any:
    try:
        return _FUNCTIONS.get(value, value)
    except TypeError:  # unhashable
        return value


def _make_small(modules: Mapping[str, ModuleType]) -> None:
    for (module, name), value in _SMALL.items():
        if not hasattr(modules[module], name):
            raise RuntimeError(f"{module} has no {name} any more")
        setattr(modules[module], name, value)
    modules["services.shared.inbox"].quiet_libraries = lambda: None  # type: ignore[attr-defined]
    modules["services.shared.gopro.client"].requests = network.REQUESTS  # type: ignore[attr-defined]
    modules["services.downloader.download"].WirePool = network.WirePool  # type: ignore[attr-defined]
    network.CLOUD.connection_lost = modules["services.downloader.transfer.wire"].ConnectionLost


def set_page_size(size: int) -> None:
    """How many media a page of the listing has."""
    services()["lister.listing"].Listing.__init__.__kwdefaults__["page_size"] = size


def _powertools_time(module: ModuleType) -> None:
    """Powertools asks its own `datetime`: virtual where a simulation is under way, as ever where none is."""
    module.dt = SimpleNamespace(datetime=_EitherDatetime, timedelta=dt.timedelta)  # type: ignore[attr-defined]


class _EitherDatetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(STAGE.wall() if STAGE.active else time.time(), tz)
