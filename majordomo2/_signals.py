"""What an action says of itself while it runs, and where it left off."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from inspect import isclass, iscoroutine
from typing import Generic, Literal, NoReturn, cast, final, get_args

from typing_extensions import TypeVar

from ._attempt import BaseAttempt
from ._checks import function, is_async
from ._errors import JournalError, NoCurrentTask
from ._task import (
    SAVED,
    UNSAVED,
    NothingSaved,
    Recalled,
    Task,
    as_state,
    check_task,
    make_task,
)

T = TypeVar("T")

# None is set where code of a task runs outside its action: the stages of a pipeline.
running: ContextVar[BaseAttempt | None] = ContextVar("running", default=None)

# The task whose pipeline runs: a stage that waits for it would wait for itself.
tidied_task: ContextVar[object] = ContextVar("tidied_task", default=None)


def current_attempt() -> BaseAttempt:
    attempt = running.get()
    if attempt is None:
        raise NoCurrentTask(
            "there is no current task: this works inside an action that a Majordomo "
            "runs, in Trio tasks that it starts, and in threads that it enters with "
            "trio.to_thread"
        )
    return attempt


def keepalive() -> None:
    """Ping: the action is alive, and its keepalive period starts anew.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over; what is left of it should stop.
    """
    attempt = running.get()
    if attempt is None:
        current_attempt()
    else:
        attempt.keepalive()


def update_data(data: object, /) -> None:
    """Save the state, from which the next attempt will start. Also a ping.

    Args:
        data: Any value; it is kept as it is, not copied. With a journal it is encoded at
            once, and written soon after.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over; nothing was saved.
        TypeError: The state can't be recorded. The message says where in it.
    """
    current_attempt().update_data(data)


async def checkpoint(data: object, /) -> None:
    """`update_data`, and wait until the state is durable in the journal.

    Then the next attempt starts from it or a later one, even in another process after a
    SIGKILL. In an instance without a journal nothing outlives the process, and there is
    nothing to wait for. A checkpoint of Trio too.

    Args:
        data: Any value that the journal can take: with JSON, what msgspec encodes.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over; nothing was saved.
        TypeError: The state can't be recorded. The message says where in it.
        RuntimeError: The instance has a journal, but the task no `id=` to be known by.
        JournalError: The journal can't be written.
    """
    await current_attempt().checkpoint(data)


def checkpoint_sync(data: object, /) -> None:
    """The same for plain functions in threads and processes: blocks until it is durable.

    Args:
        data: As for `checkpoint`.

    Raises:
        RuntimeError: Also if it is called in the Trio run, which it would block.
        Exception: As `checkpoint`.
    """
    current_attempt().checkpoint_sync(data)


def success(data: object = UNSAVED, /) -> NoReturn:
    """End the action here, as a success. Does not return; `finally` blocks run.

    Args:
        data: The data of the task. Default: the state. A promise to the type checker,
            like `cast`; `return data` is checked.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over.
    """
    current_attempt().success(data)


def failure(data: object = UNSAVED, /) -> NoReturn:
    """End the task here, as a failure without a retry. Does not return.

    Args:
        data: The data of the task, an exception or anything else. Default: the state.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over.
    """
    current_attempt().failure(data)


def current_task() -> Task[object, Literal["unspecified"]]:
    """The running task: its id, status "unspecified", and the state as its data.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over.
    """
    attempt = current_attempt()
    if attempt.over:
        attempt.refuse()
    state = attempt.state
    task = make_task(attempt.id, "unspecified", state, attempt.number, state)
    return cast("Task[object, Literal['unspecified']]", task)


def current_task_data() -> object:
    """The state of the running task: what `update_data` saved last, or an empty dict.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over.
    """
    return current_task().data


@final
class TaskState(Generic[T]):
    """A typed key to the state of the running task.

    A state that comes from a journal is decoded to `T`: what `TaskState[T](...)` says, or
    the class that `initial` is, or what it is annotated to return, or else the type of
    what it returns.

    Args:
        initial: Called without arguments for the state of a first attempt.
    """

    __slots__ = ("__orig_class__", "_checked", "_initial")

    def __init__(self, initial: Callable[[], T], /) -> None:
        _check_initial(initial)
        self._initial = initial
        self._checked: type | None = None

    def get(self) -> T:
        """The state; on a first attempt, before anything was saved, `initial()`.

        A state in the journal that is no longer a `T` is the task's final failure, with
        a `JournalError` that says where; see `Journaling(afresh=True)`.

        Raises:
            NoCurrentTask: Called outside an action.
            AttemptOver: The attempt is over.
        """
        attempt = current_attempt()
        if attempt.over:
            attempt.refuse()
        saved = attempt.saved
        if saved is UNSAVED:
            return self._initial()
        if isinstance(saved, Recalled):
            return self._recalled(attempt, saved)
        return cast("T", as_state(saved))

    def _recalled(self, attempt: BaseAttempt, saved: Recalled) -> T:
        try:
            data = cast("T", saved.typed(self._kind()))
        except JournalError as error:
            if saved.afresh:
                if attempt.saved is saved:
                    attempt.saved = UNSAVED
                return self._initial()
            attempt.failure(error)
        if attempt.saved is saved:  # the same object from now on, as one that was saved
            attempt.saved = (SAVED, data, saved.encoded)
        return data

    def _kind(self) -> object:
        from ._annotations import UNKNOWN, annotated  # noqa: PLC0415 - only for a journal

        declared = getattr(self, "__orig_class__", None)
        if declared is not None:
            return get_args(declared)[0]
        if isclass(self._initial):
            return self._initial
        kind = annotated(self._initial)
        return type(self._initial()) if kind is UNKNOWN else kind

    def update(self, data: T, /) -> None:
        """`update_data(data)`, checked by its type."""
        self._check(data)
        update_data(data)

    async def checkpoint(self, data: T, /) -> None:
        """`await checkpoint(data)`, checked by its type."""
        self._check(data)
        await checkpoint(data)

    def checkpoint_sync(self, data: T, /) -> None:
        """`checkpoint_sync(data)`, checked by its type."""
        self._check(data)
        checkpoint_sync(data)

    def _check(self, data: object) -> None:
        """Would a journal bring it back as it is? Asked once for each class."""
        codec = current_attempt().codec
        if codec is not None and type(data) is not self._checked:
            what = f"the state of {self!r}"
            codec.check(data, codec.encode(data, what), self._kind(), what)
            if data:  # what is empty says nothing of what it will hold
                self._checked = type(data)

    def of(self, task: Task[object], /) -> T | None:
        """The state that a finished task left behind; None if it saved none.

        Raises:
            JournalError: The task comes from a journal, and the state is no `T`.
        """
        state = check_task(task).state
        if isinstance(state, NothingSaved):
            return None
        if "msgspec" not in sys.modules:  # it comes from no journal
            return cast("T", state)
        from ._codec import fitting  # noqa: PLC0415 - as above

        return cast("T", fitting(state, self._kind(), f"the state of {task.id!r}"))

    def __repr__(self) -> str:
        name = getattr(self._initial, "__qualname__", repr(self._initial))
        return f"TaskState({name})"


def _check_initial(initial: object) -> None:
    if not (callable(initial) or iscoroutine(initial)):
        raise TypeError(
            f"initial must be a function, not {initial!r}: "
            f"write TaskState(lambda: {initial!r})"
        )
    function("initial", initial, "TaskState({})")
    if is_async(cast("Callable[..., object]", initial)):
        raise TypeError(
            f"initial must be a plain function, not the async function {initial!r}: "
            f"get() doesn't wait"
        )
