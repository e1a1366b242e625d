"""Virtual time, and tasks that take turns in it: stands in for the clock and for threads.

A task is a greenlet. It runs until it waits, and every wait ends at a moment of virtual time, so the order of all
effects depends only on those moments.
"""

import heapq
import random
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]


class Killed(BaseException):
    """The process of a task has been killed. None of the task's later effects takes place."""


class SimulatorError(BaseException):
    """The simulator has a bug, or lacks a requested feature. No service may swallow it."""


class Process:
    """The owner of tasks, which end with it: one invocation of a function."""

    def __init__(self, name: str, *, skew: float = 0.0, began: float = 0.0) -> None:
        self.name = name
        self.began = began
        self.skew = skew  # offset of its clock, in seconds
        self.dead = False
        self.frozen_until = 0.0
        self.tasks: list[Task] = []

    @property
    def ended(self) -> bool:
        """Return whether all its tasks have ended."""
        return all(task.done for task in self.tasks)


class Task:
    """A thread of execution that runs and waits, in turn with all others."""

    __slots__ = ("_scheduler", "_token", "done", "greenlet", "joining", "process")

    def __init__(self, scheduler: "Scheduler", process: Process, run: Callable[[], object]) -> None:
        self._scheduler = scheduler
        self._token = 0  # identifies the current wait; a wake-up for an earlier wait is ignored
        self.process = process
        self.done = False
        self.joining: list[Task] = []
        # A greenlet that ends switches to its parent, so every task's parent is the scheduler.
        self.greenlet = greenlet(lambda: self._run(run), parent=scheduler.hub)
        process.tasks.append(self)

    def _run(self, run: Callable[[], object]) -> None:
        try:
            run()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  # no caller exists that could handle it
            self._scheduler.broken = self._scheduler.broken or error
        finally:
            self.done = True
            for task in self.joining:
                self._scheduler.wake(task)

    def token(self) -> int:
        return self._token

    def resume(self, token: int) -> None:
        """Resume the task, if it is still in that wait."""
        if self.done or token != self._token:
            return
        process = self.process
        if process.frozen_until > self._scheduler.now and not process.dead:
            self._scheduler.at(process.frozen_until, self.resume, token)
            return
        self._token += 1
        self._scheduler.enter(self)

    def throw(self) -> None:
        """End the task at its current wait."""
        if not self.done and self.greenlet is not getcurrent():
            self._token += 1
            self._scheduler.enter(self, Killed())


class Scheduler:
    """Virtual time. Only one task runs at any moment."""

    def __init__(self, start: float) -> None:
        self.now = start
        self.current: Task | None = None
        self.broken: BaseException | None = None  # an exception that escaped from a task
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self.hub = getcurrent()

    def at(self, moment: float, call: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._due, (max(moment, self.now), self._count, call, args))

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.at(self.now + seconds, call, *args)

    def step(self) -> bool:
        """Run the next event; return False when there is none."""
        if not self._due:
            return False
        moment, _, call, args = heapq.heappop(self._due)
        self.now = moment
        call(*args)
        if self.broken:
            raise self.broken
        return True

    def spawn(self, process: Process, run: Callable[[], object]) -> Task:
        task = Task(self, process, run)
        self.at(self.now, task.resume, 0)
        return task

    def enter(self, task: Task, error: BaseException | None = None) -> None:
        self.current = task
        try:
            if error is None:
                task.greenlet.switch()
            else:
                task.greenlet.throw(error)
        finally:
            self.current = None

    def wait(self, seconds: float | None = None) -> None:
        """Suspend the current task until it is woken or the time has passed."""
        task = self.running()
        if task.process.dead:
            raise Killed
        if seconds is not None:
            self.at(self.now + max(0.0, seconds), task.resume, task.token())
        self.hub.switch()
        if task.process.dead:
            raise Killed

    def wake(self, task: Task) -> None:
        self.at(self.now, task.resume, task.token())

    def running(self) -> Task:
        if self.current is None:
            raise SimulatorError("something waits that is no task")
        return self.current

    def kill(self, process: Process) -> None:
        """Kill a process: none of its tasks has any effect from now on. Raises `Killed` in a task of that process."""
        process.dead = True
        for task in process.tasks:
            if not task.done and task is not self.current:
                self.at(self.now, task.throw)
        if self.current and self.current.process is process:
            raise Killed

    def close(self, processes: list[Process]) -> None:
        """Unwind all waiting tasks, so that none of them disturbs the next run."""
        for process in processes:
            process.dead = True
            for task in process.tasks:
                task.throw()
        self._due.clear()


class Stage:
    """Time, chance and threads as the services' modules see them: always those of the current run."""

    def __init__(self) -> None:
        self._scheduler: Scheduler | None = None
        self._chance = random.Random(0)

    def set(self, scheduler: Scheduler | None, chance: random.Random) -> None:
        self._scheduler, self._chance = scheduler, chance

    @property
    def active(self) -> bool:
        return self._scheduler is not None

    @property
    def scheduler(self) -> Scheduler:
        if self._scheduler is None:
            raise SimulatorError("there is no simulation under way")
        return self._scheduler

    def wall(self) -> float:
        """Return the time by the current process's clock."""
        scheduler = self.scheduler
        return scheduler.now + (scheduler.current.process.skew if scheduler.current else 0.0)

    def monotonic(self) -> float:
        return self.scheduler.now

    def sleep(self, seconds: float) -> None:
        self.scheduler.wait(seconds)

    def random(self) -> float:
        return self._chance.random()

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._chance.getrandbits(128), version=4)


STAGE = Stage()


class VirtualClock:
    """Stands in for the services' `Clock`."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(STAGE.wall(), UTC)

    monotonic = staticmethod(STAGE.monotonic)
    sleep = staticmethod(STAGE.sleep)
    jitter = staticmethod(STAGE.random)


class VirtualTime:
    """Stands in for the module `time`."""

    time = staticmethod(STAGE.wall)
    monotonic = staticmethod(STAGE.monotonic)
    sleep = staticmethod(STAGE.sleep)


class VirtualRandom:
    """Stands in for the module `random`."""

    random = staticmethod(STAGE.random)


class VirtualUuid:
    """Stands in for the module `uuid`."""

    UUID = uuid.UUID
    uuid5 = staticmethod(uuid.uuid5)
    uuid4 = staticmethod(STAGE.uuid4)


class Thread:
    """A thread of the process that starts it."""

    def __init__(
        self,
        target: Callable[..., object],
        name: str | None = None,
        args: tuple[Any, ...] = (),
        *,
        daemon: bool | None = None,
    ) -> None:
        self._run = lambda: target(*args)
        self._task: Task | None = None

    def start(self) -> None:
        scheduler = STAGE.scheduler
        self._task = scheduler.spawn(scheduler.running().process, self._run)

    def join(self, timeout: float | None = None) -> None:
        assert self._task is not None, "a thread is joined that was not started"
        if not self._task.done:
            self._task.joining.append(STAGE.scheduler.running())
            STAGE.scheduler.wait(timeout)
        elif STAGE.scheduler.running().process.dead:
            raise Killed


class Event:
    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            STAGE.scheduler.wake(task)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._waiting.append(STAGE.scheduler.running())
            STAGE.scheduler.wait(timeout)
        return self._set


class Lock:
    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[Task] = deque()

    def acquire(self, *, blocking: bool = True) -> bool:
        while self._held:
            if not blocking:
                return False
            self._waiting.append(STAGE.scheduler.running())
            STAGE.scheduler.wait()
        self._held = True
        return True

    def release(self) -> None:
        self._held = False
        if self._waiting:
            STAGE.scheduler.wake(self._waiting.popleft())

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class Condition(Lock):
    def __init__(self) -> None:
        super().__init__()
        self._sleeping: deque[Task] = deque()

    def wait(self, timeout: float | None = None) -> bool:
        task = STAGE.scheduler.running()
        self._sleeping.append(task)
        self.release()
        STAGE.scheduler.wait(timeout)
        notified = task not in self._sleeping
        if not notified:
            self._sleeping.remove(task)  # else a later notification would end another wait of the task
        self.acquire()
        return notified

    def notify(self, n: int = 1) -> None:
        for _ in range(min(n, len(self._sleeping))):
            STAGE.scheduler.wake(self._sleeping.popleft())

    def notify_all(self) -> None:
        self.notify(len(self._sleeping))


class VirtualThreading:
    """Stands in for the module `threading`."""

    Thread = Thread
    Event = Event
    Lock = Lock
    RLock = Lock
    Condition = Condition
