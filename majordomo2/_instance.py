"""An instance: a Trio nursery that takes functions and gives back results."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import iscoroutine
from itertools import count
from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

import trio
from trio.lowlevel import enable_ki_protection

from . import _checks, _log as log
from ._adder import Adder, namer
from ._attempt import LiveAttempt
from ._channel import NOTHING_KNOWN, Entry, Known
from ._errors import MajordomoStopped
from ._job import Job, Work, check_alone, work_of
from ._misplaced import misplaced
from ._names import Names
from ._options import DEFAULTS, Options, checked
from ._parallel import Parallel
from ._pool import WorkerPool
from ._processes import Processes
from ._runner import Runner
from ._selection import Runners
from ._signals import running
from ._statistics import ENDINGS, Statistics
from ._task import TaskStatus, fresh_id
from ._waiting import TotalClock

if TYPE_CHECKING:
    from ._past import Past
    from ._recorder import Recorder

_numbers = count(1)


class Reader(Protocol):
    """Who reads a source, and adds tasks for what it reads."""

    def refuse(self, why: Exception, /) -> None: ...


class Instance:
    """What a `Majordomo` stands for: who may add what, and what is left to do."""

    def __init__(
        self, pool: WorkerPool, processes: Processes, recorder: Recorder | None
    ) -> None:
        self.id = f"majordomo-{next(_numbers)}"
        self._pool = pool
        self._runners = Runners(pool.max_workers, pool.nursery, processes)
        self._recorder = recorder
        if recorder is not None:
            self._keep(recorder)
        self.ended: dict[TaskStatus, int] = dict.fromkeys(ENDINGS, 0)
        self.abandoned_threads = 0
        self.streams: set[Reader] = set()
        self.names = Names(pool)
        self._unfinished = 0
        self._leaving = self._cancelled = False
        self._stopped: str | None = None
        self.thread = get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._quiet = trio.lowlevel.ParkingLot()
        pool.nursery.start_soon(self._watch)

    def _keep(self, recorder: Recorder) -> None:
        from ._past import Past  # noqa: PLC0415 - without a journal nobody wants them
        from ._recording import Recording  # noqa: PLC0415

        self._past, self._recording = Past, Recording
        self.nursery.start_soon(recorder.keep)

    async def _watch(self) -> None:
        """Run the watchdog, which hears first of a cancellation from outside.

        Those who still wait, be it shielded, must not wait for tasks that nobody will
        start any more.
        """
        try:
            await self._pool.watchdog.run()
        except trio.Cancelled:
            self._refuse("was cancelled from outside")
            self._cancel_all()
            raise

    def __str__(self) -> str:
        state = "stopped" if self._stopped else f"running={self._pool.running}"
        return f"{self.id!r} {state} queued={self._pool.queue.queued}"

    @enable_ki_protection
    def stop(self) -> None:
        """Cancel all tasks, and take no more."""
        self.check_caller("stop")
        self._refuse("was stopped")
        self._cancel_all()

    def _cancel_all(self) -> None:
        self._cancelled = True
        self._pool.stop()
        if self._recorder is not None:
            self._recorder.stop()

    async def drain(self, grace: float) -> None:
        """Take no more tasks, and wait for those there; stop after `grace` seconds."""
        self.check_caller("drain")
        inside = self._pool.task_around() or self._task_of_thread()
        if inside is not None:
            raise RuntimeError(
                f"drain() was called inside {inside}, which it would wait for: "
                f"call it outside the tasks of {self.id}, or stop() here"
            )
        self._refuse("was drained")
        with trio.move_on_after(grace):
            await self._until_quiet()
        if self._unfinished:
            self._cancel_all()
            await self._until_quiet()

    def _refuse(self, why: str) -> None:
        """Take no more tasks from now on; those who read a source must hear of it."""
        if self._stopped is None:
            self._stopped = why
        for stream in self.streams:
            stream.refuse(self._refusal("map"))

    def _task_of_thread(self) -> str | None:
        """The task whose thread has entered the Trio run, if it has."""
        attempt = running.get()
        if not isinstance(attempt, LiveAttempt) or attempt.home is not self:
            return None
        return None if attempt.over else attempt.id

    async def _until_quiet(self) -> None:
        if self._unfinished:
            await self._quiet.park()
        else:
            await trio.lowlevel.checkpoint()

    @property
    def nursery(self) -> trio.Nursery:
        """Where the Trio tasks of the instance live."""
        return self._pool.nursery

    @property
    def max_workers(self) -> float:
        return self._pool.max_workers

    def fatal(self, error: BaseException) -> None:
        """What was raised is no failure: it leaves the block and cancels it."""
        self._pool.fatal(error)

    def check_open(self, method: str) -> None:
        """Refuse what comes from elsewhere, or too late.

        Raises:
            MajordomoStopped: The instance takes no more tasks.
            RuntimeError: The call came from outside its Trio run.
        """
        if get_ident() != self.thread or self._stopped is not None:
            raise self._refusal(method)

    def check_caller(self, method: str, /) -> None:
        """Refuse a call from outside the instance's own thread and Trio run.

        Raises:
            RuntimeError: It came from there.
        """
        if not self._is_at_home():
            raise misplaced(self.id, method)

    def _is_at_home(self) -> bool:
        return (
            get_ident() == self.thread
            and trio.lowlevel.in_trio_run()
            and trio.lowlevel.current_trio_token() is self._token
        )

    # Ctrl-C between the count of a task and its place in the queue would leave one that
    # never ends.
    @enable_ki_protection
    def add(
        self,
        method: str,
        action: object,
        args: tuple[object, ...],
        options: dict[str, object],
    ) -> Entry:
        """Check what is to be done, and record it; it starts as soon as it may."""
        if get_ident() != self.thread or self._stopped is not None:
            if iscoroutine(action):
                action.close()
            raise self._refusal(method)
        if isinstance(action, Job):
            check_alone(method, args, options)
            return self._add_job(work_of(cast("Job[object]", action)))
        _checks.function("action", action, f"{method}({{}}, ...)")
        function = cast("Callable[..., object]", action)
        given = checked(method, options) if options else DEFAULTS
        runner = self._runners.of(function, given.runner)
        entry = self._entry(function, args, given, runner, given.id)
        if not self._is_rejected(entry):
            self._enter(entry)
        return entry

    def adder(
        self,
        action: object,
        options: dict[str, object],
        key: Callable[[object], object] | None,
    ) -> Adder:
        """What adds a task for one item of a `map`; the options are checked once."""
        _checks.function("action", action, "map({}, source)")
        function = cast("Callable[..., object]", action)
        given = checked("map", options)
        if given.context is None:
            given = given.within(contextvars.copy_context())
        runner = self._runners.of(function, given.runner)
        if given.id is not None and self._recorder is not None:
            _checks.text("id", given.id)
        if key is not None and given.id is None:
            raise TypeError(
                "key names the items under the name of the map, and there is none: give "
                "id= too"
            )

        def add(item: object, id: str) -> Entry:
            entry = self._entry(function, (item,), given, runner, id or None)
            if not (id and self._is_rejected(entry)):
                self._enter(entry)
            return entry

        return Adder(
            enable_ki_protection(add),
            namer(given.id, key),
            self._past_of(function, given),
        )

    def _past_of(self, action: Callable[..., object], options: Options) -> Past | None:
        """What the journal may have of a map."""
        recorder, id = self._recorder, options.id
        if recorder is None or id is None or self._pool.events is not None:
            return None
        return self._past(recorder, action, f"{id}/")

    def recalled(self, number: int) -> None:
        """So many tasks have succeeded in an earlier run, and are delivered."""
        self.ended["success"] += number

    def _add_job(self, work: Work) -> Entry:
        runner = self._runners.of(work.action, work.options.runner)
        entry = self._entry(
            work.action, work.args, work.options, runner, work.options.id, work
        )
        entry.stages, entry.salvage = work.stages, work.salvages
        if self._is_rejected(entry):
            return entry
        if not work.parallel:
            self._enter(entry)
        elif entry.recording is None:
            self._fan_out(entry, work, runner, NOTHING_KNOWN)
        else:
            resume = partial(self._fan_out, entry, work, runner)
            entry.recording.look_up(resume, starts=False)
            self._tell_added(entry)
        return entry

    def _fan_out(self, entry: Entry, work: Work, runner: Runner, known: Known) -> None:
        """Add the subtasks of a parallel task."""
        journaled = entry.recording is not None
        options = work.options.within(entry.context) if journaled else work.options
        if known.ending is not None and known.ending[0] != "success":
            entry.conclude(*known.ending)
            return
        parts = [
            self._entry(
                work.action,
                (arg,),
                options,
                runner,
                f"{entry.name}/{number}" if journaled else None,
            )
            for number, arg in enumerate(work.args)
        ]
        for part in parts:
            part.expires = entry.expires  # one clock for all
        Parallel(self._pool, entry, parts, known.ending)
        if not journaled:
            self._tell_added(entry)
        for part in parts:
            if self._cancelled and known.ending is None:  # by who heard of the parent
                part.finish("cancelled")
            elif not journaled or not self._is_rejected(part):
                self._enter(part)

    def _entry(
        self,
        action: Callable[..., object],
        args: tuple[object, ...],
        options: Options,
        runner: Runner,
        id: str | None,
        work: Work | None = None,
    ) -> Entry:
        recorder, call = self._recorder, None
        if recorder is not None and id is not None:
            _checks.text("id", id)
            call = recorder.codec.call(action, args)  # which may be refused
        context = options.context
        entry = Entry(
            self,
            fresh_id() if id is None else id,
            action,
            args,
            options,
            runner,
            contextvars.copy_context() if context is None else context.copy(),
        )
        if recorder is not None and call is not None:
            entry.recording = self._recording(recorder, entry, call, work)
        self._unfinished += 1
        if options.total_timeout != math.inf:
            self._start_clock(entry)
        return entry

    def _enter(self, entry: Entry) -> None:
        """Let it start, unless the journal says that it has ended."""
        if entry.recording is None:
            self._admit(entry)
        else:
            starts = self._runners.starts_at_once(entry.runner)
            entry.recording.look_up(partial(self._resume, entry), starts=starts)
            self._tell_added(entry)

    def _resume(self, entry: Entry, known: Known) -> None:
        """Start a task where the journal has left it."""
        if known.ending is not None:
            (entry.conclude if known.recorded else entry.finish)(*known.ending)
        elif self._cancelled:  # it was looked up as a part of what was delivered
            self._pool.expected -= known.claimed
            entry.end_without_worker("cancelled")
        elif known.claimed:
            self._pool.start_reserved(entry)
        elif entry.attempts:
            self._pool.restart(entry, 0)
            self._pool.fill()
        else:
            self._pool.add(entry)

    def _admit(self, entry: Entry) -> None:
        if entry.options.total_timeout == 0:  # whatever Trio does first
            self._tell_refused(entry)
            entry.end_without_worker("expired")
        else:
            self._pool.add(entry)
            self._tell_added(entry)

    def _tell_refused(self, entry: Entry) -> None:
        """Of one that is in no place: it counts as waiting for its end meanwhile."""
        self._pool.waiting += 1
        self._tell_added(entry)
        self._pool.waiting -= 1

    def _tell_added(self, entry: Entry) -> None:
        """It is in its place by now: who hears of it may stop the instance."""
        if self._pool.events is not None:
            self._pool.events.tell("task_added", entry.name)

    def _start_clock(self, entry: Entry) -> None:
        entry.expires = self._pool.now() + entry.options.total_timeout
        entry.clock = TotalClock(entry)
        self._pool.watchdog.watch(entry.clock, entry.expires)

    def _is_rejected(self, entry: Entry) -> bool:
        if entry.options.id is None or self.names.take(entry):
            return False
        self._tell_refused(entry)
        entry.finish("rejected")
        return True

    def finished(self, entry: Entry) -> None:
        """A task has ended."""
        assert entry.ending is not None
        if entry.options.id is not None:
            self.names.free(entry)
        self.ended[entry.ending.status] += 1
        if entry.clock is not None:
            self._pool.watchdog.forget(entry.clock)
        if self._pool.events is not None:
            self._pool.events.tell("task_finished", entry.ending)
        self._unfinished -= 1
        if not self._unfinished:
            if self._stopped is not None:  # only then somebody may wait in `drain`
                self._quiet.unpark_all()
            if self._leaving:
                self.end()

    def expired(self, entry: Entry) -> None:
        """Its total_timeout ran out while no worker had it."""
        cause = log.expired(entry.options.total_timeout)
        label = entry.label
        if entry.salvage:
            self._pool.tidy(entry, "timeout", entry.last_state())
        else:
            entry.finish("timeout")
        log.ended(label, "timeout", entry.attempts, cause)

    def slot_expected(self, change: int) -> None:
        """One whose wait is over will ask for its slot, or asks."""
        self._pool.expected += change

    def lent(self, runner: Runner, change: int) -> None:
        """An action waits for another task, or does so no longer."""
        self._runners.lent(runner, change)

    def abandoned(self, id: str) -> None:
        """A thread of a task goes on running."""
        self.abandoned_threads += 1
        if self._pool.events is not None:
            self._pool.events.tell("thread_abandoned", id)

    def abandoned_ended(self) -> None:
        """It has ended."""
        self.abandoned_threads -= 1

    def check_unjournaled(self, id: str) -> None:
        """Refuse to wait for the journal for a task that is not in it.

        Raises:
            RuntimeError: There is a journal, and the task has no name in it.
        """
        if self._recorder is not None:
            raise RuntimeError(
                f"{id} is not in the journal, as it was given no name: give id=, or use "
                f"update_data()"
            )

    def signalled(self, event: str, *args: object) -> None:
        """An action gave a signal, maybe in a thread."""
        assert self._pool.events is not None
        if get_ident() == self.thread:
            self._pool.events.tell(event, *args)
        else:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._pool.events.tell, event, *args)

    def statistics(self) -> Statistics:
        """What there is to do, and what was done."""
        return Statistics(
            queued=self._pool.queue.queued,
            running=self._pool.in_hand,
            waiting=self._pool.waiting,
            finished=MappingProxyType(dict(self.ended)),
            restarts=self._pool.restarts,
            abandoned_threads=self.abandoned_threads,
        )

    def _refusal(self, method: str) -> RuntimeError:
        if not self._is_at_home():
            return misplaced(self.id, method)
        return MajordomoStopped(
            f"{self.id} {self._stopped} and takes no more tasks: "
            f"start another with start_majordomo()"
        )

    def leave(self) -> None:
        """The block is left: the workers go when they are done."""
        self._leaving = True
        self._pool.close()
        if not self._unfinished:
            self.end()

    def end(self) -> None:
        """Nothing is left to do: let go of what was kept for more."""
        self._refuse("has ended")
        self._pool.watchdog.stop()
        self._runners.close()
        if self._recorder is not None:
            self._recorder.close()

    def finish(self) -> None:
        """The nursery has ended: nothing runs any more, and nothing may wait for it."""
        self.end()
        self._cancel_all()

    def raise_fatal(self) -> None:
        """Raise what actions let out that is no failure, such as KeyboardInterrupt."""
        errors = self._pool.fatal_errors
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"actions of {self.id} let out", errors)
