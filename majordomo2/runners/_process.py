"""runner="process": a function in a worker process, which is killed at its deadline."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import weakref
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import NoReturn

import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from .. import _log as log
from .._errors import WorkerDied
from .._processes import Processes
from .._runner import Attempt
from .._task import NothingSaved
from . import _boot, _child, _pickling, _reply, _wire
from ._places import take_place

# Seconds that a process has to start, and to import what a function needs. No attempt has
# begun then, so nothing else would notice one that never gets so far.
START = 60
# Seconds that a process has to end by itself, or to be gone after it was killed.
GRACE = 1.0
# Seconds after which one that has closed its pipe is no longer thought to be ending.
DYING = 0.2


class ProcessRunner:
    """Calls the function in a worker process, which is kept for further calls.

    Args:
        places: How many processes at once.
        nursery: Where the Trio tasks live that keep the processes.
        options: When they end, and what they send.
    """

    def __init__(self, places: int, nursery: trio.Nursery, options: Processes) -> None:
        self.options = options
        # No process could import the `__main__` of a notebook.
        self.by_value = not _pickling.main_is_importable()
        self.start_soon = nursery.start_soon
        self._places = trio.Semaphore(places)
        self._idle: list[_Process] = []
        self._checked: object = None

    def check(self, action: Callable[..., object], /) -> None:
        _child.refuse_while_importing()
        if action is self._checked:
            return
        problem = _pickling.problem(action, "the action", by_value=self.by_value)
        if problem is not None:
            raise problem
        self._checked = action

    async def run(self, attempt: Attempt, /) -> object:
        await take_place(self._places)
        process: _Process | None = None
        try:
            await attempt.ready()
            while True:
                process = self._idle.pop() if self._idle else self._start()
                try:
                    return await process.call(attempt)
                except Unused:
                    pass
                finally:
                    self._keep_or_retire(process)
        finally:
            if process is None or not process.takes_place(self._places.release):
                self._places.release()

    def packed(self, attempt: Attempt) -> _wire.Frame:
        """The message of a call; what can't be pickled is its final failure."""
        state = () if isinstance(attempt.state, NothingSaved) else (attempt.saved,)
        action, args = attempt.action, attempt.args
        call = action, args, attempt.id, attempt.number, state, attempt.codec
        try:
            return _pickling.packed(_wire.CALL, call, by_value=self.by_value)
        except Exception as error:
            parts: dict[str, object] = {"the action": action}
            for number, argument in enumerate(args, 1):
                parts[f"argument {number} of {action!r}"] = argument
            parts["the state"] = attempt.state
            for what, part in parts.items():
                problem = _pickling.problem(part, what, by_value=self.by_value)
                if problem is not None:
                    return attempt.failure(problem)
            return attempt.failure(_pickling.cannot("the call", call, error))

    def _start(self) -> _Process:
        process = _Process(self)
        # The context of this call would live, with all it holds, as long as the process.
        Context().run(self.start_soon, process.keep)
        return process

    def _keep_or_retire(self, process: _Process) -> None:
        if process.calls >= self.options.max_tasks_per_child or process.is_gone:
            process.retire()
        else:
            process.rest()
            self._idle.append(process)

    def forget(self, process: _Process) -> None:
        """It has ended, or is about to."""
        if process in self._idle:
            self._idle.remove(process)

    def close(self) -> None:
        """Let the idle processes end."""
        while self._idle:
            self._idle.pop().retire()


class _Process:
    """One process, for one call after the other.

    Attributes:
        calls: How many it was given.
        idle_since: When it was done with its last one, in the run's seconds; `math.inf`
            while it has one.
    """

    def __init__(self, runner: ProcessRunner) -> None:
        self.calls = 0
        self.idle_since = math.inf
        self._runner = runner
        (
            (theirs_calls, self._calls),
            (replies, theirs_replies),
            (theirs_life, self._life),
        ) = _wire.pipes(3)
        self._theirs: tuple[int, ...] = (theirs_calls, theirs_replies, theirs_life)
        self._inbox = _wire.Inbox(replies)
        self.pipes = {self._calls, replies, self._life}
        self._preparation: _wire.Frame | None = _boot.preparation(
            forward_logs=runner.options.forward_logs, main=not runner.by_value
        )
        for pipe in (self._calls, replies):
            os.set_blocking(pipe, False)
        OPEN.add(self)
        self._process: trio.Process | None = None
        self._failed: OSError | None = None  # it could not be started
        self._started = False
        self._exited = trio.Event()
        self._leave = trio.CancelScope()
        self._killed = False
        self._retired = False
        self._release: Callable[[], object] | None = None  # of its place, at its end
        self._knows: object = None  # the action whose modules it has imported
        self._reply: _wire.Message | None = None
        self._asked = False  # in this call, to be told when a state is durable

    @property
    def is_gone(self) -> bool:
        return self._killed or self._exited.is_set()

    # Its life

    async def keep(self) -> None:
        """Start it, wait for its end, and clear away what it leaves behind."""
        try:
            self._process = await trio.lowlevel.open_process(
                _boot.command(self._theirs),
                stdin=subprocess.DEVNULL,
                stdout=_boot.stdout(),
                pass_fds=self._theirs,
                start_new_session=True,
            )
            self._close_theirs()
            if not self._killed:
                await self._until_exit(self._process)
        except OSError as error:
            self._failed = error
        finally:
            self._close_theirs()
            self.kill()
            self._runner.forget(self)
            if self._process is not None:
                with trio.CancelScope(shield=True):
                    await self._process.wait()
            self._exited.set()
            if self._release is not None:
                self._release()
            if self.idle_since < math.inf or self._retired:
                self.close()
            else:
                notify_closing(self._inbox.pipe)  # its call looks what it has left

    async def _until_exit(self, process: trio.Process) -> None:
        """Or until it has been idle for too long, and had its time to go."""
        while True:
            with self._leave:
                await process.wait()
                return
            if self._retired:
                with trio.move_on_after(GRACE):
                    await process.wait()
                return
            if self.idle_since == math.inf:  # at work: `rest` sets a deadline again
                self._leave = trio.CancelScope()
                continue
            idle = self.idle_since + self._runner.options.idle_timeout
            self._leave = trio.CancelScope(deadline=idle)
            if idle <= trio.current_time():
                self._runner.forget(self)
                self.retire()

    def rest(self) -> None:
        """It has nothing to do for now."""
        self.idle_since = trio.current_time()
        if self._leave.deadline == math.inf:  # else it is early enough, and looks again
            self._leave.deadline = self.idle_since + self._runner.options.idle_timeout

    def retire(self) -> None:
        """Let it end by itself: it reads that no more calls will come."""
        self._retired = True
        self._close(self._calls)
        self._leave.cancel()
        if self._exited.is_set():
            self.close()

    def takes_place(self, release: Callable[[], object]) -> bool:
        """Does it still end? Then it gives the place back when it has."""
        if not self._retired or self._exited.is_set():
            return False
        self._release = release
        return True

    def kill(self) -> None:
        """Kill it and the children that it has."""
        self._killed = True
        # Once its end was seen, its number may be somebody else's.
        if self._process is not None and not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _end(self) -> None:
        """Kill it, and wait until it is gone, if that is a matter of moments."""
        self.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(GRACE):
            await self._exited.wait()

    def _close_theirs(self) -> None:
        theirs, self._theirs = self._theirs, ()
        for pipe in theirs:
            os.close(pipe)

    def close(self) -> None:
        """Close what is left of its pipes."""
        for pipe in tuple(self.pipes):
            self._close(pipe)

    def _close(self, pipe: int) -> None:
        if pipe in self.pipes:
            self.pipes.remove(pipe)
            notify_closing(pipe)
            os.close(pipe)

    def forked(self) -> None:
        """This is a child of the parent, which must not keep the pipes open."""
        for pipe in (*self.pipes, *self._theirs):
            with contextlib.suppress(OSError):
                os.close(pipe)

    # Its calls

    async def call(self, attempt: Attempt) -> object:
        """Run the attempt.

        Raises:
            Exception: What its action raised, or `WorkerDied`.
            Unused: The process had died while it had nothing to do.
        """
        self.idle_since = math.inf
        self.calls += 1
        self._reply = None
        self._asked = False
        message = self._runner.packed(attempt)
        attempt.listen(partial(self._look, attempt))
        try:
            # It says when it has loaded what it needs. What it knows is loaded in no time.
            if self._knows is not attempt.action or message.is_large:
                message.ask_for_start()
                await self._begin(attempt, message)
            else:
                await self._send(message)
                attempt.start()
            while self._reply is None:
                await self._hear(attempt)
        except trio.Cancelled:
            # First of all it writes no more, which it might do faster than we read.
            await self._end()
            self._drain(attempt)
            if not self._has_ended():
                raise
        except BaseException:
            await self._end()
            raise
        return _reply.result(attempt, self._taken())

    def _has_ended(self) -> bool:
        """An action whose end is in the pipe has returned, cancelled or not."""
        return self._reply is not None

    def _taken(self) -> _wire.Message:
        reply, self._reply = self._reply, None
        assert reply is not None
        return reply

    async def _begin(self, attempt: Attempt, message: _wire.Frame) -> None:
        """A first call may have to wait for the process, and for what it imports."""
        self._started = False
        with trio.move_on_after(START) as patience:
            if self._preparation is not None:
                await self._send(self._preparation)
                self._preparation = None
            await self._send(message)
            while not self._started and self._reply is None:
                await self._hear(attempt)
        if patience.cancelled_caught:
            raise WorkerDied(
                f"the worker process was killed: it had not come to call "
                f"{attempt.action!r} within {START} s"
            )
        self._knows = attempt.action

    async def _send(self, message: _wire.Frame) -> None:
        while True:
            try:
                if message.write(self._calls):
                    return
            except BlockingIOError:
                pass
            except BrokenPipeError:
                if self.calls > 1:
                    raise Unused from None
                await self._has_died()
            await wait_writable(self._calls)

    async def _hear(self, attempt: Attempt) -> None:
        try:
            await wait_readable(self._inbox.pipe)
            messages = self._inbox.read()
        except BlockingIOError:
            return
        except trio.ClosedResourceError:  # it has exited; another may hold the pipe
            self._drain(attempt)
            messages = list[_wire.Message]() if self._reply else None
        if messages is None:
            await self._has_died()
        else:
            for message in messages:
                self._take(attempt, message)

    def _drain(self, attempt: Attempt) -> None:
        """Take what is in the pipe, such as the last states of one that was killed."""
        try:
            for _ in range(_wire.READS):
                messages = self._inbox.read()
                for message in messages or ():
                    self._take(attempt, message)
                if messages is None:
                    return
        except BlockingIOError:
            pass
        except Exception as error:
            log.masked(attempt.id, "what its process sent last was lost", error)

    def _look(self, attempt: Attempt) -> None:
        """It seems to be silent; but the Trio run may have been held up, and not it."""
        self._drain(attempt)
        if self._reply is not None:
            notify_closing(self._inbox.pipe)  # nothing is left for its call to wait for

    def _take(self, attempt: Attempt, message: _wire.Message) -> None:
        match message.kind:
            case _wire.PING:
                attempt.keepalive()
            case _wire.STATE:
                attempt.update_data(_reply.loaded(message, "the state"))
            case _wire.CHECKPOINT:
                self._asked = True
                number, state = _reply.checkpoint(message)
                attempt.update_data(state)
                # It waits in a Trio task of its own; in no context, which may be large.
                start = self._runner.start_soon
                Context().run(start, self._answer, attempt, number)
            case _wire.STARTED:
                self._started = True
                attempt.start()
            case _wire.LOGGED:
                _reply.log_record(message)
            case _wire.GARBAGE:
                raise WorkerDied(
                    f"the worker process was killed: it wrote into its pipe "
                    f"{message.body!r}"
                )
            case _:
                self._reply = message

    async def _answer(self, attempt: Attempt, number: int) -> None:
        """Tell the process when the state that it has saved is durable."""
        error: BaseException | None = None
        try:
            await attempt.durable()
        except trio.Cancelled:
            raise
        except BaseException as raised:
            error = raised
        answer = _wire.frame(_wire.ANSWER, [_reply.answer(number, error)])
        with contextlib.suppress(OSError):  # it has died, or takes no more
            if self._calls in self.pipes:
                answer.write(self._calls)

    async def _has_died(self) -> NoReturn:
        with trio.CancelScope(shield=True), trio.move_on_after(DYING):
            await self._exited.wait()
        if self.calls > 1 and not self._asked and _wire.unread(self._calls):
            raise Unused  # it was dying when it was given the call
        raise self._death()

    def _death(self) -> WorkerDied:
        if self._failed is not None:
            died = WorkerDied(f"no worker process could be started: {self._failed}")
            died.__cause__ = self._failed
            return died
        code = None if self._process is None else self._process.returncode
        if code is None:
            return WorkerDied("the worker process was killed: it had closed its pipe")
        if code >= 0:
            return WorkerDied(f"the worker process exited with {code}", code)
        name = _name_of(-code)
        hint = ": was the memory full?" if name == "SIGKILL" else ""
        return WorkerDied(f"the worker process was ended by {name}{hint}", signal=name)


class Unused(Exception):
    """A process had died before it was given a call."""


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


OPEN: weakref.WeakSet[_Process] = weakref.WeakSet()


def _forked() -> None:
    for process in OPEN:
        process.forked()


os.register_at_fork(after_in_child=_forked)
