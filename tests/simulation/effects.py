"""The boundary between a function and the world: everything that it does to others, or asks them, passes here."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from tests.simulation.faults import AWS, Fault, Faults, boundary
from tests.simulation.trace import Trace
from tests.simulation.virtual import Killed, Scheduler, SimulatorError

_T = TypeVar("_T")


def refusal(code: str, operation: str, message: str = "", **more: Any) -> ClientError:
    """An error as boto3 raises it."""
    kind = ConditionalCheckFailedException if code == "ConditionalCheckFailedException" else ClientError
    response: Any = {"Error": {"Code": code, "Message": message or code}, **more}
    return kind(response, operation)


class ConditionalCheckFailedException(ClientError):
    """What `client.exceptions.ConditionalCheckFailedException` is."""


class Effects:
    """Makes each effect take time, and lets faults strike at it."""

    def __init__(self, scheduler: Scheduler, faults: Faults, trace: Trace, latency: random.Random) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.trace = trace
        self.latency = latency.random
        self.boundaries: Counter[str] = Counter()  # those at which functions were killed
        self.killed: set[str] = set()  # the processes that were

    def call(
        self,
        operation: str,
        subject: str,
        apply: Callable[[], _T],
        *,
        kinds: tuple[Fault, ...] = AWS,
        codes: tuple[str, ...] = ("ThrottlingException", "InternalServerError"),
    ) -> _T:
        """What a call of AWS comes to. `apply` does it at once; it raises what AWS refuses."""
        self.scheduler.wait(0.004 + 0.04 * self.latency())
        fault = self.faults.strike(kinds, operation, subject)
        if fault is None:
            return self._apply(operation, subject, apply)
        chance = self.faults.chance()
        if fault is Fault.KILL_BEFORE:
            self.kill(operation, subject, fault)
        if fault is Fault.SLOW or fault is Fault.FREEZE:
            self.linger(operation, subject, fault, chance)
            return self._apply(operation, subject, apply)
        if fault is Fault.REFUSED:
            code = chance.choice(codes)
            self.trace.add(operation, subject, code)
            raise refusal(code, operation.rpartition(".")[2])
        self._apply(operation, subject, apply)
        if fault is Fault.KILL_AFTER:
            self.kill(operation, subject, fault)
        self.trace.add(operation, subject, fault)
        if fault is Fault.LOST_ANSWER:
            self.scheduler.wait(0.05 + chance.random())
            return self._apply(operation, subject, apply)
        if fault is Fault.NO_ANSWER:
            self.scheduler.wait(60 * chance.random())
            raise ReadTimeoutError(endpoint_url="https://aws.example")
        raise SimulatorError(f"{fault} can't strike at {operation}")

    def kill(self, operation: str, subject: str, fault: Fault) -> NoReturn:
        self.trace.add(operation, subject, fault)
        self.boundaries[boundary(operation, fault)] += 1
        process = self.scheduler.running().process
        self.killed.add(process.name)
        self.scheduler.kill(process)
        raise Killed

    def linger(self, operation: str, subject: str, fault: Fault, chance: random.Random) -> None:
        """Lets time pass: for this call, or for the whole process."""
        longest = 60.0 if fault is Fault.SLOW else chance.choice((90.0, 250.0, 600.0))
        seconds = longest * (0.1 + 0.9 * chance.random())
        self.trace.add(operation, subject, f"{fault}: {seconds:.0f} s")
        if fault is Fault.FREEZE:
            self.scheduler.running().process.frozen_until = self.scheduler.now + seconds
        self.scheduler.wait(seconds)

    def _apply(self, operation: str, subject: str, apply: Callable[[], _T]) -> _T:
        if self.scheduler.running().process.dead:
            raise Killed
        try:
            result = apply()
        except ClientError as error:
            self.trace.add(operation, subject, str(error.response["Error"].get("Code")))
            raise
        except BotoCoreError:
            raise
        except (Killed, SimulatorError):
            raise
        except Exception as error:
            raise SimulatorError(f"{operation} of {subject}: {type(error).__name__}: {error}") from error
        self.trace.add(operation, subject, "")
        return result


class Client:
    """A simulated client: what it can't do, no service may ask of it."""

    def __getattr__(self, name: str) -> Any:
        raise SimulatorError(f"the simulated {type(self).__name__} has no {name}")
