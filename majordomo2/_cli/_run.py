"""The function over all inputs: each input a task, each result a line, in order."""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import BinaryIO

import trio

from .. import (
    JournalError,
    Majordomo,
    ResultChannel,
    Task,
    TaskOptions,
    start_majordomo,
)
from .._checks import is_async
from ..abc import Journal, Observer
from ._cause import encodable
from ._inputs import LineReader
from ._report import Outcome, Summary, line

# So many inputs are taken before the line of the first of them can be said: enough that
# one slow input holds up nobody, and a bound for endless ones.
WINDOW = 10_000

# So many tasks a worker are unfinished at once: nobody waits for the next one, and a
# restart, which queues behind the others, comes soon.
QUEUED = 2


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Args:
        function: Called with one input at a time.
        given: The inputs that are there.
        lines: Where more come from, or None.
        workers: How many at once.
        options: Those of each task.
        stream: Where the lines go.
        journal: Where the tasks are recorded, or None.
        name: That of the function, by which the tasks are known in the journal.
    """

    function: Callable[..., object]
    given: Iterable[object]
    lines: LineReader | None
    workers: float
    options: TaskOptions
    stream: BinaryIO
    journal: Journal | None = None
    name: str = ""


def take_turns(plan: Plan) -> bool:
    """Does it run in several threads, of which one at a time can compute?"""
    in_threads = plan.options.get("runner", "auto") in ("auto", "thread")
    return in_threads and not is_async(plan.function) and plan.workers > 1


class Row:
    """An input on its way to its line."""

    def __init__(self, item: object) -> None:
        self.input = item
        self.began: float | None = None
        self.ended = 0.0
        self.task: Task[object] | None = None
        self.done = trio.Event()

    def end(self, task: Task[object]) -> None:
        """The task has ended."""
        self.task = task
        self.ended = perf_counter()
        self.done.set()

    def outcome(self) -> Outcome:
        assert self.task is not None
        if self.began is not None:
            return Outcome(self.input, self.task, self.ended - self.began)
        recalled = self.task.status == "success"
        return Outcome(self.input, self.task, 0.0, recalled)


class Stopwatch(Observer):
    """Tells rows when their first attempts here start.

    The ends are seen from outside, as an abandoned thread doesn't come to one.

    Attributes:
        rows: Those of unfinished tasks, by their ids.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def attempt_started(self, id: str, _attempt: int, /) -> None:
        row = self.rows[id]
        if row.began is None:  # in an earlier process there may have been others
            row.began = perf_counter()

    def attempt_ended(self, id: str, _attempt: int, why: object, /) -> None:
        if isinstance(why, BaseException) and not isinstance(why, Exception):
            why.add_note(f"raised for the input {self.rows[id].input}")


class Run:
    """One run of the function over the inputs.

    Attributes:
        interrupted: The number of the signal that ended it early, or None.
        fatal: What the function let out that is no failure, such as SystemExit.
        journal_error: Why the journal could not be kept any more.
        write_error: Why no more lines could be written.
    """

    def __init__(self, plan: Plan) -> None:
        self.summary = Summary(plan.options.get("keepalive", 0), take_turns(plan))
        self.interrupted: int | None = None
        self.fatal: BaseException | None = None
        self.journal_error: JournalError | None = None
        self.write_error: OSError | None = None
        self._plan = plan
        self._watch = Stopwatch()
        self._given = deque(plan.given)
        self._room = trio.Semaphore(WINDOW)
        self._turn = trio.Semaphore(int(min(QUEUED * plan.workers, WINDOW)))
        self._rows, self._rows_to_write = trio.open_memory_channel[Row](math.inf)
        self._work = trio.CancelScope()

    @property
    def errors(self) -> list[Exception]:
        """What ended it early, and was not the function."""
        return [e for e in (self.journal_error, self.write_error) if e is not None]

    async def run(self) -> None:
        """Run it, and write every line that can be written."""
        with on_signals(self._interrupt):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_lines, nursery.cancel_scope)
                await self._supervise(nursery)
                self._rows.close()

    def _interrupt(self, number: int) -> None:
        self.interrupted = number
        self._work.cancel()

    async def _supervise(self, nursery: trio.Nursery) -> None:
        try:
            with self._work:
                async with start_majordomo(
                    max_workers=self._plan.workers,
                    observers=[self._watch],
                    journal=self._plan.journal,
                ) as jarvis:
                    await self._feed(jarvis, nursery)
        except JournalError as error:
            self.journal_error = error
        except BaseException as error:
            if isinstance(error, Exception | trio.Cancelled):
                raise
            self.fatal = error
        for item in self._given:  # those that it was not to come to
            row = Row(item)
            row.end(self._not_started(row))
            self._rows.send_nowait(row)

    async def _feed(self, jarvis: Majordomo, nursery: trio.Nursery) -> None:
        while self._given or await self._more():
            while self._given:
                # A cancelled instance takes no more, and the input keeps its line.
                await trio.lowlevel.checkpoint_if_cancelled()
                row = Row(self._given.popleft())
                self._start(row, jarvis, nursery)
                self._rows.send_nowait(row)
                await self._room.acquire()
                await self._turn.acquire()

    def _start(self, row: Row, jarvis: Majordomo, nursery: trio.Nursery) -> None:
        plan = self._plan
        options = plan.options
        # What follows it does so from outside of the instance, which may be cancelled as
        # a whole.
        if plan.journal is not None:
            id = self._name(row)
            if id in self._watch.rows:
                nursery.start_soon(self._share, row, self._watch.rows[id])
                return
            options = options | TaskOptions(id=id)
        try:
            channel = jarvis.add_task(plan.function, row.input, **options)
        except (TypeError, ValueError) as error:
            if plan.journal is None:
                raise
            self._refuse(row, error)  # the input can't be recorded
            return
        self._watch.rows[channel.id] = row
        nursery.start_soon(self._follow, row, channel)

    async def _follow(self, row: Row, channel: ResultChannel[object]) -> None:
        row.end(await channel.receive())
        del self._watch.rows[channel.id]
        self._turn.release()

    async def _share(self, row: Row, first: Row) -> None:
        """The same input is unfinished: both have one task."""
        await first.done.wait()
        assert first.task is not None
        row.began = first.began
        row.end(first.task)
        self._turn.release()

    def _not_started(self, row: Row) -> Task[object]:
        if self._plan.journal is None:
            return Task(status="cancelled")
        return Task(id=self._name(row), status="cancelled")

    def _name(self, row: Row) -> str:
        # No journal can hold a NUL in a name.
        return encodable(f"{self._plan.name}/{row.input}").replace("\0", "\\x00")

    def _refuse(self, row: Row, error: Exception) -> None:
        row.end(Task(error, id=self._name(row), status="failure"))
        self._turn.release()

    async def _more(self) -> bool:
        if self._plan.lines is not None:
            self._given += await self._plan.lines.more()
        return bool(self._given)

    async def _write_lines(self, scope: trio.CancelScope) -> None:
        limiter = trio.CapacityLimiter(1)  # the user's threads take no place here
        async for row in self._rows_to_write:
            await row.done.wait()
            try:
                await trio.to_thread.run_sync(self._write, row, limiter=limiter)
            except OSError as error:
                self.write_error = error
                scope.cancel()
            self._room.release()

    def _write(self, row: Row) -> None:
        outcome = row.outcome()
        write_all(self._plan.stream, line(outcome))
        self.summary.add(outcome)


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write all of it, now; a stream without a buffer may take a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]
    stream.flush()


# Ctrl-C, and what `kill`, a service manager or a container sends.
ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signals(call: Callable[[int], None]) -> Generator[None]:
    """Call it in the Trio run at the first signal to end; a second ends the process.

    That holds even while a function blocks the event loop.
    """
    token = trio.lowlevel.current_trio_token()

    def interrupt(number: int, _: object) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_DFL)
        token.run_sync_soon(call, number)

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
