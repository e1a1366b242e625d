"""Lambda: functions that an event source invokes with the messages of a queue, in reusable environments."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.simulator.effects import Effects
from tools.simulator.faults import Fault
from tools.simulator.queues import Message, Queue, Sqs
from tools.simulator.virtual import Process, SimulatorError
from tools.simulator.wiring import ServiceWires


@dataclass
class Environment:
    """An execution environment: the objects that a handler has built and keeps between invocations."""

    process_batch: Callable[[Mapping[str, Any], Any], Mapping[str, Any]]
    skew: float
    generation: int


class Context:
    """The parts of Lambda's context object that the services use."""

    def __init__(self, remaining: Callable[[], float]) -> None:
        self._remaining = remaining

    def get_remaining_time_in_millis(self) -> int:
        return int(self._remaining() * 1000)


class Function:
    """A function and its event source."""

    def __init__(
        self,
        wires: ServiceWires,
        queue: Queue,
        sqs: Sqs,
        effects: Effects,
        *,
        build: Callable[[int], Environment],
        on_error: Callable[[Exception], None],
        chance: random.Random,
    ) -> None:
        """Create a function.

        `build` creates an environment of a generation; `on_error` receives an exception that a handler let escape.
        """
        self.wires = wires
        self.queue = queue
        self.running: list[Process] = []
        self.processes: list[Process] = []  # all that still run, and some that have ended
        self._started = 0
        self._swept = 0  # how many remained after the last sweep of ended processes
        self.generation = 0
        self._sqs = sqs
        self._effects = effects
        self._build = build
        self._on_error = on_error
        self._chance = chance
        self._warm: list[Environment] = []
        self._polling = False
        queue.on_visible = self._look_at

    def redeploy(self) -> None:
        """Use new environments from now on; running invocations finish in the old ones."""
        self.generation += 1
        self._warm.clear()

    def _look_at(self, moment: float) -> None:
        self._effects.scheduler.at(moment, self._poll_soon)

    def _poll_soon(self) -> None:
        if not self._polling:
            self._polling = True
            self._effects.scheduler.after(self._chance.random() * (0.05 + self.wires.batch_window), self._poll)

    def _poll(self) -> None:
        self._polling = False
        while len(self.running) < self.wires.concurrency:
            messages = self._sqs.receive(self.queue, self.wires.batch_size, self._chance.shuffle)
            if not messages:
                return
            self._start(messages)

    def _start(self, messages: list[Message]) -> None:
        scheduler = self._effects.scheduler
        environment = self._warm.pop() if self._warm else self._build(self.generation)
        self._started += 1
        process = Process(f"{self.wires.name}#{self._started}", skew=environment.skew, began=scheduler.now)
        self._let_go()
        self.running.append(process)
        self.processes.append(process)
        until = scheduler.now + self.wires.timeout
        records = [sqs_record(m.id, m.body, handle=m.handle, receives=m.receives, sent_at=m.sent_at) for m in messages]
        received = {message.id: message.handle for message in messages}
        self._effects.trace.add(
            "lambda.start", f"{process.name} " + ", ".join(f"{m.id} (receive {m.receives})" for m in messages), ""
        )

        def run() -> None:
            answer: Mapping[str, Any] | None = None
            try:
                answer = environment.process_batch({"Records": records}, Context(lambda: until - scheduler.now))
            except Exception as error:  # noqa: BLE001  # Lambda reports it, and SQS redelivers the whole batch
                self._effects.trace.add("lambda.error", process.name, type(error).__name__)
                self._on_error(error)
            finally:
                self._end(process, environment, received, answer)

        scheduler.spawn(process, run)
        scheduler.at(until, self._time_out, process)

    def _let_go(self) -> None:
        """Drop the ended processes once there are many."""
        if len(self.processes) > 2 * self._swept + 100:
            self.processes = [process for process in self.processes if not process.ended]
            self._swept = len(self.processes)

    def _end(
        self,
        process: Process,
        environment: Environment,
        received: Mapping[str, str],
        answer: Mapping[str, Any] | None,
    ) -> None:
        self.running.remove(process)
        if answer is not None and not process.dead:
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            if not failed <= received.keys():
                raise SimulatorError("a failure is reported of a message that was not handed over")
            for message_id, handle in received.items():
                if message_id not in failed:
                    self._acknowledge(message_id, handle)
            self._effects.trace.add(
                "lambda.end", process.name, f"failed: {', '.join(sorted(failed))}" if failed else ""
            )
        if not process.dead and environment.generation == self.generation:
            self._warm.append(environment)
        process.dead = True
        self._look_at(self._effects.scheduler.now)

    def _acknowledge(self, message_id: str, handle: str) -> None:
        if self._effects.faults.strike((Fault.KEPT,), f"{self.wires.name} acknowledges"):
            self._effects.trace.add("sqs.delete", message_id, Fault.KEPT)
            return
        self._sqs.delete(self.queue, handle)

    def _time_out(self, process: Process) -> None:
        if process in self.running:
            self._effects.trace.add("lambda.timeout", process.name, "")
            self._effects.trace.reach("function timed out")
            self._effects.killed.add(process.name)
            self._effects.scheduler.kill(process)


def sqs_record(
    message_id: str, body: str, *, handle: str = "handle", receives: int = 1, sent_at: float = 0.0
) -> dict[str, Any]:
    """Return a message as Lambda passes it to a function. `sent_at`: unix seconds."""
    return {
        "messageId": message_id,
        "receiptHandle": handle,
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(int(sent_at * 1000))},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:inbox",
        "awsRegion": "eu-central-1",
    }
