"""The boundary between a function and the world: every call to another system passes through here."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from tools.simulator.faults import AWS, Fault, Faults, boundary
from tools.simulator.trace import Trace
from tools.simulator.virtual import Killed, Scheduler, SimulatorError

_T = TypeVar("_T")


def refusal(code: str, operation: str, message: str = "", **more: Any) -> ClientError:
    """Return an error as boto3 raises it."""
    kind = ConditionalCheckFailedException if code == "ConditionalCheckFailedException" else ClientError
    response: Any = {"Error": {"Code": code, "Message": message or code}, **more}
    return kind(response, operation)


class ConditionalCheckFailedException(ClientError):
    """Stands in for `client.exceptions.ConditionalCheckFailedException`."""


class Effects:
    """Gives each effect a duration, and lets faults strike it."""

    def __init__(self, scheduler: Scheduler, faults: Faults, trace: Trace, latency: random.Random) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.trace = trace
        self.latency = latency.random
        self.boundaries: Counter[str] = Counter()  # number of kills at each boundary
        self.killed: set[str] = set()  # names of the killed processes

    def call(
        self,
        operation: str,
        subject: str,
        apply: Callable[[], _T],
        *,
        kinds: tuple[Fault, ...] = AWS,
        codes: tuple[str, ...] = ("ThrottlingException", "InternalServerError"),
    ) -> _T:
        """Call AWS, with faults, and return the result.

        `apply` does the work at once, and raises the error when AWS refuses.
        """
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
        """Let time pass: for this call, or for the whole process."""
        longest = 60.0 if fault is Fault.SLOW else chance.choice((90.0, 250.0, 600.0))
        seconds = self.faults.seconds or longest * (0.1 + 0.9 * chance.random())
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
    """A simulated client. A service that uses a missing operation fails the run."""

    def __getattr__(self, name: str) -> Any:
        raise SimulatorError(f"the simulated {type(self).__name__} has no {name}")
