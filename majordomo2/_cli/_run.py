"""The function over all inputs: each input a task, each result a line, in order."""

from __future__ import annotations

import functools
import math
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import BinaryIO, cast

import trio

from .. import Majordomo, ResultChannel, Task, TaskOptions, start_majordomo
from .._checks import is_async
from ..abc import Observer
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
    """

    function: Callable[..., object]
    given: Iterable[object]
    lines: LineReader | None
    workers: float
    options: TaskOptions
    stream: BinaryIO


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
        seconds = 0.0 if self.began is None else self.ended - self.began
        return Outcome(self.input, self.task, seconds)


class Call:
    """The function, and which input it was if it ends the whole run.

    An object, so that it can be pickled; it is async if the function is.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function

    def __repr__(self) -> str:
        return repr(self._function)

    def __call__(self, item: object) -> object:
        with named(item):
            return self._function(item)


class AsyncCall(Call):
    """The same, of an async function."""

    async def __call__(self, item: object) -> object:
        with named(item):
            return await cast("Awaitable[object]", self._function(item))


@contextmanager
def named(item: object) -> Generator[None]:
    """Add the input to what leaves the run."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note(f"raised for the input {item}")
        raise


class Stopwatch(Observer):
    """Tells rows when their first attempts start.

    The ends are seen from outside, as an abandoned thread doesn't come to one.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def attempt_started(self, id: str, attempt: int, /) -> None:
        if attempt == 1:
            self.rows.pop(id).began = perf_counter()


class Run:
    """One run of the function over the inputs.

    Attributes:
        interrupted: The number of the signal that ended it early, or None.
        fatal: What the function let out that is no failure, such as SystemExit.
        write_error: Why no more lines could be written.
    """

    def __init__(self, plan: Plan) -> None:
        self.summary = Summary(plan.options.get("keepalive", 0), take_turns(plan))
        self.interrupted: int | None = None
        self.fatal: BaseException | None = None
        self.write_error: OSError | None = None
        self._plan = plan
        kind = AsyncCall if is_async(plan.function) else Call
        self._call = kind(plan.function)
        self._watch = Stopwatch()
        self._given = deque(plan.given)
        self._room = trio.Semaphore(WINDOW)
        self._turn = trio.Semaphore(int(min(QUEUED * plan.workers, WINDOW)))
        self._rows, self._rows_to_write = trio.open_memory_channel[Row](math.inf)
        self._work = trio.CancelScope()

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
                    max_workers=self._plan.workers, observers=[self._watch]
                ) as jarvis:
                    await self._feed(jarvis, nursery)
        except BaseException as error:
            if isinstance(error, Exception | trio.Cancelled):
                raise
            self.fatal = error
        for item in self._given:  # those that it was not to come to
            row = Row(item)
            row.end(Task(status="cancelled"))
            self._rows.send_nowait(row)

    async def _feed(self, jarvis: Majordomo, nursery: trio.Nursery) -> None:
        while self._given or await self._more():
            while self._given:
                # A cancelled instance takes no more, and the input keeps its line.
                await trio.lowlevel.checkpoint_if_cancelled()
                row = Row(self._given.popleft())
                channel = jarvis.add_task(self._call, row.input, **self._plan.options)
                self._watch.rows[channel.id] = row
                # From outside of the instance, which may be cancelled as a whole.
                nursery.start_soon(self._follow, row, channel)
                self._rows.send_nowait(row)
                await self._room.acquire()
                await self._turn.acquire()

    async def _follow(self, row: Row, channel: ResultChannel[object]) -> None:
        row.end(await channel.receive())
        self._watch.rows.pop(channel.id, None)  # it may not have started
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
