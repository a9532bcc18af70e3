"""An instance: a Trio nursery that takes functions and gives back results."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import count
from threading import get_ident
from types import TracebackType
from typing import TypeAlias, TypeVar, TypeVarTuple, Unpack, cast, final, overload

import trio

from . import _checks
from ._channel import Entry, ResultChannel
from ._errors import MajordomoStopped
from ._job import Job, Work, work_of
from ._options import DEFAULTS, Options, TaskOptions, check_runner, checked
from ._parallel import Parallel
from ._pool import WorkerPool
from ._runner import Runner, RunnerName
from ._signals import running
from ._task import TaskResult, fresh_id
from .runners._async import AsyncRunner
from .runners._inline import InlineRunner
from .runners._thread import ThreadRunner

Ts = TypeVarTuple("Ts")
R = TypeVar("R")

# As many threads at once as Trio allows by default, where `max_workers` says nothing.
THREADS = 40

_numbers = count(1)
Group: TypeAlias = BaseExceptionGroup[BaseException]


@final
class Majordomo:
    """Runs functions as tasks; made by `start_majordomo`.

    All methods belong to the Trio run in which the instance was started.
    """

    def __init__(self, pool: WorkerPool, /) -> None:
        remedy = "write async with start_majordomo() as jarvis:"
        _checks.made_by(WorkerPool, pool, "a Majordomo", remedy)
        unlimited = math.isinf(pool.max_workers)
        threads = THREADS if unlimited else int(pool.max_workers)
        self._id = f"majordomo-{next(_numbers)}"
        self._pool = pool
        self._runners: dict[str, Runner] = {
            "async": AsyncRunner(),
            "inline": InlineRunner(),
            "thread": ThreadRunner(threads),
        }
        self._names: dict[str, Entry] = {}
        self._unfinished = 0
        self._leaving = False
        self._stopped: str | None = None
        self._thread = get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._quiet = trio.lowlevel.ParkingLot()

    @property
    def id(self) -> str:
        """The name of the instance: "majordomo-1", …, unique in the process."""
        return self._id

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else f"running={self._pool.running}"
        return f"<Majordomo {self._id!r} {state} queued={len(self._pool.queue)}>"

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
        return self._add("add_task", action, args, options)

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
        return await _wait_for(self._add("run", action, args, options))

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
        channel = self._add("get_task_data", action, args, options)
        return (await _wait_for(channel)).result()

    def stop(self) -> None:
        """Cancel all tasks, now, and take no more. Idempotent.

        Queued tasks end as "cancelled" at once, running ones as soon as their action
        has ended; their channels yield that, with the last state. `finally` blocks of
        the actions run.

        Raises:
            RuntimeError: Called from another thread, or outside the Trio run.
        """
        self.check_caller("stop")
        if self._stopped is None:
            self._stopped = "was stopped"
        self._pool.stop()

    async def drain(self, grace: float = math.inf) -> None:
        """Take no more tasks, and wait for those there.

        Args:
            grace: Seconds after which they are cancelled, as by `stop`. Default: never.

        Raises:
            TypeError, ValueError: `grace` is no number of seconds.
            RuntimeError: Called inside an action of this instance, which would wait for
                itself; from another thread; or outside the Trio run.
        """
        seconds = _checks.seconds("grace", grace)
        self.check_caller("drain")
        attempt = running.get()
        if attempt is not None and attempt.entry.home is self and not attempt.over:
            raise RuntimeError(
                f"drain() was called inside {attempt.id}, which it would wait for: "
                f"call it outside the actions of {self._id}, or stop() here"
            )
        if self._stopped is None:
            self._stopped = "was drained"
        with trio.move_on_after(seconds):
            await self._until_quiet()
        if self._unfinished:
            self._pool.stop()
            await self._until_quiet()

    async def _until_quiet(self) -> None:
        if self._unfinished:
            await self._quiet.park()
        else:
            await trio.lowlevel.checkpoint()

    def check_caller(self, method: str, /) -> None:
        """Called in the instance's own thread and Trio run?"""
        if get_ident() != self._thread or not trio.lowlevel.in_trio_run():
            raise _misplaced(self, method, self._token)

    def _add(
        self,
        method: str,
        action: object,
        args: tuple[object, ...],
        options: dict[str, object],
    ) -> Entry:
        if get_ident() != self._thread or self._stopped is not None:
            raise self._refusal(method)
        if isinstance(action, Job):
            _check_alone(method, args, options)
            return self._add_job(work_of(cast("Job[object]", action)))
        _checks.function(method, "action", action)
        function = cast("Callable[..., object]", action)
        given = checked(method, options) if options else DEFAULTS
        entry = self._entry(function, args, given)
        if not self._is_rejected(entry):
            self._pool.add(entry)
        return entry

    def _add_job(self, work: Work) -> Entry:
        entry = self._entry(work.action, work.args, work.options)
        entry.stages, entry.salvage = work.stages, work.salvages
        if self._is_rejected(entry):
            return entry
        if not work.parallel:
            self._pool.add(entry)
            return entry
        options = replace(work.options, id=None)
        parts = [self._entry(work.action, (arg,), options) for arg in work.args]
        Parallel(self._pool, entry, parts)
        for part in parts:
            self._pool.add(part)
        return entry

    def _entry(
        self,
        action: Callable[..., object],
        args: tuple[object, ...],
        options: Options,
    ) -> Entry:
        runner = self._runner(action, options.runner)
        context = options.context
        entry = Entry(
            self,
            fresh_id() if options.id is None else options.id,
            action,
            args,
            options,
            runner,
            contextvars.copy_context() if context is None else context.copy(),
        )
        self._unfinished += 1
        return entry

    def _runner(
        self, action: Callable[..., object], wanted: RunnerName | Runner
    ) -> Runner:
        if wanted == "auto":
            wanted = "async" if _checks.is_async(action) else "thread"
        if wanted != "async" or not _checks.is_async(action):
            check_runner(wanted, action)
        return self._runners[wanted] if isinstance(wanted, str) else wanted

    def _is_rejected(self, entry: Entry) -> bool:
        if entry.options.id is None:
            return False
        if entry.name in self._names:
            entry.finish("rejected")
            return True
        self._names[entry.name] = entry
        return False

    def finished(self, entry: Entry) -> None:
        """A task has ended."""
        if self._names.get(entry.name) is entry:
            del self._names[entry.name]
        self._unfinished -= 1
        if not self._unfinished:
            self._quiet.unpark_all()
            if self._leaving:
                self._end()

    def _refusal(self, method: str) -> RuntimeError:
        if get_ident() != self._thread or not trio.lowlevel.in_trio_run():
            return _misplaced(self, method, self._token)
        if trio.lowlevel.current_trio_token() is not self._token:
            return _misplaced(self, method, self._token)
        return MajordomoStopped(
            f"{self._id} {self._stopped} and takes no more tasks: "
            f"start another with start_majordomo()"
        )

    def leave(self) -> None:
        """The block is left: the workers go when they are done."""
        self._leaving = True
        self._pool.close()
        if not self._unfinished:
            self._end()

    def _end(self) -> None:
        if self._stopped is None:
            self._stopped = "has ended"
        self._pool.watchdog.stop()

    def finish(self) -> None:
        """The nursery has ended: nothing runs any more, and nothing may wait for it."""
        self._end()
        self._pool.stop()

    def raise_fatal(self) -> None:
        """Raise what actions let out that is no failure, such as KeyboardInterrupt."""
        errors = self._pool.fatal_errors
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"actions of {self._id} let out", errors)


def _check_alone(
    method: str, args: tuple[object, ...], options: dict[str, object]
) -> None:
    if not args and not options:
        return
    given = f"the arguments {args!r}" if args else f"{next(iter(options))}="
    raise TypeError(
        f"{method}(job) takes nothing beside the job, not {given}: a job holds its "
        f"arguments and options; give them to job()"
    )


def _misplaced(
    jarvis: Majordomo, method: str, token: trio.lowlevel.TrioToken
) -> RuntimeError:
    """The error for a call from where the instance does not live."""
    call = f"jarvis.{method}"
    if not trio.lowlevel.in_trio_run():
        return RuntimeError(
            f"{method}() of {jarvis.id} was called outside its Trio run, or in another "
            f"thread: from a thread that Trio started, write "
            f"trio.from_thread.run_sync({call}, ...)"
        )
    return RuntimeError(
        f"{method}() of {jarvis.id} was called in another Trio run than its own: each "
        f"run needs its own start_majordomo(), or write "
        f"trio.from_thread.run_sync({call}, ..., trio_token=token), with the token of "
        f"the run that started it ({token!r})"
    )


async def _wait_for(entry: Entry) -> TaskResult[object]:
    try:
        return await entry.receive()
    except trio.Cancelled:
        entry.cancel()
        with trio.CancelScope(shield=True):
            await entry.receive()
        raise


class _Block(AbstractAsyncContextManager[Majordomo]):
    """The `async with` block of an instance."""

    def __init__(self, max_workers: float) -> None:
        self._max_workers = max_workers
        self._nursery_block = trio.open_nursery()

    async def __aenter__(self) -> Majordomo:
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "start_majordomo() needs a Trio run: write async def main(): async "
                "with start_majordomo() as jarvis: ..., then trio.run(main)"
            )
        nursery = await self._nursery_block.__aenter__()
        now = trio.lowlevel.current_clock().current_time
        self._jarvis = Majordomo(WorkerPool(nursery, self._max_workers, now))
        return self._jarvis

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is not None:
            self._jarvis.stop()
        self._jarvis.leave()
        try:
            # The nursery hears of a cancellation alone: an error of the body comes out
            # as it is, and not in a group.
            if _is_cancellation(error):
                absorbed = await self._nursery_block.__aexit__(kind, error, traceback)
            else:
                await self._nursery_block.__aexit__(None, None, None)
                absorbed = False
        except BaseExceptionGroup as group:
            if error is None:
                # Ctrl-C while the block waits comes in a group of one.
                only, *others = group.exceptions
                raise (group if others else only) from None
            absorbed = False  # the cancellation of the body goes on, as it is
        finally:
            self._jarvis.finish()
        self._jarvis.raise_fatal()
        return bool(absorbed)


def _is_cancellation(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return cast("Group", error).subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


def start_majordomo(
    *, max_workers: float = math.inf
) -> AbstractAsyncContextManager[Majordomo]:
    """Start an instance, for the length of an `async with` block.

    Leaving the block waits for all tasks, as a nursery does. An exception in the body,
    or a cancellation from outside, cancels them; the body's exception comes out as it
    is. No task's failure cancels another or the instance.

    Args:
        max_workers: How many actions at once. Default: no limit, but for threads, of
            which there are at most 40 then, as in Trio.

    Raises:
        TypeError: `max_workers` is no whole number.
        ValueError: It is less than 1.
        RuntimeError: The block is entered outside a Trio run.
    """
    return _Block(_checks.whole("max_workers", max_workers, least=1))


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

    def check_caller(self, method: str, /) -> None:
        """Nothing is left to wait for or to cancel: anyone may."""

    def finished(self, entry: Entry, /) -> None:
        """It was, from the start."""
