"""What is done to a task's data when it ends: flatten > filter > pre > sort > post.

Each stage is a value that knows its rank and how to apply itself. Its function may be
async or plain; what it answers is awaited if it can be.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, cast

from ._checks import is_async
from ._errors import PipelineOrderError, Raised
from ._task import Task

Function: TypeAlias = Callable[..., object]
LessThan: TypeAlias = Callable[[object, object], object]

ORDER = ("flatten_nested_tasks", "filter", "pre", "sort", "post")


async def called(f: Function, argument: object) -> object:
    """What the function answers, awaited if it is awaitable."""
    try:
        value = f(argument)
    except StopIteration as error:
        raise Raised(error) from None
    return await settled(value)


async def settled(value: object) -> object:
    """The value, awaited if it is awaitable: so a stage may be async or plain."""
    return await value if inspect.isawaitable(value) else value


# No dataclasses: to make them takes a tenth of the whole import.
class Flatten:
    __slots__ = ()
    name = "flatten_nested_tasks"
    function = None

    async def apply(self, data: object) -> object:
        return flattened(data)


class Filter:
    __slots__ = ("function",)
    name = "filter"

    def __init__(self, function: Function) -> None:
        self.function = function

    async def apply(self, data: object) -> object:
        items = cast("Iterable[object]", data)
        return [item for item in items if await called(self.function, item)]


class Apply:
    """`pre` and `post`: a function of the whole data."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Function) -> None:
        self.name = name
        self.function = function

    async def apply(self, data: object) -> object:
        return await called(self.function, data)


class Sort:
    __slots__ = ("cache_keys", "key", "op")
    name = "sort"

    def __init__(self, op: LessThan, key: Function | None, cache_keys: bool) -> None:
        self.op = op
        self.key = key
        self.cache_keys = cache_keys

    @property
    def function(self) -> Function | None:
        return self.key if self.op is operator.lt else self.op

    async def apply(self, data: object) -> object:
        items = list(cast("Iterable[object]", data))
        if self.key is not None and not self.cache_keys:
            return await sorted_by(self.op, items, self.key)
        keyed = [(await self._key_of(item), item) for item in items]
        if self.op is operator.lt:  # what `sorted` asks of the keys itself
            keyed.sort(key=cast("Callable[[object], int]", _first))
            return [item for _, item in keyed]
        ordered = await sorted_by(self.op, keyed, _first)
        return [item for _, item in cast("list[tuple[object, object]]", ordered)]

    async def _key_of(self, item: object) -> object:
        return item if self.key is None else await called(self.key, item)


Stage: TypeAlias = Flatten | Filter | Apply | Sort

_first: Function = operator.itemgetter(0)


class _Awaitable(Exception):
    """A comparison that was taken for a plain one answered with an awaitable."""


async def sorted_by(
    op: LessThan, items: Iterable[object], key: Callable[..., object]
) -> list[object]:
    """The items in a stable order, by `op` over `key(item)`, asked anew each time."""
    ordered = list(items)
    if not (is_async(op) or is_async(key)):
        try:
            return sorted(ordered, key=lambda item: _Plain(op, item, key))
        except _Awaitable:  # a plain function of an async one, such as a lambda
            pass
    return await _merge_sorted(op, ordered, key)


class _Plain:
    """An item to `sorted`, which compares by `<` alone."""

    __slots__ = ("item", "key", "op")

    def __init__(self, op: LessThan, item: object, key: Function) -> None:
        self.op, self.item, self.key = op, item, key

    def __lt__(self, other: _Plain) -> bool:
        pair = _plain(self.key(self.item)), _plain(self.key(other.item))
        return bool(_plain(self.op(*pair)))


def _plain(value: object) -> object:
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise _Awaitable
    return value


async def _merge_sorted(
    op: LessThan, items: list[object], key: Function
) -> list[object]:
    """`sorted` cannot await: the textbook merge sort, for an async `op` or `key`."""
    if len(items) < 2:
        return items
    middle = len(items) // 2
    left = await _merge_sorted(op, items[:middle], key)
    right = await _merge_sorted(op, items[middle:], key)
    merged: list[object] = []
    taken = 0
    for item in left:
        # Only what is truly less goes before: equals keep their order.
        while taken < len(right) and await _less(op, right[taken], item, key):
            merged.append(right[taken])
            taken += 1
        merged.append(item)
    return merged + right[taken:]


async def _less(op: LessThan, one: object, other: object, key: Function) -> bool:
    pair = await settled(key(one)), await settled(key(other))
    return bool(await settled(op(*pair)))


def flattened(data: object) -> object:
    """Each task in the data, and in lists in it, becomes its data, at any depth.

    Raises:
        ValueError: A list contains itself.
    """
    outer: list[object] = []
    # Not recursive: there is no limit to the depth.
    path: list[_Level] = [(iter([data]), outer, 0)]
    on_path: set[int] = set()
    while path:
        items, made, level = path[-1]
        for item in map(_unboxed, items):
            if not isinstance(item, list):
                made.append(item)
                continue
            below = cast("list[object]", item)
            if id(below) in on_path:
                raise ValueError("a list contains itself: flattening would not end")
            inner: list[object] = []
            made.append(inner)
            on_path.add(id(below))
            path.append((iter(below), inner, id(below)))
            break
        else:
            path.pop()
            on_path.discard(level)
    return outer[0]


# What is left of a list, what it becomes, and its identity.
_Level: TypeAlias = tuple[Iterator[object], list[object], int]


def _unboxed(data: object) -> object:
    while isinstance(data, Task):
        data = cast("Task[object]", data).data
    return data


def with_stage(stages: tuple[Stage, ...], stage: Stage) -> tuple[Stage, ...]:
    """The stages and one more, which may not belong before the last of them.

    Raises:
        PipelineOrderError: It does.
    """
    if stages and ORDER.index(stage.name) < ORDER.index(stages[-1].name):
        late = next(s for s in stages if ORDER.index(s.name) > ORDER.index(stage.name))
        raise PipelineOrderError(
            f".{stage.name}() was called after .{late.name}(), but a pipeline always "
            f"runs as {' > '.join(ORDER)}: move .{stage.name}() before .{late.name}()"
        )
    return (*stages, stage)


async def piped(data: object, stages: Iterable[Stage], id: str) -> object:
    """The data after all stages.

    Raises:
        Exception: What a stage raised, with a note that names the stage and the task.
    """
    for stage in stages:
        try:
            data = await stage.apply(data)
        except Exception as error:
            cause = error.error if isinstance(error, Raised) else error
            cause.add_note(f"raised by .{stage.name}({_named(stage)}) of {id}")
            raise
    return data


def _named(stage: Stage) -> str:
    if stage.function is None:
        return ""
    return str(getattr(stage.function, "__qualname__", stage.function))
