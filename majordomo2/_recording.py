"""What is recorded of a task in the journal, and where the task goes on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from . import _log as log
from ._annotations import UNKNOWN, list_of, name_of, type_after
from ._attempt import JournaledAttempt
from ._channel import NOTHING_KNOWN, Carrier, Entry, Known, Reason
from ._errors import JournalConflict, JournalError, WorkerDied
from ._job import Work
from ._journal import Encoded, Record
from ._recorder import Recorder
from ._task import UNSAVED, Recalled, TaskStatus, as_recorded

# How often a ping alone is recorded, in seconds.
PINGS = 1.0


class _Parts:
    """In place of a type: the data of a parallel task is in the records of its parts."""


PARTS = _Parts()


class Recording(Carrier):
    """What is recorded of one task, and who has the task in hand while it waits for that.

    Args:
        recorder: Of the instance.
        entry: The task.
        call: Its arguments, encoded.
        work: The job, if it is one.

    Attributes:
        attempt: The attempt that runs, or ran last.
        marked: It is to be written.
    """

    __slots__ = (
        "_action",
        "_attempts",
        "_call",
        "_cut",
        "_ending",
        "_kind",
        "_last",
        "_looked_up",
        "_recalled",
        "_recorder",
        "_resume",
        "_starts",
        "_told",
        "_unsaid",
        "attempt",
        "codec",
        "entry",
        "marked",
    )

    def __init__(
        self,
        recorder: Recorder,
        entry: Entry,
        call: Encoded,
        work: Work | None,
    ) -> None:
        self.entry = entry
        self.attempt: JournaledAttempt | None = None
        self.marked = False
        self.codec = recorder.codec
        self._recorder = recorder
        self._action = name_of(entry.action) + ("" if work is None else _form(work))
        self._call = call
        self._kind = _kind(recorder.annotated(entry.action), work)
        self._resume: Callable[[Known], None] | None = None
        self._looked_up = self._starts = False
        self._cut: Reason | None = None
        self._recalled: object = UNSAVED
        self._attempts = 0
        self._ending: tuple[TaskStatus, object] | None = None
        self._last: Record | None = None  # once it has ended
        self._told = 0.0
        self._unsaid: TypeError | None = None  # why the data can't be recorded

    # What the journal has of it

    def look_up(self, resume: Callable[[Known], None], /, *, starts: bool) -> None:
        """Call it with what the journal has of it.

        Args:
            resume: Called in the Trio run.
            starts: If it is to run, and has a slot, it starts at once: so its attempt
                can be recorded in the same transaction.
        """
        self._resume = resume
        self.entry.carrier = self
        self._starts = starts and self._recorder.pool.reserve()
        self._recorder.ask(self)

    def known(self, record: Record | None) -> Known:
        """What follows from its record. Called in the thread of the journal."""
        known = NOTHING_KNOWN if record is None else self._follows(record)
        self._recalled = known.saved  # an end that follows from it keeps it too
        if known.ending is not None:
            return known
        pool = self._recorder.pool
        claimed = self._starts and not (known.attempts and pool.limits_restarts)
        self._attempts = known.attempts + claimed
        self._recorder.mark(self)
        return Known(known.attempts, known.saved, claimed=claimed)

    def _follows(self, record: Record) -> Known:
        if type(record.arguments) is not type(self._call):
            wanted = "with" if isinstance(record.arguments, bytes) else "without"
            error = JournalError(
                f"{record.id!r} was recorded {wanted} pickle=True: give it the same "
                f"Journaling, or another id="
            )
            return Known(ending=("failure", error), recorded=True)
        if (record.action, record.arguments) != (self._action, self._call):
            given = _shown(self._action, self._call)
            recorded = _shown(record.action, record.arguments)
            conflict = JournalConflict(record.id, recorded, given)
            return Known(ending=("failure", conflict), recorded=True)
        try:
            return self._decoded(record)
        except JournalError as error:
            if self._recorder.options.afresh:
                return NOTHING_KNOWN
            return Known(ending=("failure", error), recorded=True)

    def _decoded(self, record: Record) -> Known:
        options = self._recorder.options
        saved: object = UNSAVED
        if record.state is not None:
            typed = partial(
                self.codec.decode, record.state, f"the state of {record.id!r}"
            )
            saved = Recalled(typed(UNKNOWN), record.state, typed, options.afresh)
        if record.status == "success":
            data: object = None
            if record.data is not None and self._kind is not PARTS:
                what = f"the data of {record.id!r}"
                data = self.codec.decode(record.data, what, self._kind)
            return Known(record.attempts, saved, ("success", data), recorded=True)
        if record.status != "unspecified":  # it has ended, and may start anew
            return Known(saved=saved)
        attempts = record.attempts - (options.forgive and record.attempts > 0)
        if attempts <= self.entry.options.retries:
            return Known(attempts, saved)
        error = WorkerDied(
            f"attempt {attempts} of {record.id} was cut off by the end of its process, "
            f"and no retries are left: see Journaling(forgive=True)"
        )
        return Known(attempts, saved, ("failure", error))

    def answered(self, known: Known) -> None:
        """The task goes on from there."""
        entry = self.entry
        resume, self._resume = self._resume, None
        assert resume is not None
        cut = None if known.ending is not None else self._cut
        if self._starts and (cut is not None or not known.claimed):
            self._recorder.pool.reserved_no_more()
        self._looked_up = True
        entry.carrier = None
        entry.attempts = known.attempts
        entry.state = known.saved
        if known.ending is not None and known.ending[0] == "failure":
            log.ended(entry.label, "failure", known.attempts, known.ending[1])
        if cut is None:
            resume(known)
        else:
            entry.end_without_worker(cut)
        if self._starts:
            self._recorder.pool.fill()  # if it did not need its slot

    def cut_off(self, _entry: Entry, reason: Reason, /) -> None:
        """Once it is known what the journal has; an end that is to be recorded stays."""
        if not self._looked_up and self._cut != "cancelled":
            self._cut = reason

    # What happens to it

    async def started(self, number: int) -> None:
        """An attempt is to start: first that is made durable, so that it counts."""
        if number > self._attempts:
            self._attempts = number
            self.changed()
            await self._recorder.until_durable()

    def heard(self, now: float, /) -> None:
        """It has given a sign of life, at this second of the run."""
        if now - self._told >= PINGS:
            self._told = now
            self.changed()

    def changed(self) -> None:
        """There is something new to record."""
        self._recorder.mark(self)

    async def until_durable(self) -> None:
        await self._recorder.until_durable()

    def wait_until_durable(self) -> None:
        self._recorder.wait_until_durable()

    def end(self, status: TaskStatus, data: object, /) -> None:
        """It has ended; whoever waits for the result hears of it when it is durable."""
        entry = self.entry
        if not self._looked_up:  # what the journal has of it stays as it is
            entry.conclude(status, data)
            return
        entry.carrier = self
        self._recorder.pool.waiting += 1
        self._attempts = entry.attempts
        self._ending = status, data
        self.changed()
        self._recorder.when_durable(self._ended)

    def _ended(self, error: JournalError | None) -> None:
        assert self._ending is not None
        self._recorder.pool.waiting -= 1
        status, data = self._ending
        if self._unsaid is not None:
            log.ended(self.entry.label, status, self._attempts, data)
        if error is None:
            self.entry.conclude(status, data)
        else:  # without its journal there is no such end
            self.entry.conclude("cancelled")
        # The attempt, which a failure's traceback holds, must not hold the failure.
        self.attempt = self._ending = None
        del self.entry

    def record(self) -> Record:
        """The record as it stands. Called in the thread of the journal."""
        if self._last is not None:  # what a leftover has marked is no news
            return self._last
        attempt = self.attempt
        if attempt is None:
            saved = self._recalled
        else:
            latest = attempt.saved
            saved = attempt.final if attempt.over else latest
        status: TaskStatus = "unspecified"
        data: Encoded | None = None
        ending = self._ending  # once: the task may end just now
        if ending is not None:
            status, data = self._encoded_end(*ending)
        made = Record(
            self.entry.name,
            self._action,
            self._call,
            status,
            self._attempts,
            as_recorded(saved),
            data,
            time.time(),  # what is recorded has just happened
        )
        if ending is not None:
            self._last = made
        return made

    def _encoded_end(
        self, status: TaskStatus, data: object
    ) -> tuple[TaskStatus, Encoded | None]:
        if status == "failure":
            return status, _cause(data)
        if status != "success" or self._kind is PARTS:
            return status, None
        what = f"what {self._action} returned as {self.entry.name!r}"
        try:
            encoded = self.codec.encode(data, what)
            self.codec.check(data, encoded, self._kind, what)
        except TypeError as error:
            self._unsaid = error
            self._ending = "failure", error
            return "failure", _cause(error)
        return status, encoded


def _kind(returned: object, work: Work | None) -> object:
    """The type of a task's data, as far as annotations say it."""
    if work is None:
        return returned
    if work.parallel and not work.stages:
        return PARTS
    return type_after(list_of(returned) if work.parallel else returned, work.stages)


def _form(work: Work) -> str:
    """How a job runs its function: another form has another result."""
    parallel = " parallel" if work.parallel else ""
    return parallel + "".join(
        f" .{stage.name}({'' if stage.function is None else name_of(stage.function)})"
        for stage in work.stages
    )


def _shown(action: str, call: Encoded) -> str:
    called = call if isinstance(call, str) else repr(call)
    cut = called if len(called) <= 1000 else f"{called[:1000]}…"
    return f"{action}, called with {cut}"


def _cause(data: object) -> str:
    """Why a task failed, in a text."""
    try:
        said = f"{type(data).__qualname__}: {data}"
    except Exception:  # of a `__str__`
        return type(data).__qualname__
    cut = said if len(said) <= 1000 else f"{said[:1000]}…"
    return cut.encode(errors="backslashreplace").decode()  # as a file can hold it
