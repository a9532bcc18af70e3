"""runner="thread": a plain function in a thread, which is abandoned at its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import cast

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    current_task,
    current_trio_token,
    reschedule,
    wait_task_rescheduled,
)

from .. import _log as log
from .._checks import plain
from .._errors import AttemptOver
from .._runner import Attempt
from ._call import call
from ._places import take_place


class ThreadRunner:
    """Calls the function in a thread, which is kept for further calls.

    A thread can't be killed. When it is cut off it is abandoned: it gives its place to
    another, nothing that it does counts any more, and it stops at its next signal.

    Args:
        places: How many threads at once, not counting abandoned ones.
        nursery: Where the Trio tasks live that keep the threads.
    """

    def __init__(self, places: int, nursery: trio.Nursery) -> None:
        self._places = trio.Semaphore(places)
        self._nursery = nursery
        self._owed = 0
        self._idle: list[_Thread] = []

    def check(self, action: Callable[..., object], /) -> None:
        plain("thread", action)

    async def run(self, attempt: Attempt, /) -> object:
        await take_place(self._places)
        try:
            await attempt.ready()
            return await self._in_thread(attempt)
        finally:
            self._give_place_back()

    def lent(self, change: int) -> None:
        """One that waits for another task must not keep the place which that may need.

        Its return makes it one too many, until the next one ends.
        """
        if change > 0:
            self._give_place_back()
        else:
            self._owed += 1

    def _give_place_back(self) -> None:
        if self._owed:
            self._owed -= 1
        else:
            self._places.release()

    async def _in_thread(self, attempt: Attempt) -> object:
        thread = self._idle.pop() if self._idle else self._start()
        given = _Call(attempt)
        thread.inbox.put(given)

        def abandon(_: RaiseCancelT) -> Abort:
            if given.answered:  # it has returned, and what it returned is on its way
                return Abort.FAILED
            given.task = None
            thread.scope.cancel()
            attempt.leave_running()
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abandon)
        self._idle.append(thread)
        return given.result()

    def _start(self) -> _Thread:
        thread = _Thread()
        # The context of this call would live, with all it holds, as long as the thread.
        Context().run(self._nursery.start_soon, thread.keep)
        return thread

    def close(self) -> None:
        """Let go of the idle threads."""
        while self._idle:
            self._idle.pop().inbox.put(None)


class _NoLimit:
    """A capacity limiter that limits nothing: the runner counts its threads itself.

    Trio's own holds the place of an abandoned thread until it has ended, so that hung
    threads would use up the places of the healthy.
    """

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        pass

    def release_on_behalf_of(self, borrower: object) -> None:
        pass


_NO_LIMIT = cast("trio.CapacityLimiter", _NoLimit())


class _Thread:
    """One thread for one call after the other, as `trio.to_thread` has it for one.

    So `trio.from_thread` works in it; and a call costs no more than a message there and
    one back.
    """

    def __init__(self) -> None:
        self.inbox: SimpleQueue[_Call | None] = SimpleQueue()
        self.scope = trio.CancelScope()

    async def keep(self) -> None:
        try:
            with self.scope:
                await trio.to_thread.run_sync(
                    self._serve, abandon_on_cancel=True, limiter=_NO_LIMIT
                )
        finally:
            self.inbox.put(None)  # abandoned: the thread goes when its call is done

    def _serve(self) -> None:
        while (given := self.inbox.get()) is not None:
            given.answer()
            del given  # nothing of it is kept alive while the thread is idle


class _Call:
    """A call on its way to a thread and back.

    Attributes:
        task: The Trio task that waits; None if it waits no longer.
        answered: Has the function ended?
    """

    __slots__ = (
        "_attempt",
        "_context",
        "_error",
        "_token",
        "_value",
        "answered",
        "task",
    )

    def __init__(self, attempt: Attempt) -> None:
        self.task: trio.lowlevel.Task | None = current_task()
        self.answered = False
        self._attempt = attempt
        self._context = copy_context()
        self._token = current_trio_token()
        self._value: object = None
        self._error: BaseException | None = None

    def answer(self) -> None:
        """In the thread: call the function, and post what became of it."""
        threading.current_thread().name = self._attempt.id
        try:
            self._value = self._context.run(call, self._attempt)
        except BaseException as error:
            self._error = error
        self.answered = True
        with suppress(trio.RunFinishedError):  # long abandoned
            self._token.run_sync_soon(self._deliver)

    def _deliver(self) -> None:
        if self.task is not None:
            reschedule(self.task)
            return
        self._attempt.stopped_running()
        if not (self._error is None or isinstance(self._error, AttemptOver)):
            log.abandoned(self._attempt.id, self._error)

    def result(self) -> object:
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            self._error = None  # no cycle with its traceback
