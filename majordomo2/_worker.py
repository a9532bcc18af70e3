"""A Trio task that runs attempts one after the other, and how each of them ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import trio
from trio.lowlevel import (
    Task as TrioTask,
    cancel_shielded_checkpoint,
    disable_ki_protection,
    enable_ki_protection,
)

from . import _log as log
from ._attempt import LiveAttempt, TaskEnded
from ._channel import Entry, Reason
from ._errors import AttemptOver, Raised
from ._pipeline import Function, Stage, piped, settled
from ._signals import running
from ._task import UNSAVED, TaskStatus
from ._watchdog import Watchdog

# How soon to look again at an attempt whose runner has not started it yet, with a
# keepalive of 0 seconds.
SOON = 0.001


class Pool(Protocol):
    """What a worker asks of its pool."""

    now: Callable[[], float]
    watchdog: Watchdog

    def next_entry(self) -> Entry | None: ...
    async def park(self, worker: Worker, /) -> bool: ...
    def away(self) -> None: ...
    def back(self) -> None: ...
    def slot_free(self) -> None: ...
    def restart(self, entry: Entry, /) -> None: ...
    def fatal(self, error: BaseException, /) -> None: ...
    def gone(self, worker: Worker, /) -> None: ...


class Worker:
    """Runs attempts in one cancel scope, which is renewed only after it was used.

    Its context is that of the attempt: set on the Trio task one step before the action
    starts, which gives the event loop its turn as well.

    Attributes:
        entry: The task in hand, if any.
        attempt: Its attempt; None while the result is being tidied.
        tidying: The status and data to tidy next.
        cut: Why the scope was cancelled, if it was.
    """

    __slots__ = (
        "attempt",
        "check_at",
        "cut",
        "entry",
        "period",
        "pool",
        "scope",
        "task",
        "tidying",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.task: TrioTask | None = None
        self.scope: trio.CancelScope | None = None
        self.entry: Entry | None = None
        self.attempt: LiveAttempt | None = None
        self.tidying: tuple[TaskStatus, object] | None = None
        self.cut: Reason | None = None
        self.check_at = math.inf
        self.period = math.inf  # the shortest keepalive that `check_at` allows for

    def begin(self, entry: Entry) -> None:
        """Take a task in hand; its action starts at the worker's next step."""
        self.entry = entry
        entry.carrier = self
        entry.attempts += 1
        self.attempt = LiveAttempt(entry, self.pool.now)
        if self.task is not None:
            self.task.context = entry.context.copy()

    def begin_tidying(self, entry: Entry, status: TaskStatus, data: object) -> None:
        """Take a task in hand whose data is there, to run its pipeline."""
        self.entry = entry
        entry.carrier = self
        self.tidying = status, data

    @enable_ki_protection
    async def work(self) -> None:
        """Run what was begun, then whatever is queued, until the pool lets go."""
        self.task = trio.lowlevel.current_task()
        try:
            while await self._stint():
                self._conclude_cut()
        finally:
            if self.entry is not None:  # cancelled from outside
                self._give_up()
            self.pool.gone(self)

    async def _stint(self) -> bool:
        """Work until the scope is used up; False: nothing is left to do."""
        with trio.CancelScope() as self.scope:
            if self.cut is not None:
                self.scope.cancel()
            while True:
                if self.attempt is not None:
                    await self._run(self.attempt)
                elif self.tidying is not None:
                    await self._tidy(*self.tidying)
                if self.cut is not None:
                    break
                if self.tidying is not None:
                    continue
                if self._begin_next():
                    await cancel_shielded_checkpoint()
                elif not await self.pool.park(self):
                    return False
        return True

    def _begin_next(self) -> bool:
        entry = self.pool.next_entry()
        if entry is None:
            return False
        self.begin(entry)
        return True

    async def _run(self, attempt: LiveAttempt) -> None:
        self.pool.away()
        try:
            assert self.entry is not None
            if self.cut is not None:  # cancelled before it started
                self.entry.attempts -= 1
                return
            running.set(attempt)
            if attempt.keepalive_seconds < self.period:
                self._watch(attempt.keepalive_seconds)
            value = await self.entry.runner.run(attempt)
        except BaseException as error:
            leaving = self._raised(attempt, error)
            if leaving is not None:
                raise leaving  # noqa: B904 - it has a context of its own
        else:
            if attempt.declared is None:
                self._succeeded(value)
            else:  # it swallowed the signal and went on
                self._as_declared()
        finally:
            self.pool.back()

    def _watch(self, seconds: float) -> None:
        self.period = seconds
        self.pool.watchdog.watch(self, self.pool.now() + seconds)

    async def _tidy(self, status: TaskStatus, data: object) -> None:
        """Run the pipeline, or what salvages the state of a timeout; without a slot."""
        assert self.entry is not None and self.task is not None
        self.tidying = None
        self.pool.away()
        try:
            self.task.context = self.entry.context.copy()
            await cancel_shielded_checkpoint()
            running.set(None)
            if status == "timeout":
                data = await salvaged(data, self.entry.salvage, self.entry.name)
            else:
                data = await tidied(data, self.entry.stages, self.entry.name)
        except BaseException as error:
            failure, cancelled, fatal = sort_out(error, None)
            if fatal is not None:
                self._end_with(fatal, failure)
            elif failure is not None:
                self._fail(failure)
            if cancelled is not None:
                raise cancelled  # noqa: B904 - it has a context of its own
        else:
            self._finish(status, data)
        finally:
            self.pool.back()

    def _raised(
        self, attempt: LiveAttempt, error: BaseException
    ) -> BaseException | None:
        """What an action raised becomes its result, but for what is to leave it."""
        failure, cancelled, fatal = sort_out(error, attempt)
        if fatal is not None:
            self._end_with(fatal, failure)
        elif attempt.declared is not None:
            if failure is not None:
                assert self.entry is not None
                what = "raised after it had declared its end"
                log.masked(self.entry.label, what, failure)
            self._as_declared()
        elif failure is not None:
            if cancelled is not None and self.cut is None:
                self.cut = "cancelled"  # from outside: no restart
            self._failed(failure)
        return cancelled

    def _end_with(self, fatal: BaseException, failure: BaseException | None) -> None:
        """What is no failure leaves the block; a failure beside it must not vanish."""
        assert self.entry is not None
        self.pool.fatal(fatal)
        if self.attempt is not None:
            self._over()
        if failure is not None:
            log.masked(self.entry.label, f"raised beside {fatal!r}", failure)
        self._finish("cancelled")

    def _over(self) -> Entry:
        """The attempt is over: its slot is free, and what it saved is the state."""
        assert self.entry is not None and self.attempt is not None
        self.entry.state = self.attempt.end()
        self.attempt = None
        self.pool.slot_free()
        return self.entry

    def _succeeded(self, data: object) -> None:
        entry = self._over()
        if entry.stages:
            self.tidying = "success", data
        else:
            self._finish("success", data)

    def _as_declared(self) -> None:
        assert self.attempt is not None and self.attempt.declared is not None
        status, data = self.attempt.declared
        if status == "success":
            self._succeeded(data)
        else:
            self._over()
            self._fail(data)

    def _failed(self, error: BaseException) -> None:
        if self.cut == "timeout":
            _add_note(error, f"raised while it was cut off: {_why(self)}")
        entry = self._over()
        if self.cut == "cancelled" or entry.attempts > entry.options.retries:
            self._fail(error)
        else:
            self._restart(error)

    def _fell_silent(self) -> None:
        entry = self._over()
        cause = log.silent(entry.options.keepalive)
        if entry.attempts <= entry.options.retries:
            self._restart(cause)
        elif entry.salvage:
            log.ended(entry.label, "timeout", entry.attempts, cause)
            self.tidying = "timeout", entry.last_state()
        else:
            log.ended(entry.label, "timeout", entry.attempts, cause)
            self._finish("timeout")

    def _restart(self, cause: log.Cause) -> None:
        assert self.entry is not None
        entry, self.entry = self.entry, None
        entry.carrier = None
        self.pool.restart(entry)
        log.restarting(entry.label, entry.attempts, entry.options.retries, cause)

    def _fail(self, data: object) -> None:
        assert self.entry is not None
        log.ended(self.entry.label, "failure", self.entry.attempts, data)
        self._finish("failure", data)

    def _finish(self, status: TaskStatus, data: object = UNSAVED) -> None:
        assert self.entry is not None
        entry, self.entry = self.entry, None
        entry.finish(status, data)

    def _conclude_cut(self) -> None:
        """The scope was cancelled: what becomes of what was in hand."""
        cut, self.cut = self.cut, None
        if self.tidying is not None:  # the action has returned all the same
            self.cut = cut if cut == "cancelled" else None
        elif self.attempt is not None:
            if self.attempt.declared is not None:
                self._as_declared()
            elif cut == "timeout":
                self._fell_silent()
            else:
                self._over()
                self._finish("cancelled")
        elif self.entry is not None:
            self._finish("cancelled")

    def _give_up(self) -> None:
        """Cancelled from outside, and with no more time than this."""
        assert self.entry is not None
        attempt = self.attempt
        if attempt is None:
            self._finish("cancelled")
        elif attempt.declared is not None and not self.entry.stages:
            self._as_declared()
        else:
            self._over()
            self._finish("cancelled")

    def cut_off(self, reason: Reason) -> None:
        """Cancel what is in hand. Nothing falls silent after it was cancelled."""
        self.cut = reason
        if self.scope is not None:
            self.scope.cancel(reason=_why(self))

    def due(self, now: float) -> float:
        """When the attempt in hand falls silent, for the watchdog."""
        attempt = self.attempt
        if attempt is None or self.cut is not None:
            self.period = math.inf
            return math.inf
        seconds = self.period = attempt.keepalive_seconds
        if attempt.pinged == math.inf:  # not started yet
            self.period = max(seconds, SOON)
            return now + self.period
        return attempt.pinged + seconds

    def expire(self) -> None:
        self.period = math.inf
        self.cut_off("timeout")


def _add_note(error: BaseException, note: str) -> None:
    if note not in getattr(error, "__notes__", ()):  # it may be raised at each attempt
        error.add_note(note)


def _why(worker: Worker) -> str:
    """Why it was cut off, in words."""
    assert worker.entry is not None
    if worker.cut == "cancelled":
        return f"{worker.entry.name} was cancelled"
    return log.silent(worker.entry.options.keepalive)


@disable_ki_protection
async def tidied(data: object, stages: tuple[Stage, ...], id: str) -> object:
    """The data after the pipeline."""
    return await piped(data, stages, id)


@disable_ki_protection
async def salvaged(state: object, salvages: tuple[Function, ...], id: str) -> object:
    """What is made of the state of a timeout; the state itself if that fails."""
    data = state
    try:
        for salvage in salvages:
            data = await settled(salvage(data))
    except Exception as error:
        log.masked(id, "salvage raised, the state stays as it is", error)
        return state
    return data


_Group: TypeAlias = BaseExceptionGroup[BaseException]
Parts: TypeAlias = tuple[
    BaseException | None, BaseException | None, BaseException | None
]


def sort_out(error: BaseException, attempt: LiveAttempt | None) -> Parts:
    """The failure, the cancellation and the fatal part of what was raised.

    The signals of this attempt are left out. A nursery inside the action makes groups
    of all these; none of them may hide another.
    """
    if isinstance(error, Raised):
        return error.error, None, None
    if isinstance(error, Exception):  # the very object, also if it is a group
        return error, None, None

    def own_signal(leaf: BaseException) -> bool:
        return isinstance(leaf, TaskEnded) and leaf.attempt is attempt

    _, rest = _split(error, own_signal)
    cancelled, rest = _split(rest, lambda leaf: isinstance(leaf, trio.Cancelled))
    failure, fatal = _split(rest, _is_failure)
    return failure, cancelled, fatal


def _is_failure(leaf: BaseException) -> bool:
    # The signals of another attempt are this action's failure, if it lets them out.
    return isinstance(leaf, Exception | AttemptOver | TaskEnded)


def _split(
    error: BaseException | None, condition: Callable[[BaseException], bool]
) -> tuple[BaseException | None, BaseException | None]:
    def leaf_condition(leaf: BaseException) -> bool:  # `split` asks of the groups too
        return not isinstance(leaf, BaseExceptionGroup) and condition(leaf)

    if isinstance(error, BaseExceptionGroup):
        return cast("_Group", error).split(leaf_condition)
    if error is None or condition(error):
        return error, None
    return None, error
