"""Who works, who waits: the queue of an instance and its workers."""

from __future__ import annotations

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

from ._channel import Entry
from ._task import TaskStatus
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
    """

    def __init__(
        self, nursery: trio.Nursery, max_workers: float, now: Callable[[], float]
    ) -> None:
        self.now = now
        self.watchdog = Watchdog(now)
        self.max_workers = max_workers
        self.queue: deque[Entry] = deque()
        self.running = 0
        self.active = 0
        self.fatal_errors: list[BaseException] = []
        self.nursery = nursery
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._closing = False

    def add(self, entry: Entry) -> None:
        """Start it now if a worker may, or queue it."""
        if self.queue or self.running >= self.max_workers or self.active >= BATCH:
            self.queue.append(entry)
        else:
            self.running += 1
            self._start(entry)

    def tidy(self, entry: Entry, status: TaskStatus, data: object) -> None:
        """Run the pipeline of a task that had no worker of its own."""
        worker = self._idle.pop() if self._idle else Worker(self)
        worker.begin_tidying(entry, status, data)
        self._launch(worker)

    def restart(self, entry: Entry) -> None:
        """Queue it again, behind the others."""
        self.queue.append(entry)

    def next_entry(self) -> Entry | None:
        """The next task that may start, with a slot for it."""
        while self.queue and self.running < self.max_workers:
            entry = self.queue.popleft()
            if entry.ending is None:  # not cancelled while it was queued
                self.running += 1
                return entry
        return None

    def away(self) -> None:
        """A worker goes into an action, and may be long."""
        self.active -= 1
        if not self.active and self.queue:
            self._fill()

    def back(self) -> None:
        """It has come back."""
        self.active += 1

    def slot_free(self) -> None:
        self.running -= 1

    def _fill(self) -> None:
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
        """Those of the tasks that are queued or running."""
        entries = [worker.entry for worker in self._workers]
        return {entry.name for entry in (*self.queue, *entries) if entry is not None}

    def gone(self, worker: Worker) -> None:
        self._workers.discard(worker)

    def fatal(self, error: BaseException) -> None:
        """An action raised what is no failure: it leaves the block and cancels it."""
        self.fatal_errors.append(error)
        self.nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Cancel everything; queued tasks end at once."""
        queue, self.queue = self.queue, deque()
        for entry in queue:
            if entry.ending is None:
                entry.finish("cancelled")
        for worker in tuple(self._workers):
            if worker.entry is not None:
                worker.cut_off("cancelled")

    def close(self) -> None:
        """Let go of the workers as they become idle."""
        self._closing = True
        idle, self._idle = self._idle, []
        for worker in idle:
            assert worker.task is not None
            reschedule(worker.task)
