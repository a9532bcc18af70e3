"""What an action says of itself while it runs, and where it left off."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from inspect import iscoroutine
from typing import Generic, Literal, NoReturn, cast, final

from typing_extensions import TypeVar

from ._attempt import BaseAttempt
from ._checks import function, is_async
from ._errors import NoCurrentTask
from ._task import UNSAVED, NothingSaved, Task, check_task, make_task

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
        data: Any value; it is kept as it is, not copied.

    Raises:
        NoCurrentTask: Called outside an action.
        AttemptOver: The attempt is over; nothing was saved.
    """
    current_attempt().update_data(data)


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

    Args:
        initial: Called without arguments for the state of a first attempt.
    """

    __slots__ = ("_initial",)

    def __init__(self, initial: Callable[[], T], /) -> None:
        _check_initial(initial)
        self._initial = initial

    def get(self) -> T:
        """The state; on a first attempt, before anything was saved, `initial()`.

        Raises:
            NoCurrentTask: Called outside an action.
            AttemptOver: The attempt is over.
        """
        state = current_task().data
        return self._initial() if isinstance(state, NothingSaved) else cast("T", state)

    def update(self, data: T, /) -> None:
        """`update_data(data)`, checked by its type."""
        update_data(data)

    def of(self, task: Task[object], /) -> T | None:
        """The state that a finished task left behind; None if it saved none."""
        state = check_task(task).state
        return None if isinstance(state, NothingSaved) else cast("T", state)

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
