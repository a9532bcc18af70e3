"""The result: one immutable, typed record of what became of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import (
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    TypeGuard,
    cast,
    get_args,
    overload,
)

from typing_extensions import TypeIs, TypeVar

from ._checks import name

TaskStatus: TypeAlias = Literal[
    "unspecified", "success", "failure", "timeout", "mixed", "rejected", "cancelled"
]
NoSuccess: TypeAlias = Literal[
    "unspecified", "mixed", "failure", "timeout", "rejected", "cancelled"
]
STATUSES: tuple[str, ...] = get_args(TaskStatus)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S", bound=TaskStatus)
S_co = TypeVar("S_co", bound=TaskStatus, covariant=True, default=TaskStatus)

_numbers = count(1)


FRESH = "task-"  # how a fresh id begins


def fresh_id() -> str:
    return f"{FRESH}{next(_numbers)}"


class NothingSaved(dict[str, object]):
    """The state before the first `update_data`: an empty dict, told from a saved one."""

    __slots__ = ()


class _Unsaved:
    def __repr__(self) -> str:  # as a default argument in the reference
        return "..."


UNSAVED = _Unsaved()


class _Mark(Enum):
    SAVED = "saved"


SAVED = _Mark.SAVED

# A state of a task that has a journal, and the same as the journal is given it. A plain
# tuple that begins so, as no other object is made as fast, and each `update_data` makes
# one.
Saved: TypeAlias = tuple[_Mark, object, "str | bytes"]


def is_saved(value: object) -> TypeGuard[Saved]:
    if type(value) is not tuple:
        return False
    parts = cast("tuple[object, ...]", value)
    return len(parts) == 3 and parts[0] is SAVED


class Recalled:
    """A state that came from a journal, and whose type nobody has said yet.

    Args:
        data: The state, as JSON has it.
        encoded: As the journal has it.
        typed: Decodes it to a type.
        afresh: What can't be decoded is nothing.
    """

    __slots__ = ("afresh", "data", "encoded", "typed")

    def __init__(
        self,
        data: object,
        encoded: str | bytes,
        typed: Callable[[object], object],
        afresh: bool,
    ) -> None:
        self.data = data
        self.encoded = encoded
        self.typed = typed
        self.afresh = afresh


def as_state(saved: object) -> object:
    """What was saved, or an empty dict of its own for each who asks."""
    if saved is UNSAVED:
        return NothingSaved()
    if is_saved(saved):
        return saved[1]
    return saved.data if isinstance(saved, Recalled) else saved


def as_recorded(saved: object) -> str | bytes | None:
    """The same as a journal has it; None if nothing was saved."""
    if is_saved(saved):
        return saved[2]
    return saved.encoded if isinstance(saved, Recalled) else None


class _Slots:
    # `field()` and `__slots__` conflict in one class body, and `dataclass(slots=True)`
    # with `frozen=True` breaks `Task[int](1)` on Python 3.11 and 3.12.
    __slots__ = ("attempts", "data", "id", "state", "status", "subtasks")


class _Unset:
    """Stands for an argument that was not given, where None is a legal one."""


_UNSET = _Unset()


@dataclass(frozen=True, init=False)
class Task(_Slots, Generic[T_co, S_co]):
    """What became of a task, or a record made by hand. Immutable.

    Two tasks are equal if their `id`, `status` and `data` are.

    Args:
        data: Any value. Default: an empty dict.
        id: A name. Default: a fresh one, "task-1", "task-2", …, unique in the process.
        status: One of `TaskStatus`. Default: "unspecified".

    Attributes:
        id: The name.
        status: What became of it.
        data: The value of a success; the list of the successes of a "mixed" parallel
            task; the exception, or what `failure` was given, of a failure; the last
            state of a timeout or a cancelled task.
        attempts: How often the action was started; of a parallel task the sum.
        state: What `update_data` saved last; an empty dict if nothing.
        subtasks: The subtasks of a parallel task, in argument order.

    Raises:
        TypeError: `id` is not a string.
        ValueError: `id` is empty, or `status` is not one of `TaskStatus`.
    """

    __slots__ = ()

    id: str
    status: S_co
    data: T_co
    attempts: int = field(compare=False)
    state: object = field(compare=False, repr=False)
    subtasks: tuple[Task[object], ...] = field(compare=False, repr=False)

    # Not `__init__`: where its `self` holds a free T, mypy ignores the argument of
    # `Task[float](3)`.
    @overload
    def __new__(cls, *, id: str = ...) -> Task[dict[str, object]]: ...
    @overload
    def __new__(cls, *, id: str = ..., status: S) -> Task[dict[str, object], S]: ...
    @overload
    def __new__(cls, data: T_co, *, id: str = ...) -> Task[T_co]: ...
    @overload
    def __new__(
        cls, data: T_co, *, id: str = ..., status: S_co
    ) -> Task[T_co, S_co]: ...
    def __new__(
        cls,
        data: object = _UNSET,
        *,
        id: str | None = None,
        status: TaskStatus = "unspecified",
        attempts: int = 0,
        state: object = _UNSET,
        subtasks: tuple[Task[object], ...] = (),
    ) -> Task[object]:
        return make_task(
            fresh_id() if id is None else name("id", id),
            _check_status(status),
            {} if data is _UNSET else data,
            attempts,
            NothingSaved() if state is _UNSET else state,
            subtasks,
        )

    def __replace__(self, /, **changes: object) -> Task[T_co, S_co]:
        fields = {slot: getattr(self, slot) for slot in _Slots.__slots__}
        make = cast("type[object]", Task)
        return cast("Task[T_co, S_co]", make(**(fields | changes)))

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.id, self.status, self.data)
        return make_task, (*fields, self.attempts, self.state, self.subtasks)

    def set_id(self, id: str, /) -> Task[T_co, S_co]:
        """The same task with another id."""
        return self.__replace__(id=id)

    def set_status(self, status: S, /) -> Task[T_co, S]:
        """The same task with another status."""
        return cast("Task[T_co, S]", self.__replace__(status=status))

    def set_data(self, data: T, /) -> Task[T, S_co]:
        """The same task with other data."""
        return cast("Task[T, S_co]", self.__replace__(data=data))

    @overload
    def result(self: Task[object, NoSuccess]) -> NoReturn: ...
    @overload
    def result(self) -> T_co: ...
    def result(self) -> object:
        """The data of a success.

        Raises:
            TaskTimedOut: The status is "timeout".
            TaskRejected: It is "rejected".
            TaskCancelled: It is "cancelled".
            TaskFailed: It is "failure" (the action's exception is the `__cause__`),
                "mixed" (a group of the subtasks' exceptions is), or "unspecified".
        """
        if self.status == "success":
            return self.data
        error = _FAILURES.get(self.status, TaskFailed)
        raise error(self) from _cause(self)


TaskResult: TypeAlias = (
    Task[T, Literal["success"]]
    | Task[T, Literal["mixed"]]
    | Task[object, Literal["failure"]]
    | Task[object, Literal["timeout"]]
    | Task[object, Literal["rejected"]]
    | Task[object, Literal["cancelled"]]
)


class TaskFailed(Exception):
    """`Task.result` was asked of a task that did not succeed.

    Attributes:
        task: The task, with its `status`, `data`, `state` and `subtasks`.

    `__cause__` is the action's own exception where there is one.
    """

    def __init__(self, task: Task[object], /) -> None:
        super().__init__(check_task(task))
        self.task = task

    def __str__(self) -> str:
        task = self.task
        if task.status == "unspecified":
            return f"{task.id} has not been run: its status is 'unspecified'"
        attempts = "1 attempt" if task.attempts == 1 else f"{task.attempts} attempts"
        return f"{task.id} ended as {task.status!r} after {attempts}{_details(task)}"


class TaskTimedOut(TaskFailed):
    """One of the task's clocks ran out; what it had saved is in `task.state`."""


class TaskRejected(TaskFailed):
    """A task of the same `id=` was queued or running already."""


class TaskCancelled(TaskFailed):
    """The task was cancelled, by `ResultChannel.cancel`, by `stop`, or from outside."""


_FAILURES: dict[str, type[TaskFailed]] = {
    "timeout": TaskTimedOut,
    "rejected": TaskRejected,
    "cancelled": TaskCancelled,
}

# A frozen dataclass refuses assignment; the slots' own setters do not, and cost half of
# `object.__setattr__`.
_set_id, _set_status, _set_data, _set_attempts, _set_state, _set_subtasks = (
    getattr(_Slots, slot).__set__
    for slot in ("id", "status", "data", "attempts", "state", "subtasks")
)


def make_task(
    id: str,
    status: TaskStatus,
    data: object,
    attempts: int,
    state: object,
    subtasks: tuple[Task[object], ...] = (),
) -> Task[object]:
    """A task from values that need no check: the engine's, and a pickle's."""
    task = cast("Task[object]", object.__new__(Task))
    _set_id(task, id)
    _set_status(task, status)
    _set_data(task, data)
    _set_attempts(task, attempts)
    _set_state(task, state)
    _set_subtasks(task, subtasks)
    return task


def _check_status(status: object) -> TaskStatus:
    if status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {status!r}")
    return cast("TaskStatus", status)


def check_task(task: object) -> Task[object]:
    """A task, for those who take one.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(task, Task):
        raise TypeError(
            f"task must be a Task, not {task!r}: give what a channel's receive() "
            f"returned, or Task(data)"
        )
    return cast("Task[object]", task)


def _details(task: Task[object]) -> str:
    if task.subtasks:
        failed = sum(part.status != "success" for part in task.subtasks)
        return f": {failed} of {len(task.subtasks)} subtasks did not succeed"
    return f": {task.data!r}" if task.status == "failure" else ""


def _cause(task: Task[object]) -> BaseException | None:
    if task.status not in ("failure", "mixed"):
        return None
    if isinstance(task.data, BaseException):
        return task.data
    causes = [part.data for part in task.subtasks if part.status == "failure"]
    errors = [error for error in causes if isinstance(error, Exception)]
    return ExceptionGroup(f"subtasks of {task.id} failed", errors) if errors else None


def is_success(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, Literal["success"]]]:
    """Did it succeed? Narrows: `task.data` is then a T."""
    return check_task(task).status == "success"


def is_not_success(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, NoSuccess]]:
    """Did it end in any other way than "success"?"""
    return check_task(task).status != "success"


def is_failure(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, Literal["failure"]]]:
    """Did its last attempt raise, or did it call `failure`?"""
    return check_task(task).status == "failure"


def is_timeout(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, Literal["timeout"]]]:
    """Did one of its clocks run out?"""
    return check_task(task).status == "timeout"


def is_mixed(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, Literal["mixed"]]]:
    """Did some of its subtasks succeed, and some not?"""
    return check_task(task).status == "mixed"


def is_rejected(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, Literal["rejected"]]]:
    """Was a task of the same `id=` there already?"""
    return check_task(task).status == "rejected"


def is_cancelled(task: Task[T, TaskStatus], /) -> TypeIs[Task[T, Literal["cancelled"]]]:
    """Was it cancelled?"""
    return check_task(task).status == "cancelled"


def is_unspecified_status(
    task: Task[T, TaskStatus], /
) -> TypeIs[Task[T, Literal["unspecified"]]]:
    """Has it not been run? So has a `Task` made by hand, and the current task."""
    return check_task(task).status == "unspecified"
