"""Functions as Lambda runs them, and threads as the services use them, in virtual time."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tools.simulator.alone import AwsAlone
from tools.simulator.functions import Environment, Function
from tools.simulator.virtual import STAGE, Condition, Event, Killed, Lock, Thread
from tools.simulator.wiring import ServiceWires

WIRES = ServiceWires(
    name="worker",
    environment={},
    memory_megabytes=512,
    timeout=20.0,
    inbox="inbox",
    dead_letters="dead",
    visibility=30.0,
    max_receives=3,
    batch_size=2,
    batch_window=0.0,
    concurrency=2,
    pattern={},
)
Handler = Callable[[list[str], Any], list[str]]  # the bodies, the context; returns the bodies that failed


@pytest.fixture(autouse=True)
def _no_simulation_afterwards() -> Iterator[None]:
    yield
    STAGE.set(None, random.Random(0))


class Stage:
    """A function that a queue feeds."""

    def __init__(self, handler: Handler) -> None:
        self.aws = AwsAlone()
        self.built = 0
        self.errors: list[Exception] = []
        self._handler = handler
        self.function = Function(
            WIRES,
            self.aws.queues["inbox"],
            self.aws.sqs,
            self.aws.effects,
            build=self._build,
            on_error=self.errors.append,
            chance=random.Random(1),
        )
        STAGE.set(self.aws.scheduler, random.Random(1))

    def _build(self, generation: int) -> Environment:
        self.built += 1

        def process(batch: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
            ids = {record["body"]: record["messageId"] for record in batch["Records"]}
            failed = self._handler(list(ids), context)
            return {"batchItemFailures": [{"itemIdentifier": ids[body]} for body in failed]}

        return Environment(process, 0.0, generation)

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.aws.sqs.send(self.aws.queues["inbox"], body)

    def left(self) -> list[str]:
        return [message.body for message in self.aws.queues["inbox"].messages.values()]


def test_unreported_messages_are_deleted_and_reported_ones_delivered_again() -> None:
    seen: list[str] = []

    def handler(bodies: list[str], context: Any) -> list[str]:
        seen.extend(bodies)
        return [body for body in bodies if body == "bad" and seen.count("bad") < 2]

    stage = Stage(handler)
    stage.send("good", "bad")
    stage.aws.pass_time(10)
    assert stage.left() == ["bad"]
    stage.aws.pass_time(30)
    assert stage.left() == []
    assert sorted(seen) == ["bad", "bad", "good"]


def test_no_more_invocations_run_at_once_than_the_event_source_allows() -> None:
    most: list[int] = []

    def handler(bodies: list[str], context: Any) -> list[str]:
        most.append(len(stage.function.running))
        STAGE.sleep(5)
        return []

    stage = Stage(handler)
    stage.send(*"abcdefghij")
    stage.aws.pass_time(100)
    assert stage.left() == []
    assert max(most) == WIRES.concurrency


def test_a_function_that_takes_too_long_is_killed_and_its_message_delivered_again() -> None:
    ended: list[str] = []

    def handler(bodies: list[str], context: Any) -> list[str]:
        assert context.get_remaining_time_in_millis() == 20_000
        STAGE.sleep(19)
        assert context.get_remaining_time_in_millis() == 1000
        STAGE.sleep(10)
        ended.append("never")
        return []

    stage = Stage(handler)
    stage.send("slow")
    stage.aws.pass_time(25)
    assert not stage.function.running
    assert stage.left() == ["slow"]
    stage.aws.pass_time(100)
    assert stage.left() == []
    assert [letter.body for letter in stage.aws.dead.messages.values()] == ["slow"]
    assert not ended
    assert stage.built == 3, "the environment of a killed function isn't used again"


def test_an_environment_is_reused_until_the_function_is_redeployed() -> None:
    stage = Stage(lambda bodies, context: [])
    stage.send("a")
    stage.aws.pass_time(5)
    stage.send("b")
    stage.aws.pass_time(5)
    assert stage.built == 1
    stage.function.redeploy()
    stage.send("c")
    stage.aws.pass_time(5)
    assert stage.built == 2


def test_an_error_of_a_handler_returns_the_whole_batch() -> None:
    def handler(bodies: list[str], context: Any) -> list[str]:
        raise RuntimeError("broken")

    stage = Stage(handler)
    stage.send("a")
    stage.aws.pass_time(5)
    assert stage.left() == ["a"]
    assert [str(error) for error in stage.errors] == ["broken"]


class TestThreads:
    @pytest.fixture
    def aws(self) -> AwsAlone:
        aws = AwsAlone()
        STAGE.set(aws.scheduler, random.Random(1))
        return aws

    def test_threads_wait_side_by_side(self, aws: AwsAlone) -> None:
        began = aws.scheduler.now

        def work() -> float:
            threads = [Thread(target=lambda seconds=seconds: STAGE.sleep(seconds)) for seconds in (3.0, 5.0)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return aws.scheduler.now - began

        assert aws.do(work) == 5.0

    def test_an_event_ends_a_wait_or_time_does(self, aws: AwsAlone) -> None:
        event = Event()

        def work() -> list[tuple[bool, float]]:
            began = aws.scheduler.now
            first = event.wait(2.0), aws.scheduler.now - began
            Thread(target=event.set).start()
            return [first, (event.wait(60.0), aws.scheduler.now - began)]

        assert aws.do(work) == [(False, 2.0), (True, 2.0)]

    def test_a_lock_is_held_by_one(self, aws: AwsAlone) -> None:
        lock, inside, most = Lock(), [0], [0]

        def work() -> None:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                STAGE.sleep(1)
                inside[0] -= 1

        aws.all_at_once(work, work, work)
        assert most == [1]

    def test_a_condition_wakes_those_who_wait(self, aws: AwsAlone) -> None:
        condition, ready, woken = Condition(), [False], [0]

        def wait() -> None:
            with condition:
                while not ready[0]:
                    condition.wait()
                woken[0] += 1

        def announce() -> None:
            STAGE.sleep(1)
            with condition:
                ready[0] = True
                condition.notify_all()

        aws.all_at_once(wait, wait, announce)
        assert woken == [2]

    def test_a_killed_process_ends_all_its_threads(self, aws: AwsAlone) -> None:
        continued: list[str] = []

        def other() -> None:
            STAGE.sleep(5)
            continued.append("other")

        def work() -> None:
            Thread(target=other).start()
            STAGE.sleep(1)
            try:
                aws.scheduler.kill(aws.scheduler.running().process)
            except Killed:
                STAGE.sleep(1)
                continued.append("own")

        aws.all_at_once(work)
        aws.pass_time(10)
        assert not continued
