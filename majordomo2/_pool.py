"""Who works, who waits: the queue of an instance and its workers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextvars import Context

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    Task as TrioTask,
    reschedule,
    wait_task_rescheduled,
)

from ._admission import Admission
from ._channel import Entry
from ._events import Events
from ._policy import Budget
from ._task import TaskStatus
from ._waiting import Held, Later
from ._watchdog import Watchdog
from ._worker import Worker

# How many workers are on their way to the queue at the most, and how many are kept when
# there is nothing to do. A few tasks at each turn of the event loop share its cost; more
# only cost their own start.
BATCH = 16

_NOTHING = Context()


class WorkerPool:
    """Starts as many workers as the queue needs and `max_workers` allows.

    Attributes:
        running: Actions that have a slot.
        active: Workers that will look at the queue in this turn of the event loop or
            the next: those in no action and not parked. While one is, nobody else needs
            to be started; the last to go away into an action starts others.
        waiting: Tasks that wait for the moment of their restart, or for subtasks.
        restarts: How many restarts there were.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        max_workers: float,
        budget: Budget | None,
        events: Events | None,
        now: Callable[[], float],
    ) -> None:
        self.now = now
        self.watchdog = Watchdog(now)
        self.max_workers = max_workers
        self.events = events
        self.queue = Admission()
        self.running = 0
        self.expected = (
            0  # slots for those whose wait is over, and who will ask for one
        )
        self.active = 0
        self.waiting = 0
        self.restarts = 0
        self.fatal_errors: list[BaseException] = []
        self.nursery = nursery
        self._held = None if budget is None else Held(self, budget)
        self._later: set[Entry] = set()
        self._returning: deque[TrioTask] = deque()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._closing = False

    @property
    def in_hand(self) -> int:
        """Tasks in the hands of a worker: in their action, or their pipeline."""
        return sum(worker.entry is not None for worker in self._workers)

    def add(self, entry: Entry) -> None:
        """Start it now if a worker may, or queue it."""
        busy = self.running + self.expected
        if self.queue or busy >= self.max_workers or self.active >= BATCH:
            self.queue.put(entry)
        else:
            self.running += 1
            self._start(entry)

    def reserve(self) -> bool:
        """Keep a slot for one that is on its way here, if one is free."""
        if self.queue or self.running + self.expected >= self.max_workers:
            return False
        self.expected += 1
        return True

    def reserved_no_more(self) -> None:
        """It does not come, or not for its slot."""
        self.expected -= 1

    def start_reserved(self, entry: Entry) -> None:
        """It is here, and its attempt counts already: nobody goes before it."""
        self.expected -= 1
        if self.max_workers == math.inf:
            self.add(entry)  # nobody takes its slot, and a few workers do for many
        else:
            self.running += 1
            self._start(entry)

    @property
    def limits_restarts(self) -> bool:
        """Is there a budget for them?"""
        return self._held is not None

    def tidy(self, entry: Entry, status: TaskStatus, data: object) -> None:
        """Run the pipeline of a task that had no worker of its own."""
        worker = self._idle.pop() if self._idle else Worker(self)
        worker.begin_tidying(entry, status, data)
        self._launch(worker)

    def restart(self, entry: Entry, seconds: float) -> None:
        """Queue it again, behind the others, after so many seconds."""
        if seconds > 0:
            self._later.add(entry)
            Later(self, entry, self.now() + seconds)
        else:
            self.queue.put(entry)

    def ready(self, entry: Entry) -> None:
        """The time of its restart has come."""
        self.forget(entry)
        self.queue.put(entry)
        self.fill()

    def forget(self, entry: Entry) -> None:
        """It waits no longer for the time of its restart."""
        self._later.discard(entry)

    def next_entry(self) -> Entry | None:
        """The next task that may start, with a slot for it."""
        while self.running + self.expected < self.max_workers:
            entry = None if self._held is None else self._held.pop(self.queue.top())
            if entry is None:
                entry = self.queue.pop()
                if entry is None:
                    return None
                again = entry.attempts > 0
                if again and self._held is not None and not self._held.allows(entry):
                    continue
            self.running += 1
            return entry
        return None

    def away(self) -> None:
        """A worker goes into an action, and may be long."""
        self.active -= 1
        if not self.active and (self.queue.queued or self._held is not None):
            self.fill()

    def back(self) -> None:
        """It has come back."""
        self.active += 1

    def slot_free(self) -> None:
        """A slot is given back, or lent: first to those who had lent theirs."""
        if self._returning:
            reschedule(self._returning.popleft())
        else:
            self.running -= 1

    async def slot_back(self) -> None:
        """Take a slot back that was lent. Must not be cancelled."""
        if self.running < self.max_workers:
            self.running += 1
            return
        self._returning.append(trio.lowlevel.current_task())
        await wait_task_rescheduled(lambda _: Abort.FAILED)

    def fill(self) -> None:
        """Let tasks start that may, if no worker is on its way to them."""
        while self.active < BATCH:
            entry = self.next_entry()
            if entry is None:
                return
            self._start(entry)

    def _start(self, entry: Entry) -> None:
        worker = self._idle.pop() if self._idle else Worker(self)
        worker.begin(entry)
        self._launch(worker)

    def _launch(self, worker: Worker) -> None:
        assert worker.entry is not None
        self.active += 1
        if worker.task is not None:
            reschedule(worker.task)
            return
        self._workers.add(worker)
        # A new Trio task starts in a copy of the context it is started from.
        worker.entry.context.run(self.nursery.start_soon, worker.work)

    async def park(self, worker: Worker) -> bool:
        """Wait for something to do; False: there is nothing, the worker may go."""
        self.active -= 1
        if self._closing or len(self._idle) >= BATCH:
            return False
        self._idle.append(worker)
        assert worker.task is not None
        worker.task.context = _NOTHING  # the last attempt's would keep its values alive

        def abort(_: RaiseCancelT) -> Abort:
            self._idle.remove(worker)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        return worker.entry is not None

    def task_around(self) -> str | None:
        """The task here that the calling Trio task works for, if it does."""
        tasks = {worker.task: worker for worker in self._workers}
        task: TrioTask | None = trio.lowlevel.current_task()
        while task is not None:
            worker = tasks.get(task)
            if worker is not None and worker.entry is not None:
                return worker.entry.name
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return None

    def names(self) -> set[str]:
        """Those of the tasks that wait here or run."""
        entries = [worker.entry for worker in self._workers]
        return {
            entry.name for entry in (*self._waiting(), *entries) if entry is not None
        }

    def _waiting(self) -> list[Entry]:
        held = [] if self._held is None else self._held.all()
        return [*self.queue.all(), *held, *self._later]

    def gone(self, worker: Worker) -> None:
        self._workers.discard(worker)

    def fatal(self, error: BaseException) -> None:
        """An action raised what is no failure: it leaves the block and cancels it."""
        self.fatal_errors.append(error)
        self.nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Cancel everything; queued tasks end at once."""
        for entry in self._waiting():
            if entry.carrier is not None:
                entry.carrier.cut_off(entry, "cancelled")
        self._later.clear()
        for worker in tuple(self._workers):
            if worker.entry is not None:
                worker.cut_off(worker.entry, "cancelled")

    def close(self) -> None:
        """Let go of the workers as they become idle."""
        self._closing = True
        idle, self._idle = self._idle, []
        for worker in idle:
            assert worker.task is not None
            reschedule(worker.task)
