"""A worker process: one call after the other, as its parent sends them."""

from __future__ import annotations

import contextlib
import contextvars
import fcntl
import functools
import logging
import os
import pickle
import select
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing import spawn
from typing import ClassVar, NoReturn, TypeAlias, cast

from .._attempt import BLOCKING, BaseAttempt
from .._checks import is_async
from .._codec import Codec
from .._errors import NoCurrentTask
from .._outcome import sort_out
from .._remote import remote_traceback
from .._signals import running
from .._task import UNSAVED
from . import _pickling, _wire
from ._call import call
from ._calls import Calls

# The action, its arguments, the task's id, the number of the attempt, the state in a tuple
# if there is one, and how states are encoded for the journal if there is one.
Call: TypeAlias = tuple[
    Callable[..., object],
    tuple[object, ...],
    str,
    int,
    tuple[object, ...],
    Codec | None,
]


# What was declared and its pickle; what was raised; what the attempt finally fails with.
Ending: TypeAlias = tuple[
    tuple[str, bytes] | None, _pickling.Raised | None, Exception | None
]


class Replies:
    """The pipe to the parent. Any thread of the action may write to it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.forked = False  # is this a child that the action forked?

    # What is written before an end is read before it: so an attempt that is over can't
    # touch the next one, and no message needs to say whose it is.
    def ping(self, attempt: RemoteAttempt) -> None:
        with self._lock:
            if attempt.closed or self.forked:
                self._refuse(attempt)
            os.write(self._pipe, _wire.ONE_PING)

    def write(self, message: _wire.Frame, attempt: RemoteAttempt) -> None:
        with self._lock:
            if attempt.closed or self.forked:
                self._refuse(attempt)
            while not message.write(self._pipe):
                pass

    def end(self, message: _wire.Frame, attempt: RemoteAttempt) -> None:
        """The last of an attempt."""
        with self._lock:
            attempt.end()
            while not message.write(self._pipe):
                pass

    def _refuse(self, attempt: RemoteAttempt) -> NoReturn:
        if self.forked:
            raise NoCurrentTask(
                "there is no current task in a process that the action forked: "
                "signal in the action itself"
            )
        attempt.refuse()


class RemoteAttempt(BaseAttempt):
    """An attempt that runs here; what it says of itself goes to the parent."""

    __slots__ = ("_announced", "_calls", "_replies", "action", "args", "codec")

    def __init__(
        self, pipes: tuple[Calls, Replies], given: Call, *, announced: bool
    ) -> None:
        self.action, self.args, id, number, state, self.codec = given
        super().__init__(id, number, state[0] if state else UNSAVED)
        self._announced = announced
        self._calls, self._replies = pipes

    def start(self) -> None:
        if self._announced:
            self._replies.write(_wire.frame(_wire.STARTED, []), self)

    def keepalive(self) -> None:
        self._replies.ping(self)

    def update_data(self, data: object, /) -> None:
        self._save(data, _wire.STATE, data)

    def _save(self, data: object, kind: int, value: object) -> None:
        if self.codec is not None:  # what can't be recorded is refused here and now
            self.codec.encode(data, f"the state of {self.id!r}")
        try:
            message = _pickling.packed(kind, value)
        except Exception as error:
            raise _pickling.cannot("the state", data, error) from error
        self._replies.write(message, self)
        self.saved = data

    def checkpoint_sync(self, data: object, /) -> None:
        if _in_trio_run():
            raise RuntimeError(BLOCKING)
        number = self._calls.number()
        self._save(data, _wire.CHECKPOINT, (number, data))
        self._calls.answer(number)

    async def checkpoint(self, data: object, /) -> None:
        import trio  # noqa: PLC0415 - it is there already, as somebody awaits this

        number = self._calls.number()
        self._save(data, _wire.CHECKPOINT, (number, data))
        # Not abandoned: the thread would go on reading. The answer comes in any case.
        await trio.to_thread.run_sync(self._calls.answer, number)


def _in_trio_run() -> bool:
    # A process that has not imported it has no run.
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


class Main:
    """The parent's `__main__`, which is imported only if a call needs something of it."""

    importing: ClassVar[bool] = False

    def __init__(self, preparation: Mapping[str, object]) -> None:
        self._rest = preparation
        self._failed: RuntimeError | None = None

    def load(self) -> bool:
        """Import it, if that was not done; False: it was.

        Raises:
            RuntimeError: It can't be imported.
        """
        if self._failed is not None:
            raise self._failed
        preparation = self._rest
        self._rest = dict[str, object]()
        if not preparation:
            return False
        Main.importing = True
        try:
            spawn.prepare(preparation)
        except BaseException as error:
            said = UNGUARDED
            if not (isinstance(error, RuntimeError) and str(error) == UNGUARDED):
                (main,) = preparation.values()
                said = (
                    f"{main} can't be imported by a worker process, which needs a "
                    f"function of it: {error!r}: put what starts it under "
                    f"if __name__ == '__main__':"
                )
            self._failed = RuntimeError(said)
            raise self._failed from error
        finally:
            Main.importing = False
        return True


UNGUARDED = (
    "a worker process imports the script, as it needs a function of it, and so the script "
    "has started its work anew: put what starts it under if __name__ == '__main__':"
)


def refuse_while_importing() -> None:
    """A script that starts its work when it is imported would start it in each worker.

    Raises:
        RuntimeError: It does.
    """
    if Main.importing:
        raise RuntimeError(UNGUARDED)


def serve(calls: int, replies: int, life: int) -> None:
    """Answer calls until the parent closes the pipe.

    Args:
        calls: Where they come from.
        replies: Where the answers and signals go to.
        life: A pipe that the parent never writes to, and that closes when it dies.
    """
    for pipe in (calls, replies, life):
        os.set_inheritable(pipe, False)
    die_with_parent(life)
    inbox = Calls(calls)
    first = inbox.next_call()
    if first is not None:
        child = _Child(inbox, (calls, replies, life), first.load())
        while (message := inbox.next_call()) is not None:
            child.answer(message)


class _Child:
    def __init__(
        self, calls: Calls, pipes: tuple[int, int, int], preparation: object
    ) -> None:
        self._calls = calls
        self._replies = Replies(pipes[1])
        self._pipes = pipes
        os.register_at_fork(after_in_child=self._forked)
        given = cast("dict[str, object]", preparation)
        main = {key: given.pop(key) for key in list(given) if key.startswith("init_")}
        self._main = Main(main)
        level = given.pop("log_level_of_root")
        if level is not None:
            logging.root.setLevel(cast("int", level))
            logging.root.addHandler(_Forward(self._replies))
        spawn.prepare(given)

    def _forked(self) -> None:
        """A child of the action is no worker, and must not keep the pipes open."""
        self._replies.forked = True
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                os.close(pipe)

    def answer(self, message: _wire.Message) -> None:
        try:
            given = self._load(message)
        except Exception as error:
            nobody = RemoteAttempt(
                (self._calls, self._replies),
                (repr, (), "", 0, (), None),
                announced=False,
            )
            self._replies.end(_ended(final=_unloadable(error)), nobody)
            return
        announced = message.kind == _wire.ANNOUNCED_CALL
        pipes = self._calls, self._replies
        attempt = RemoteAttempt(pipes, given, announced=announced)
        reply = contextvars.Context().run(self._run, attempt)
        _flush()
        self._replies.end(reply, attempt)

    def _load(self, message: _wire.Message) -> Call:
        try:
            return cast("Call", message.load())
        except (AttributeError, ImportError):
            if not self._main.load():
                raise
            return cast("Call", message.load())

    def _run(self, attempt: RemoteAttempt) -> _wire.Frame:
        running.set(attempt)
        try:
            value = _called(attempt)
        except BaseException as error:
            if self._replies.forked:
                _leave(error)
            return _raised(attempt, error)
        if self._replies.forked:
            _leave(None)
        return _returned(attempt, value)


def _called(attempt: RemoteAttempt) -> object:
    if not is_async(attempt.action):
        return call(attempt)
    import trio  # noqa: PLC0415 - a process that doesn't need it starts twice as fast

    attempt.start()
    action = cast("Callable[..., Awaitable[object]]", attempt.action)
    return trio.run(functools.partial(action, *attempt.args))


def _returned(attempt: RemoteAttempt, value: object) -> _wire.Frame:
    if attempt.declared is not None:  # it swallowed the signal and went on
        return _declared(attempt, None)
    try:
        return _pickling.packed(_wire.RETURNED, value)
    except Exception as error:
        what = f"what {attempt.action!r} returned"
        return _ended(final=_pickling.cannot(what, value, error))


def _raised(attempt: RemoteAttempt, error: BaseException) -> _wire.Frame:
    failure, _, fatal = sort_out(error, attempt)
    rest = _together(fatal, failure)
    if attempt.declared is not None:
        return _declared(attempt, rest)
    assert rest is not None
    return _ended(raised=_told(attempt, rest))


def _together(
    fatal: BaseException | None, failure: BaseException | None
) -> BaseException | None:
    if fatal is None or failure is None:
        return fatal or failure
    return BaseExceptionGroup("the action raised", [fatal, failure])


def _declared(attempt: RemoteAttempt, rest: BaseException | None) -> _wire.Frame:
    assert attempt.declared is not None
    status, data = attempt.declared
    raised = None if rest is None else _told(attempt, rest)
    try:
        if isinstance(data, BaseException):
            pickled = _pickling.packed_error(data)
        else:
            pickled = _pickling.dumps(data)
    except Exception as error:
        return _ended(final=_pickling.cannot(f"what {status}() was given", data, error))
    return _ended(declared=(status, pickled), raised=raised)


def _told(attempt: RemoteAttempt, error: BaseException) -> _pickling.Raised:
    """An exception and its traceback."""
    where = remote_traceback(error)
    try:
        return _pickling.packed_error(error), where
    except Exception as problem:
        what = f"the exception that {attempt.action!r} raised"
        return pickle.dumps(_pickling.cannot(what, error, problem)), where


def _ended(
    *,
    declared: tuple[str, bytes] | None = None,
    raised: _pickling.Raised | None = None,
    final: Exception | None = None,
) -> _wire.Frame:
    ending: Ending = declared, raised, final
    pickled = pickle.dumps(ending)
    return _wire.frame(_wire.ENDED, [pickled])


def _unloadable(error: Exception) -> Exception:
    if isinstance(error, RuntimeError) and "__main__" in str(error):  # of the script
        return RuntimeError(str(error))
    return TypeError(
        f"the action or an argument can't be unpickled in a worker process: {error!r}: "
        f"{_pickling.remedy()}"
    )


def _flush() -> None:
    """What was printed is seen now, and not when the process is killed."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: S110 - closed, or nobody reads it
        pass


def _leave(error: BaseException | None) -> NoReturn:
    """End a process that the action forked, as if it had been a script."""
    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else error.code is not None
    elif error is not None:
        traceback.print_exception(error)
        status = 1
    _flush()
    os._exit(status)


class _Forward(logging.Handler):
    """Sends log records to the parent, with the id of the task."""

    def __init__(self, replies: Replies) -> None:
        super().__init__()
        self._replies = replies

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(record)
        except Exception:
            self.handleError(record)

    def _send(self, record: logging.LogRecord) -> None:
        attempt = running.get()
        if isinstance(attempt, RemoteAttempt):
            said = self.format(record)  # with the traceback, which can't be sent
            done = {"msg": said, "args": None, "exc_info": None, "exc_text": None}
            fields = vars(record) | done | {"stack_info": None, "task_id": attempt.id}
            message = _wire.frame(_wire.LOGGED, [pickle.dumps(fields)])
            with contextlib.suppress(BaseException):  # its end is no time to log
                self._replies.write(message, attempt)


def die_with_parent(life: int) -> None:
    """Kill this process and its children when the pipe closes.

    Where the system can, it does so itself: a thread would wait for ever for a function
    in C that holds the interpreter.
    """
    set_signal = getattr(fcntl, "F_SETSIG", None)
    if set_signal is None:
        threading.Thread(target=watch, args=(life,), daemon=True).start()
        return
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, set_signal, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # it was too early for the signal
        os.killpg(0, signal.SIGKILL)


def watch(life: int) -> None:
    """The same, by a thread."""
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)
