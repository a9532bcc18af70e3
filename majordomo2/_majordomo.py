"""What users hold: an instance, and how to start one."""

from __future__ import annotations

import contextvars
import math
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import TypeAlias, TypeVar, TypeVarTuple, Unpack, cast, final, overload

import trio
from trio.lowlevel import enable_ki_protection

from . import _checks
from ._channel import Entry, ResultChannel
from ._events import Events, Observer, check_observers
from ._instance import Instance
from ._job import Job
from ._journal import Journal, Journaling, check_journal
from ._options import DEFAULTS, TaskOptions
from ._policy import Budget, check_limit
from ._pool import WorkerPool
from ._processes import Processes, check_processes
from ._runner import Runner
from ._statistics import Statistics
from ._stream import Mapping, Stream, check_key, check_source, default_room
from ._task import TaskResult, fresh_id
from .runners._inline import InlineRunner

Ts = TypeVarTuple("Ts")
A = TypeVar("A")
R = TypeVar("R")
Group: TypeAlias = BaseExceptionGroup[BaseException]


@final
class Majordomo:
    """Runs functions as tasks; made by `start_majordomo`.

    All methods belong to the Trio run in which the instance was started.
    """

    __slots__ = ("__weakref__", "_instance")

    def __init__(self, *instance: object) -> None:
        remedy = "write async with start_majordomo() as jarvis:"
        self._instance = _checks.made_by(Instance, instance, "a Majordomo", remedy)

    @property
    def id(self) -> str:
        """The name of the instance, such as "majordomo-1"; unique in the process."""
        return self._instance.id

    def __repr__(self) -> str:
        return f"<Majordomo {self._instance}>"

    @overload
    def add_task(self, job: Job[R], /) -> ResultChannel[R]: ...
    @overload
    def add_task(
        self,
        action: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[TaskOptions],
    ) -> ResultChannel[R]: ...
    @overload
    def add_task(
        self,
        action: Callable[[*Ts], R | Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[TaskOptions],
    ) -> ResultChannel[R]: ...
    def add_task(
        self, action: object, /, *args: object, **options: object
    ) -> ResultChannel[object]:
        """Add a task: a function and its arguments, or a job. Returns at once.

        Args:
            action: An async or plain function, or a `Job`.
            args: The function's arguments.
            options: `TaskOptions`. Those of a job are in the job.

        Raises:
            TypeError: Something is of the wrong type, or an option is unknown.
            ValueError: An option is out of range.
            MajordomoStopped: The instance takes no more tasks.
            RuntimeError: Called from another thread, or outside the Trio run.
        """
        return self._instance.add("add_task", action, args, options)

    @overload
    async def run(self, job: Job[R], /) -> TaskResult[R]: ...
    @overload
    async def run(
        self,
        action: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[TaskOptions],
    ) -> TaskResult[R]: ...
    @overload
    async def run(
        self,
        action: Callable[[*Ts], R | Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[TaskOptions],
    ) -> TaskResult[R]: ...
    async def run(
        self, action: object, /, *args: object, **options: object
    ) -> TaskResult[object]:
        """`add_task` and `receive`; if the caller is cancelled, so is the task.

        It returns, or lets `Cancelled` out, only when the action has ended.

        Raises:
            TypeError, ValueError, MajordomoStopped, RuntimeError: As `add_task` does.
        """
        return await _wait_for(self._instance.add("run", action, args, options))

    @overload
    async def get_task_data(self, job: Job[R], /) -> R: ...
    @overload
    async def get_task_data(
        self,
        action: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[TaskOptions],
    ) -> R: ...
    @overload
    async def get_task_data(
        self,
        action: Callable[[*Ts], R | Awaitable[R]],
        /,
        *args: *Ts,
        **options: Unpack[TaskOptions],
    ) -> R: ...
    async def get_task_data(
        self, action: object, /, *args: object, **options: object
    ) -> object:
        """The data of a success: `run`, then `Task.result`.

        Raises:
            TaskFailed: The task did not succeed; see `Task.result`.
            TypeError, ValueError, MajordomoStopped, RuntimeError: As `add_task` does.
        """
        channel = self._instance.add("get_task_data", action, args, options)
        return (await _wait_for(channel)).result()

    @enable_ki_protection
    @overload
    def map(
        self,
        action: Callable[[A], Awaitable[R]],
        source: Iterable[A] | AsyncIterable[A],
        /,
        *,
        ordered: bool = ...,
        max_in_flight: float | None = ...,
        key: Callable[[A], str | int] | None = ...,
        **options: Unpack[TaskOptions],
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskResult[R]], None]: ...
    @overload
    def map(
        self,
        action: Callable[[A], R | Awaitable[R]],
        source: Iterable[A] | AsyncIterable[A],
        /,
        *,
        ordered: bool = ...,
        max_in_flight: float | None = ...,
        key: Callable[[A], str | int] | None = ...,
        **options: Unpack[TaskOptions],
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskResult[R]], None]: ...
    def map(
        self,
        action: object,
        source: object,
        /,
        *,
        ordered: object = True,
        max_in_flight: object = None,
        key: object = None,
        **options: object,
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskResult[object]], None]:
        """Add a task for each item of a source, and go through the results.

        `async with jarvis.map(f, source) as results: async for task in results: ...`

        The source is read lazily, only as far as there is room: memory is O(in flight),
        also for an endless one. Leaving the block early cancels what is in flight, and
        closes the source. If the source raises, what was started is delivered first,
        then the error; after `stop`, the cancelled tasks, then `MajordomoStopped`. In an
        action of the same instance, to give up the wait for a result cancels what is in
        flight: one of them may have the slot that the action needs to go on.

        Args:
            action: An async or plain function of one argument.
            source: Any iterable (not a string), or async iterable.
            ordered: Results in the order of the source (the default), or as the tasks
                end.
            max_in_flight: How many tasks may be started whose result was not yet taken.
                Default: 2 for each worker, or 100 if `max_workers` is unlimited: what
                a worker works on, and what waits for it.
            key: What names an item: with `id="x"` the tasks are "x/" and `str(key(item))`.
                Default: its index, "x/0", "x/1", …: with a journal, only for a source
                that gives the same items in the same order each time.
            options: `TaskOptions`.

        Raises:
            TypeError: Something is of the wrong type, or an option is unknown.
            ValueError: An option is out of range.
            MajordomoStopped: The instance takes no more tasks.
            RuntimeError: Called from another thread, or outside the Trio run.
        """
        instance = self._instance
        instance.check_open("map")
        add = instance.adder(action, options, check_key(key))
        items = check_source(source)
        in_order = _checks.flag("ordered", ordered)
        room: float = default_room(instance.max_workers)
        if max_in_flight is not None:
            room = _checks.whole("max_in_flight", max_in_flight, least=1)
        make = partial(Stream, instance, add, items, room, ordered=in_order)
        return cast(
            "AbstractAsyncContextManager[AsyncIterator[TaskResult[object]], None]",
            Mapping(make, instance.check_open),
        )

    def statistics(self) -> Statistics:
        """How much there is to do, and what was done, at this moment."""
        return self._instance.statistics()

    def stop(self) -> None:
        """Cancel all tasks, now, and take no more. Idempotent.

        Queued tasks end as "cancelled" at once, running ones as soon as their action
        has ended; their channels yield that, with the last state. `finally` blocks of
        the actions run.

        Raises:
            RuntimeError: Called from another thread, or outside the Trio run.
        """
        self._instance.stop()

    async def drain(self, grace: float = math.inf) -> None:
        """Take no more tasks, and wait for those there.

        Args:
            grace: Seconds after which they are cancelled, as by `stop`. Default: never.

        Raises:
            TypeError, ValueError: `grace` is no number of seconds.
            RuntimeError: Called inside an action of this instance, which would wait for
                itself; from another thread; or outside the Trio run.
        """
        await self._instance.drain(_checks.seconds("grace", grace))


async def _wait_for(entry: Entry) -> TaskResult[object]:
    try:
        return await entry.receive_or(entry.give_up)
    except trio.Cancelled:
        entry.cancel()
        with trio.CancelScope(shield=True):
            await entry.receive()
        raise


class _Block(AbstractAsyncContextManager[Majordomo, None]):
    """The `async with` block of an instance."""

    def __init__(
        self,
        max_workers: float,
        budget: Budget | None,
        events: Events | None,
        processes: Processes,
        journal: tuple[Journal, Journaling] | None,
    ) -> None:
        self._journal = journal
        self._max_workers = max_workers
        self._budget = budget
        self._events = events
        self._processes = processes
        self._entered = False

    @enable_ki_protection
    async def __aenter__(self) -> Majordomo:
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "start_majordomo() needs a Trio run: write async def main(): async "
                "with start_majordomo() as jarvis: ..., then trio.run(main)"
            )
        if self._entered:
            raise RuntimeError(
                "this start_majordomo() was entered before: each block needs a "
                "start_majordomo() of its own"
            )
        self._entered = True
        now = trio.lowlevel.current_clock().current_time
        if self._journal is not None:
            from ._codec import codec_for  # noqa: PLC0415 - without one it is not wanted

            codec_for(pickled=self._journal[1].pickle)  # needs what may be missing
            await trio.to_thread.run_sync(self._journal[0].open)
        self._nursery_block = trio.open_nursery()
        nursery = await self._nursery_block.__aenter__()
        pool = WorkerPool(nursery, self._max_workers, self._budget, self._events, now)
        recorder = None
        if self._journal is not None:
            from ._recorder import Recorder  # noqa: PLC0415 - as above

            recorder = Recorder(*self._journal, pool)
        self._instance = Instance(pool, self._processes, recorder)
        return Majordomo(self._instance)

    @enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._instance.stop()
        self._instance.leave()
        try:
            # The nursery hears of a cancellation alone: an error of the body comes out
            # as it is, and not in a group.
            if _is_cancellation(error):
                await self._nursery_block.__aexit__(kind, error, traceback)
            else:
                await self._nursery_block.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if error is None:
                # Ctrl-C while the block waits comes in a group of one.
                only, *others = group.exceptions
                raise (group if others else only) from None
            # Otherwise the cancellation of the body goes on, as it is.
        finally:
            self._instance.finish()
            if self._journal is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._journal[0].close)
        self._instance.raise_fatal()


def _is_cancellation(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return cast("Group", error).subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


def start_majordomo(
    *,
    max_workers: float = math.inf,
    restart_limit: tuple[int, float] | None = None,
    observers: Iterable[Observer] = (),
    processes: Processes | None = None,
    journal: Journal | None = None,
    journaling: Journaling | None = None,
) -> AbstractAsyncContextManager[Majordomo, None]:
    """Start an instance, for the length of an `async with` block.

    Leaving the block waits for all tasks, as a nursery does. An exception in the body,
    or a cancellation from outside, cancels them; the body's exception comes out as it
    is. No task's failure cancels another or the instance.

    Args:
        max_workers: How many actions at once. Default: no limit, but for threads, of
            which there are at most 40 then, as in Trio, and for processes, of which
            there are as many as cores.
        restart_limit: At most so many restarts in any window of so many seconds, by all
            tasks together, first come, first served: against a storm of retries when a
            service is down. First attempts are not held up. Default: no limit.
        observers: Who hears what happens, see `majordomo2.abc.Observer`.
        processes: When the worker processes of `runner="process"` end, and what they
            send. Default: `Processes()`.
        journal: Where tasks that are given an `id=` are recorded, so that they go on
            where they were when the process has died; such as
            `majordomo2.journals.SQLiteJournal("work.db")`. Default: none.
        journaling: How it is kept. Default: `Journaling()`.

    Raises:
        TypeError: A parameter is of the wrong type.
        ValueError: One is out of range.
        RuntimeError: The block is entered outside a Trio run.
        JournalError: On entering the block: the journal can't be used. On leaving it: it
            could not be written any more, so that all tasks were cancelled.
        ModuleNotFoundError: On entering the block: a journal needs the extra `journal`.
    """
    return _Block(
        _checks.whole("max_workers", max_workers, least=1),
        check_limit(restart_limit),
        check_observers(observers),
        check_processes(processes),
        check_journal(journal, journaling),
    )


def task_return_value(value: R, /) -> ResultChannel[R]:
    """A channel that yields a success with this value, as if a task had returned it."""
    entry = Entry(
        _Nowhere(),
        fresh_id(),
        task_return_value,
        (value,),
        DEFAULTS,
        InlineRunner(),
        contextvars.Context(),
    )
    entry.attempts = 1
    entry.finish("success", value)
    return cast("ResultChannel[R]", entry)


class _Nowhere:
    """The home of a result that needed no instance."""

    thread = 0

    def check_caller(self, method: str, /) -> None:
        """Nothing is left to wait for or to cancel: anyone may."""

    def finished(self, entry: Entry, /) -> None:
        """It was, from the start."""

    def expired(self, entry: Entry, /) -> None:
        """It has no clock."""

    def slot_expected(self, change: int, /) -> None:
        """Nobody waited for it."""

    def lent(self, runner: Runner, change: int, /) -> None:
        """It has no action."""

    def abandoned(self, id: str, /) -> None:
        """It has no thread."""

    def abandoned_ended(self) -> None:
        """It has no thread."""

    def signalled(self, event: str, /, *args: object) -> None:
        """It has no action."""

    def check_unjournaled(self, id: str, /) -> None:
        """It has no action."""
