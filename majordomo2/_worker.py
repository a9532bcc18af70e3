"""A Trio task that runs attempts one after the other, and how each of them ended."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio
from trio.lowlevel import (
    Task as TrioTask,
    cancel_shielded_checkpoint,
    enable_ki_protection,
)

from . import _log as log
from ._attempt import LiveAttempt, attempt_kind
from ._channel import Carrier, Entry, Reason
from ._circle import check_no_circle
from ._events import Events
from ._outcome import add_note, sort_out
from ._policy import answer
from ._signals import running, tidied_task
from ._task import UNSAVED, TaskStatus
from ._tidying import salvaged, tidied
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
    def fill(self) -> None: ...

    events: Events | None
    restarts: int

    def away(self) -> None: ...
    def back(self) -> None: ...
    def slot_free(self) -> None: ...
    async def slot_back(self) -> None: ...
    def restart(self, entry: Entry, seconds: float, /) -> None: ...
    def fatal(self, error: BaseException, /) -> None: ...
    def gone(self, worker: Worker, /) -> None: ...


class Worker(Carrier):
    """Runs attempts in one cancel scope, which is renewed only after it was used.

    Its context is that of the attempt: set on the Trio task one step before the action
    starts, which gives the event loop its turn as well.

    Attributes:
        entry: The task in hand, if any.
        attempt: Its attempt; None while the result is being tidied.
        tidying: The status and data to tidy next.
        cut: Why the scope was cancelled, if it was.
        cause: The same in words.
        lent: Has somebody else its slot, while its action waits for another task?
        paused: Since when its action waits for another task, in the run's seconds.
    """

    __slots__ = (
        "attempt",
        "cause",
        "check_at",
        "cut",
        "entry",
        "lent",
        "paused",
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
        self.cause = ""
        self.lent = False
        self.paused = 0.0
        self.check_at = math.inf
        self.period = math.inf  # the shortest keepalive that `check_at` allows for

    def begin(self, entry: Entry) -> None:
        """Take a task in hand; its action starts at the worker's next step."""
        self.entry = entry
        entry.carrier = self
        entry.attempts += 1
        events = self.pool.events
        if entry.attempts > 1:
            self.pool.restarts += 1
        kind = LiveAttempt
        if events is not None or entry.recording is not None:
            observed = events is not None and events.of_signals
            kind = attempt_kind(
                observed=observed, journaled=entry.recording is not None
            )
        self.attempt = kind(entry, self, self.pool.now)
        if self.task is not None:
            self.task.context = entry.context.copy()

    def begin_tidying(self, entry: Entry, status: TaskStatus, data: object) -> None:
        """Take a task in hand whose data is there, to run its pipeline."""
        self.entry = entry
        entry.carrier = self
        self.tidying = status, data
        if status == "timeout":
            self.cause = SALVAGE

    @enable_ki_protection
    async def work(self) -> None:  # noqa: PLR0912 - each coroutine weighs on each task
        """Run what was begun, then whatever is queued, until the pool lets go."""
        self.task = trio.lowlevel.current_task()
        wanted = True
        try:
            while wanted:
                with trio.CancelScope() as self.scope:
                    if self.cut is not None:
                        self.scope.cancel(reason=self.cause)
                    while True:
                        if self.attempt is not None:
                            if self._starts(self.attempt):
                                assert self.entry is not None
                                runner = self.entry.runner
                                try:
                                    value = await runner.run(self.attempt)
                                except BaseException as error:
                                    self._raised(self.attempt, error)
                                else:
                                    self._returned(self.attempt, value)
                                    del value  # the next task may be long in coming
                                finally:
                                    self.pool.back()
                        elif self.tidying is not None:
                            await self._tidy(*self.tidying)
                        if self.cut is not None:
                            break
                        if self.tidying is not None:
                            continue
                        if self._begin_next():
                            await cancel_shielded_checkpoint()
                        elif not await self.pool.park(self):
                            wanted = False
                            break
                self._conclude_cut()
        finally:
            if self.entry is not None:  # cancelled from outside
                self._give_up()
            self.pool.gone(self)

    def _begin_next(self) -> bool:
        entry = self.pool.next_entry()
        if entry is None:
            return False
        self.begin(entry)
        return True

    def _starts(self, attempt: LiveAttempt) -> bool:
        """The action is to start now; False: it was cancelled before."""
        assert self.entry is not None
        if self.cut is not None:
            self.entry.attempts -= 1
            self.pool.restarts -= self.entry.attempts > 0
            return False
        self.pool.away()
        if self.entry.options.shortest < self.period:
            self._watch(self.entry.options.shortest)
        if self.pool.events is not None:
            self.pool.events.tell("attempt_started", attempt.id, attempt.number)
        running.set(attempt)
        return True

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
            tidied_task.set(self.entry)
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

    def _returned(self, attempt: LiveAttempt, value: object) -> None:
        running.set(None)  # what is called from now on is not the action
        if attempt.declared is None:
            self._succeeded(value)
        else:  # it swallowed the signal and went on
            self._as_declared()

    def _raised(self, attempt: LiveAttempt, error: BaseException) -> None:
        """What an action raised becomes its result, but a cancellation goes on."""
        running.set(None)
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
        if cancelled is not None:
            raise cancelled

    def _end_with(self, fatal: BaseException, failure: BaseException | None) -> None:
        """What is no failure leaves the block; a failure beside it must not vanish."""
        assert self.entry is not None
        self.pool.fatal(fatal)
        if self.attempt is not None:
            self._over(fatal)
        if failure is not None:
            log.masked(self.entry.label, f"raised beside {fatal!r}", failure)
        self._finish("cancelled")

    def _over(self, why: object) -> Entry:
        """The attempt is over: its slot is free, and what it saved is the state."""
        assert self.entry is not None and self.attempt is not None
        attempt, self.attempt = self.attempt, None
        self.entry.state = attempt.end()
        if self.lent:  # a leftover of it still waits
            self.lent = False
            self.entry.home.lent(self.entry.runner, -1)
        else:
            self.pool.slot_free()
        if self.pool.events is not None and attempt.number <= self.entry.attempts:
            self.pool.events.tell("attempt_ended", attempt.id, attempt.number, why)
        return self.entry

    def _succeeded(self, data: object) -> None:
        entry = self._over("success")
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
            self._over("failure")
            self._fail(data)

    def _failed(self, error: BaseException) -> None:
        if self.cut in ("timeout", "expired"):
            add_note(error, f"raised while it was cut off: {self.cause}")
        self._over(error)
        again = self._may_restart(error)
        if again is False:
            self._fail(error)
        else:
            self._restart(error, again)

    def _may_restart(self, error: BaseException) -> bool | float:
        """Whether a raise is retried, or after how many seconds."""
        assert self.entry is not None
        options = self.entry.options
        if self._is_final() or self.entry.attempts > options.retries:
            return False
        try:
            again = answer(options.retry_on, error)
        except Exception as problem:
            add_note(error, f"not retried: retry_on failed: {problem!r}")
            return False
        return False if self._is_final() else again  # it may have cancelled the task

    def _is_final(self) -> bool:
        """Was it cut off for good?"""
        return self.cut in ("cancelled", "expired")

    def _ran_out(self, *, final: bool) -> None:
        """One of its clocks did."""
        entry = self._over(self.cause)
        if self.cut == "cancelled":  # by who heard of it
            self._finish("cancelled")
        elif final or entry.attempts > entry.options.retries:
            self._time_out(self.cause)
        else:
            self._restart(self.cause, again=True)

    def _time_out(self, cause: str) -> None:
        assert self.entry is not None
        entry = self.entry
        log.ended(entry.label, "timeout", entry.attempts, cause)
        if entry.salvage:
            self.begin_tidying(entry, "timeout", entry.last_state())
        else:
            self._finish("timeout")

    def _restart(self, cause: log.Cause, again: bool | float) -> None:
        """Start it again, after the seconds that `retry_on` or the backoff says."""
        assert self.entry is not None
        entry, self.entry = self.entry, None
        entry.carrier = None
        backoff = entry.options.backoff
        seconds = 0.0 if backoff is None else backoff.seconds(entry.attempts)
        seconds = seconds if again is True else again
        label = entry.label
        # First it is in other hands: what hears of it may stop the instance.
        self.pool.restart(entry, seconds)
        if self.pool.events is not None:
            self.pool.events.tell("restarting", entry.name, seconds)
        log.restarting(label, entry.attempts, entry.options.retries, cause)

    def _fail(self, data: object) -> None:
        assert self.entry is not None
        log.ended(self.entry.label, "failure", self.entry.attempts, data)
        self._finish("failure", data)

    def _finish(self, status: TaskStatus, data: object = UNSAVED) -> None:
        assert self.entry is not None
        entry, self.entry = self.entry, None
        self.cause = ""
        entry.finish(status, data)

    def _conclude_cut(self) -> None:
        """The scope was cancelled: what becomes of what was in hand."""
        cut, self.cut = self.cut, None
        if self.tidying is not None:  # the action has returned all the same
            self.cut = None if cut == "timeout" else cut
        elif self.attempt is not None:
            if self.attempt.declared is not None:
                self._as_declared()
            elif cut == "cancelled":
                self._over("cancelled")
                self._finish("cancelled")
            else:
                self._ran_out(final=cut == "expired")
        elif self.entry is not None:
            if cut == "expired":
                self._time_out(self.cause)
            else:
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
            self._over("cancelled")
            self._finish("cancelled")

    def cut_off(self, entry: Entry, reason: Reason) -> None:
        """Cancel what is in hand. Nothing runs out after it was cancelled."""
        if reason == "expired":
            if self.cause == SALVAGE or self.cut == "cancelled":
                return  # the total_timeout does not cover what is made of a timeout
            self.cause = log.expired(entry.options.total_timeout)
        elif reason == "cancelled":
            self.cause = f"{entry.name} was cancelled"
        self.cut = reason
        if self.scope is not None:
            self.scope.cancel(reason=self.cause)

    def waits_for(self) -> Sequence[Entry]:
        waits = () if self.attempt is None else self.attempt.waits
        return [entry for entry in waits if entry is not None]

    def due(self, now: float) -> float:
        """When the attempt in hand runs out of time, for the watchdog."""
        attempt = self.attempt
        if attempt is None or self.entry is None or self.cut is not None:
            self.period = math.inf
            return math.inf
        options = self.entry.options
        self.period = options.shortest
        if attempt.pinged == math.inf:  # not started yet
            self.period = max(options.shortest, SOON)
            return now + self.period
        if attempt.waits:
            self.period = options.attempt_timeout
            return attempt.started + options.attempt_timeout
        if attempt.pinged + options.keepalive <= now and attempt.look is not None:
            attempt.look()  # it was the Trio run that was held up, maybe
        return min(
            attempt.pinged + options.keepalive,
            attempt.started + options.attempt_timeout,
        )

    def expire(self) -> None:
        assert self.entry is not None and self.attempt is not None
        options = self.entry.options
        self.period = math.inf
        if self.attempt.started + options.attempt_timeout <= self.pool.now():
            self.cause = log.too_long(options.attempt_timeout)
        else:
            self.cause = log.silent(options.keepalive)
        self.cut_off(self.entry, "timeout")

    async def lend_while(
        self, attempt: LiveAttempt, entry: Entry, wait: Callable[[], Awaitable[None]]
    ) -> None:
        """Give the slot to others while the action, or a child of it, waits.

        Raises:
            RuntimeError: It would wait for itself.
        """
        assert self.entry is not None
        check_no_circle(self.entry, entry)
        attempt.waits = [*attempt.waits, entry]
        if not self.lent:
            self._lend(attempt)
        try:
            await wait()
        finally:
            await self._wait_is_over(attempt, entry)

    async def _wait_is_over(self, attempt: LiveAttempt, entry: Entry) -> None:
        """Without its slot no code of the action goes on: it can't be cancelled here."""
        if attempt.over:
            self.pool.fill()
            return
        attempt.waits[attempt.waits.index(entry)] = None  # its silence goes on later
        if len(attempt.waits) == 1:
            with trio.CancelScope(shield=True):
                await self.pool.slot_back()
            if self._has_ended(attempt):
                self.pool.slot_free()
                self.pool.fill()
                return
            self._resume(attempt)
        else:
            self.pool.fill()  # the slot that was kept for this end of a wait
        attempt.waits.remove(None)
        if attempt.waits and not self.lent:  # meanwhile a child of it began to wait
            self._lend(attempt)
        if not attempt.waits:
            self.pool.watchdog.watch(self, self.due(self.pool.now()))

    def _has_ended(self, attempt: LiveAttempt) -> bool:
        return attempt.over  # mypy thinks that no await could change it

    def _lend(self, attempt: LiveAttempt) -> None:
        self.lent = True
        self.paused = self.pool.now()
        assert self.entry is not None
        self.entry.home.lent(self.entry.runner, 1)
        self.pool.slot_free()
        self.pool.fill()
        if self.pool.events is not None:
            self.pool.events.tell("slot_lent", attempt.id)

    def _resume(self, attempt: LiveAttempt) -> None:
        """Its silence goes on from where it was when the wait began."""
        self.lent = False
        assert self.entry is not None
        self.entry.home.lent(self.entry.runner, -1)
        attempt.pinged = self.pool.now() - max(0.0, self.paused - attempt.pinged)
        if self.pool.events is not None:
            self.pool.events.tell("slot_taken_back", attempt.id)


# What a worker is about while it salvages the state of a timeout.
SALVAGE = "salvage"
