"""The receipt for a task, which is the engine's record of it as well.

One slotted object a task: no Trio task, channel or event until somebody waits.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from typing import (
    TYPE_CHECKING,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    final,
)

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task as TrioTask

from . import _log as log
from ._attempt import JournaledAttempt, LiveAttempt
from ._options import Options
from ._pipeline import Function, Stage
from ._runner import Runner
from ._signals import running, tidied_task
from ._task import UNSAVED, Task, TaskResult, TaskStatus, as_state, make_task
from ._watchdog import Watched

if TYPE_CHECKING:
    from ._codec import Codec  # which only a journal needs

T_co = TypeVar("T_co", covariant=True)
Reason: TypeAlias = Literal["timeout", "expired", "cancelled"]


class ResultChannel(Generic[T_co]):
    """Where the result of a task is received. Returned by `Majordomo.add_task`."""

    __slots__ = ()

    # Not abstract methods and a refusal in `__new__`: both would cost each task.
    def __init__(self, *_: object) -> None:
        remedy = "write jarvis.add_task(f, ...)"
        raise TypeError(f"a ResultChannel has no public constructor: {remedy}")

    @property
    def id(self) -> str:
        """The task's id."""
        raise NotImplementedError

    @property
    def done(self) -> bool:
        """Is the result there?"""
        raise NotImplementedError

    async def receive(self) -> TaskResult[T_co]:
        """Wait for the result: the same `Task` to every receiver, any number of times.

        A checkpoint. Cancelling it leaves the task alone.
        """
        raise NotImplementedError

    async def result(self) -> T_co:
        """Wait for the data of a success.

        Raises:
            TaskFailed: The task did not succeed; see `Task.result`.
        """
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel this one task: it ends as "cancelled".

        A queued task ends at once; an async action gets `Cancelled` at its next
        checkpoint; a thread is abandoned. An action that returns all the same has
        succeeded, and one whose cleanup raises has failed. A task that has ended is left
        as it is.

        Raises:
            RuntimeError: Called from another thread, or outside the Trio run.
        """
        raise NotImplementedError


class Home(Protocol):
    """What the record of a task asks of its instance.

    Attributes:
        thread: The identity of the thread that it lives in.
    """

    thread: int

    def check_caller(self, method: str, /) -> None: ...
    def finished(self, entry: Entry, /) -> None: ...
    def expired(self, entry: Entry, /) -> None: ...
    def slot_expected(self, change: int, /) -> None: ...
    def lent(self, runner: Runner, change: int, /) -> None: ...
    def abandoned(self, id: str, /) -> None: ...
    def abandoned_ended(self) -> None: ...
    def signalled(self, event: str, /, *args: object) -> None: ...
    def check_unjournaled(self, id: str, /) -> None: ...


class Known:
    """What a journal had of a task.

    Attributes:
        attempts: Those that count.
        saved: The state, or `UNSAVED`.
        ending: The status and data that it is to end with at once, if it is.
        recorded: Is this the end that is recorded already?
        claimed: Its next attempt is recorded, and has a slot.
    """

    __slots__ = ("attempts", "claimed", "ending", "recorded", "saved")

    def __init__(
        self,
        attempts: int = 0,
        saved: object = UNSAVED,
        ending: tuple[TaskStatus, object] | None = None,
        recorded: bool = False,
        claimed: bool = False,
    ) -> None:
        self.attempts = attempts
        self.saved = saved
        self.ending = ending
        self.recorded = recorded
        self.claimed = claimed


NOTHING_KNOWN = Known()


class Recorded(Protocol):
    """What is recorded of a task in a journal."""

    codec: Codec
    attempt: JournaledAttempt | None
    marked: bool

    def look_up(self, resume: Callable[[Known], None], /, *, starts: bool) -> None: ...
    async def started(self, number: int, /) -> None: ...
    def heard(self, now: float, /) -> None: ...
    def changed(self) -> None: ...
    async def until_durable(self) -> None: ...
    def wait_until_durable(self) -> None: ...
    def end(self, status: TaskStatus, data: object, /) -> None: ...


class Carrier:
    """Who has a task in hand: the queue, a worker, the parent of subtasks, …"""

    __slots__ = ()

    def cut_off(self, entry: Entry, reason: Reason, /) -> None:
        """Cancel it, or end it where it stands."""
        raise NotImplementedError

    def waits_for(self) -> Sequence[Entry]:
        """The tasks that must end before it goes on."""
        return ()


class Parent(Protocol):
    """Who is to hear of the end of a task."""

    def part_finished(self, part: Entry, /) -> None: ...


@final
class Entry(ResultChannel[object]):
    """A task in the engine, from `add_task` to its result."""

    __slots__ = (
        "_alarm",
        "_waiters",
        "action",
        "args",
        "attempts",
        "carrier",
        "clock",
        "context",
        "ending",
        "expires",
        "home",
        "name",
        "options",
        "parent",
        "recording",
        "runner",
        "salvage",
        "stages",
        "state",
        "subtasks",
    )

    def __init__(
        self,
        home: Home,
        id: str,
        action: Callable[..., object],
        args: tuple[object, ...],
        options: Options,
        runner: Runner,
        context: contextvars.Context,
    ) -> None:
        self.home = home
        self.name = id
        self.action = action
        self.args = args
        self.options = options
        self.runner = runner
        self.context = context
        self.stages: tuple[Stage, ...] = ()
        self.salvage: tuple[Function, ...] = ()
        self.parent: Parent | None = None
        self.recording: Recorded | None = None
        self.carrier: Carrier | None = None
        self.attempts = 0
        self.expires = math.inf
        self.clock: Watched | None = None
        self.state: object = UNSAVED
        self.subtasks: tuple[Task[object], ...] = ()
        self.ending: Task[object] | None = None
        self._waiters: dict[TrioTask, bool] | None = None
        self._alarm: _Unreceived | None = None

    def __repr__(self) -> str:
        status = "pending" if self.ending is None else self.ending.status
        return f"<ResultChannel {self.id!r} {status}>"

    @property
    def id(self) -> str:
        return self.name

    @property
    def done(self) -> bool:
        return self.ending is not None

    async def receive(self) -> TaskResult[object]:
        return await self.receive_or(None)

    def give_up(self) -> None:
        """Its caller waits no longer, and so it is cancelled."""
        if self.carrier is not None:
            self.carrier.cut_off(self, "cancelled")

    async def receive_or(
        self, given_up: Callable[[], None] | None
    ) -> TaskResult[object]:
        """`receive`, and what to do at once if that is cancelled.

        At once, and not when the caller goes on: it may have to wait for its slot, which
        this very task may have.
        """
        if self.ending is not None:
            await trio.lowlevel.checkpoint()
        else:
            if get_ident() != self.home.thread:
                self.home.check_caller("receive")
            if tidied_task.get() is self:
                raise RuntimeError(
                    f"a stage of {self.name} would wait for its own task: "
                    f"receive the result elsewhere"
                )
            attempt = running.get()
            if not (
                isinstance(attempt, LiveAttempt)
                and attempt.home is self.home
                and not attempt.over
            ):
                await self._wait(given_up, lends=False)
            else:
                wait = partial(self._wait, given_up, lends=True)
                await attempt.lender.lend_while(attempt, self, wait)
        if self._alarm is not None:
            self._alarm.task = None
            self._alarm = None
        return cast("TaskResult[object]", self.ending)

    async def _wait(self, given_up: Callable[[], None] | None, *, lends: bool) -> None:
        if self.ending is not None:  # who heard that the slot was lent has ended it
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        if self._waiters is None:
            self._waiters = {}
        waiters = self._waiters
        waiters[task] = lends

        def abort(_: RaiseCancelT) -> Abort:
            del waiters[task]
            if given_up is not None:
                given_up()
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if lends:
            self.home.slot_expected(-1)

    async def result(self) -> object:
        return (await self.receive()).result()

    def cancel(self) -> None:
        self.home.check_caller("cancel")
        if self.carrier is not None:
            self.carrier.cut_off(self, "cancelled")

    def end_without_worker(self, reason: Reason) -> None:
        """It was queued, or waited for its restart."""
        if reason == "expired":
            self.home.expired(self)
        else:
            self.finish("cancelled")

    @property
    def label(self) -> str:
        """Its name in the log: with thousands of tasks, an id says little."""
        return f"{self.name} ({getattr(self.action, '__qualname__', self.action)!s})"

    def last_state(self) -> object:
        return as_state(self.state)

    def finish(self, status: TaskStatus, data: object = UNSAVED) -> None:
        """The task has ended; with a journal, that is first made durable there."""
        if self.recording is None:
            self.conclude(status, data)
        else:
            self.recording.end(status, data)

    def conclude(self, status: TaskStatus, data: object = UNSAVED) -> None:
        """Tell who waits for the end, and let go of what the task was made of.

        Args:
            status: What became of it.
            data: Default: the last state.
        """
        state = self.last_state()
        data = state if data is UNSAVED else data
        self.ending = make_task(
            self.name, status, data, self.attempts, state, self.subtasks
        )
        self.home.finished(self)
        for task, lends in (self._waiters or {}).items():
            trio.lowlevel.reschedule(task)
            if lends:
                self.home.slot_expected(1)
        if self.parent is not None:
            self.parent.part_finished(self)
        elif not self._waiters and status in ("failure", "timeout"):
            self._alarm = _Unreceived(self.ending)
        del self.action, self.args, self.context, self.runner
        self.carrier = self.parent = self.clock = self.recording = None
        self.stages = self.salvage = ()


# What a user sees of it in errors.
Entry.__name__ = Entry.__qualname__ = "ResultChannel"


class _Unreceived:
    """Logs a task that did not succeed when the last one who could ask for it is gone."""

    __slots__ = ("task",)

    def __init__(self, task: Task[object]) -> None:
        self.task: Task[object] | None = task

    def __del__(self) -> None:
        if self.task is not None:
            log.unreceived(self.task)
