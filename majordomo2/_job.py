"""A job: an immutable description of work, to keep, reuse and run many times."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sized
from typing import (
    Generic,
    Literal,
    NamedTuple,
    Never,
    Protocol,
    TypeAlias,
    TypeVarTuple,
    Unpack,
    cast,
    final,
    overload,
)

from typing_extensions import TypeIs, TypeVar

from . import _checks, _pipeline
from ._options import Options, TaskOptions, check_runner, checked
from ._pipeline import Function, LessThan, Stage
from ._task import S_co, Task

Ts = TypeVarTuple("Ts")
A = TypeVar("A")
K = TypeVar("K")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)
A_co = TypeVar("A_co", covariant=True)
X_co = TypeVar("X_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class Orderable(Protocol):
    """What `<` can compare."""

    def __lt__(self, other: Never, /) -> bool: ...


C = TypeVar("C", bound=Orderable)
# Plain values, for the middle overload of `pre` and `post`: it keeps `sum` and unions
# exact in mypy.
V = TypeVar("V", bound="Orderable | Sized | None")


class Variadic(Protocol[A_contra, R_co]):
    """A function of any number of arguments of one type."""

    def __call__(self, *args: A_contra) -> R_co: ...


class ListOf(Protocol[T_co]):
    """A list seen as covariant: nothing else sorts itself."""

    def __iter__(self) -> Iterator[T_co]: ...
    def sort(self, *, key: Callable[[object], int]) -> None: ...


Nested: TypeAlias = Task[object] | ListOf[Task[object]] | ListOf[ListOf[Task[object]]]


class Twice(Generic[X_co, A_co]):
    """What a method asks of the data, and what the data are.

    mypy does not check the bound of a type variable in a self type: hence this base.
    """

    __slots__ = ()


class Work(NamedTuple):
    """What a job describes, for the engine."""

    action: Callable[..., object]
    args: tuple[object, ...]
    options: Options
    parallel: bool
    stages: tuple[Stage, ...] = ()
    salvages: tuple[Function, ...] = ()


@final
class Job(Twice[R_co, R_co], Generic[R_co]):
    """A function, its arguments, options and pipeline. Immutable; made by `job`.

    Each method returns a new job. The stages always run as flatten, filter, pre, sort,
    post, once, when the task ends with data of its own; called out of that order they
    raise `PipelineOrderError`, and one called twice composes. Their functions may be
    async or plain; they run in the Trio run and hold no worker.
    """

    __slots__ = ("_work",)
    _work: Work

    def __init__(self, *work: object) -> None:
        self._work = _checks.made_by(Work, work, "a Job", "write job(f, ...)")

    @overload
    def flatten_nested_tasks(
        self: Job[ListOf[ListOf[Task[Nested]]]],
    ) -> Job[list[list[object]]]: ...
    @overload
    def flatten_nested_tasks(self: Job[ListOf[Task[Nested]]]) -> Job[list[object]]: ...
    @overload
    def flatten_nested_tasks(self: Job[Task[Nested]]) -> Job[object]: ...
    @overload
    def flatten_nested_tasks(
        self: Job[ListOf[ListOf[Task[A]]]],
    ) -> Job[list[list[A]]]: ...
    @overload
    def flatten_nested_tasks(self: Job[ListOf[Task[A]]]) -> Job[list[A]]: ...
    @overload
    def flatten_nested_tasks(self: Job[Task[A]]) -> Job[A]: ...
    def flatten_nested_tasks(self: object) -> Job[object]:
        """Each task in the data, and in lists in it, becomes its data, at any depth.

        List nesting stays, other containers are untouched.
        """
        return cast("Job[object]", self)._with_stage(_pipeline.Flatten())

    @overload
    def filter(
        self: Job[Iterable[A]], keep: Callable[[A], TypeIs[K]], /
    ) -> Job[list[K]]: ...
    @overload
    def filter(
        self: Job[Iterable[A]], keep: Callable[[A], object], /
    ) -> Job[list[A]]: ...
    def filter(self, keep: Function, /) -> Job[object]:
        """Keep the items for which `keep(item)` is true, as a list."""
        _checks.function("keep", keep, ".filter({})")
        return self._with_stage(_pipeline.Filter(keep))

    @overload
    def pre(self, f: Callable[[R_co], Awaitable[K]], /) -> Job[K]: ...
    @overload
    def pre(self, f: Callable[[R_co], V], /) -> Job[V]: ...
    @overload
    def pre(self, f: Callable[[R_co], K | Awaitable[K]], /) -> Job[K]: ...
    def pre(self, f: Function, /) -> Job[object]:
        """Map the whole data before the sort."""
        _checks.function("f", f, ".pre({})")
        return self._with_stage(_pipeline.Apply("pre", f))

    @overload
    def sort(
        self: Twice[Iterable[Orderable], Iterable[A]], *, cache_keys: bool = ...
    ) -> Job[list[A]]: ...
    @overload
    def sort(
        self: Job[Iterable[A]],
        op: Callable[[A, A], bool | Awaitable[bool]],
        *,
        cache_keys: bool = ...,
    ) -> Job[list[A]]: ...
    @overload
    def sort(
        self: Job[Iterable[A]],
        *,
        key: Callable[[A], C | Awaitable[C]],
        cache_keys: bool = ...,
    ) -> Job[list[A]]: ...
    @overload
    def sort(
        self: Job[Iterable[A]],
        op: Callable[[K, K], bool | Awaitable[bool]],
        *,
        key: Callable[[A], Awaitable[K]],
        cache_keys: bool = ...,
    ) -> Job[list[A]]: ...
    @overload
    def sort(
        self: Job[Iterable[A]],
        op: Callable[[K, K], bool | Awaitable[bool]],
        *,
        key: Callable[[A], K],
        cache_keys: bool = ...,
    ) -> Job[list[A]]: ...
    def sort(
        self: object,
        op: object = operator.lt,
        *,
        key: object = None,
        cache_keys: object = True,
    ) -> Job[object]:
        """Sort the items, stably, into a list.

        Args:
            op: The less-than function, of two items or of two keys. Default: `<`.
            key: What to compare of an item. Default: the item.
            cache_keys: Ask `key` once per item (the default, as `sorted` does), or
                anew at each comparison.
        """
        _checks.function("op", op, ".sort({})")
        if key is not None:
            _checks.function("key", key, ".sort(key={})")
        cached = _checks.flag("cache_keys", cache_keys)
        less, of = cast("LessThan", op), cast("Function | None", key)
        return cast("Job[object]", self)._with_stage(_pipeline.Sort(less, of, cached))

    @overload
    def post(self, f: Callable[[R_co], Awaitable[K]], /) -> Job[K]: ...
    @overload
    def post(self, f: Callable[[R_co], V], /) -> Job[V]: ...
    @overload
    def post(self, f: Callable[[R_co], K | Awaitable[K]], /) -> Job[K]: ...
    def post(self, f: Function, /) -> Job[object]:
        """Map the whole data after the sort."""
        _checks.function("f", f, ".post({})")
        return self._with_stage(_pipeline.Apply("post", f))

    def salvage(self, f: Callable[[object], object], /) -> Job[R_co]:
        """Map the state that a timeout left behind, and only that.

        Its result is the data of the timed-out task, whose type is `object`. If `f`
        raises, the state stays as it is and the error is logged. On a parallel job it
        is given the list of the subtasks' data.
        """
        _checks.function("f", f, ".salvage({})")
        return Job(self._work._replace(salvages=(*self._work.salvages, f)))

    def _with_stage(self, stage: Stage) -> Job[object]:
        stages = _pipeline.with_stage(self._work.stages, stage)
        return Job(self._work._replace(stages=stages))

    def __repr__(self) -> str:
        work = self._work
        name = getattr(work.action, "__qualname__", repr(work.action))
        form = ", parallel=True" if work.parallel else ""
        stages = "".join(f".{stage.name}(...)" for stage in work.stages)
        salvages = ".salvage(...)" * len(work.salvages)
        return f"<Job {name}, {len(work.args)} arguments{form}{stages}{salvages}>"


def work_of(job: Job[object]) -> Work:
    """What the job describes."""
    return job._work  # pyright: ignore[reportPrivateUsage] - one slot, two readers


def check_alone(
    method: str, args: tuple[object, ...], options: dict[str, object]
) -> None:
    """A job is given alone.

    Raises:
        TypeError: Something is beside it.
    """
    if not args and not options:
        return
    given = ", ".join(
        [*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())]
    )
    raise TypeError(
        f"{method}(job) takes nothing beside the job, not {given}: a job holds its "
        f"arguments and options; give them to job()"
    )


# As it is, parallel, unwrap of a tuple, unwrap into *args, and both; each a pair, async
# first. The second of a pair says `R | Awaitable[R]`: with a bare R, mypy takes an async
# action with an Any in its signature for both, and answers Any.
@overload
def job(
    action: Callable[[*Ts], Awaitable[R]],
    /,
    *args: *Ts,
    parallel: Literal[False] = ...,
    unwrap: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> Job[R]: ...
@overload
def job(
    action: Callable[[*Ts], R | Awaitable[R]],
    /,
    *args: *Ts,
    parallel: Literal[False] = ...,
    unwrap: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> Job[R]: ...
@overload
def job(
    action: Callable[[A], Awaitable[R]],
    /,
    *args: A,
    parallel: Literal[True],
    unwrap: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> Job[list[R]]: ...
@overload
def job(
    action: Callable[[A], R | Awaitable[R]],
    /,
    *args: A,
    parallel: Literal[True],
    unwrap: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> Job[list[R]]: ...
@overload
def job(
    action: Callable[[*Ts], Awaitable[R]],
    args: tuple[*Ts],
    /,
    *,
    parallel: Literal[False] = ...,
    unwrap: Literal[True],
    **options: Unpack[TaskOptions],
) -> Job[R]: ...
@overload
def job(
    action: Callable[[*Ts], R | Awaitable[R]],
    args: tuple[*Ts],
    /,
    *,
    parallel: Literal[False] = ...,
    unwrap: Literal[True],
    **options: Unpack[TaskOptions],
) -> Job[R]: ...
@overload
def job(
    action: Variadic[A, Awaitable[R]],
    args: Iterable[A],
    /,
    *,
    parallel: Literal[False] = ...,
    unwrap: Literal[True],
    **options: Unpack[TaskOptions],
) -> Job[R]: ...
@overload
def job(
    action: Variadic[A, R | Awaitable[R]],
    args: Iterable[A],
    /,
    *,
    parallel: Literal[False] = ...,
    unwrap: Literal[True],
    **options: Unpack[TaskOptions],
) -> Job[R]: ...
@overload
def job(
    action: Callable[[A], Awaitable[R]],
    args: Iterable[A],
    /,
    *,
    parallel: Literal[True],
    unwrap: Literal[True],
    **options: Unpack[TaskOptions],
) -> Job[list[R]]: ...
@overload
def job(
    action: Callable[[A], R | Awaitable[R]],
    args: Iterable[A],
    /,
    *,
    parallel: Literal[True],
    unwrap: Literal[True],
    **options: Unpack[TaskOptions],
) -> Job[list[R]]: ...
def job(
    action: Callable[..., object],
    /,
    *args: object,
    parallel: object = False,
    unwrap: object = False,
    **options: object,
) -> Job[object]:
    """Describe work: a function, its arguments, its options, and how to run it.

    Args:
        action: An async or plain function. What it returns is the data of the task.
        args: Its arguments; the same for every attempt.
        parallel: Run one subtask per argument, each called with that argument alone;
            the data is the list of the subtasks' data, in argument order.
        unwrap: Take the one argument, an iterable, as the arguments. It is read to its
            end at once.
        options: `TaskOptions`.

    Raises:
        TypeError: Something is of the wrong type, an option is unknown, or there are
            further arguments beside an unwrapped one.
        ValueError: An option is out of range.
    """
    _checks.function("action", action, "job({}, ...)")
    if _checks.flag("unwrap", unwrap):
        args = _unwrapped(action, args)
    given = checked("job", options)
    check_runner(given.runner, action)
    return Job(Work(action, args, given, _checks.flag("parallel", parallel)))


def _unwrapped(
    action: Callable[..., object], args: tuple[object, ...]
) -> tuple[object, ...]:
    if len(args) != 1:
        name = getattr(action, "__name__", "f")
        raise TypeError(
            f"unwrap=True takes one iterable of arguments, not {len(args)} arguments: "
            f"write job({name}, [...], unwrap=True)"
        )
    return _checks.arguments(args[0])


@overload
def flatten_nested_tasks(
    task: Task[ListOf[ListOf[Task[Nested]]], S_co], /
) -> Task[list[list[object]], S_co]: ...
@overload
def flatten_nested_tasks(
    task: Task[ListOf[Task[Nested]], S_co], /
) -> Task[list[object], S_co]: ...
@overload
def flatten_nested_tasks(task: Task[Task[Nested], S_co], /) -> Task[object, S_co]: ...
@overload
def flatten_nested_tasks(
    task: Task[ListOf[ListOf[Task[A]]], S_co], /
) -> Task[list[list[A]], S_co]: ...
@overload
def flatten_nested_tasks(
    task: Task[ListOf[Task[A]], S_co], /
) -> Task[list[A], S_co]: ...
@overload
def flatten_nested_tasks(task: Task[Task[A], S_co], /) -> Task[A, S_co]: ...
def flatten_nested_tasks(task: object, /) -> object:
    """The task with each task inside its data, and inside lists in it, as its data.

    At any depth; list nesting stays, other containers are untouched, and so are the
    outer task's id and status.

    Raises:
        TypeError: `task` is not a `Task`.
    """
    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, not {task!r}: write Task({task!r})")
    outer = cast("Task[object]", task)
    return outer.set_data(_pipeline.flattened(outer.data))
