"""All Hypothesis strategies."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from majordomo2 import Task
from support import FLAVOURS, flavoured, is_task

small = st.integers(-20, 20)
flavours = st.sampled_from(FLAVOURS)


# Data with tasks in it.

_plain: st.SearchStrategy[object] = st.one_of(small, st.text(max_size=3), st.none())
_boxed = _plain.map(Task)
# Containers that are no lists keep the tasks inside.
_others: st.SearchStrategy[object] = st.one_of(
    st.tuples(_boxed, _plain),
    st.dictionaries(st.text(max_size=2), _boxed, max_size=2),
    st.frozensets(_boxed, max_size=2),
    st.tuples(st.lists(_boxed, max_size=2)),
)


def _grown(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(
        st.lists(inner, max_size=4),
        inner.map(Task),
    )


nested: st.SearchStrategy[object] = st.recursive(
    st.one_of(_plain, _others), _grown, max_leaves=12
)


# Stages of a pipeline: what each does, and its method calls on a work.


def number(item: object) -> int:
    """An item of `items`: a number, or a task with one."""
    value: Any = item.data if is_task(item) else item
    return int(value)


items: st.SearchStrategy[list[object]] = st.lists(
    st.one_of(small, small.map(Task)), max_size=8
)


@dataclass(frozen=True)
class StageCall:
    """One call of a method of a job, and its meaning for a list.

    Attributes:
        say: From a job to the next one.
        apply: From the data to the next.
        text: For the reader of a failure.
    """

    name: str
    say: Callable[[Any], Any]
    apply: Callable[[Any], Any]
    text: str

    def __repr__(self) -> str:
        return self.text


def _flatten() -> st.SearchStrategy[StageCall]:
    def apply(data: list[object]) -> list[int]:
        return [number(item) for item in data]

    name = "flatten_nested_tasks"
    call = StageCall(
        name, lambda work: work.flatten_nested_tasks(), apply, f".{name}()"
    )
    return st.just(call)


@st.composite
def _filters(draw: st.DrawFn) -> StageCall:
    divisor, rest, flavour = (
        draw(st.integers(2, 3)),
        draw(st.integers(0, 1)),
        draw(flavours),
    )

    def keep(item: object) -> bool:
        return number(item) % divisor != rest

    return StageCall(
        "filter",
        lambda work: work.filter(flavoured(keep, flavour)),
        lambda data: [item for item in data if keep(item)],
        f".filter(x % {divisor} != {rest}, {flavour})",
    )


def _maps(name: str) -> st.SearchStrategy[StageCall]:
    @st.composite
    def maps(draw: st.DrawFn) -> StageCall:
        factor, flavour = draw(st.sampled_from([-1, 2, 3])), draw(flavours)

        def f(data: list[object]) -> list[int]:
            return [factor * number(item) + 1 for item in data] + [len(data)]

        return StageCall(
            name,
            lambda work: getattr(work, name)(flavoured(f, flavour)),
            f,
            f".{name}({factor} * x + 1, and the length, {flavour})",
        )

    return maps()


@st.composite
def _sorts(draw: st.DrawFn) -> StageCall:
    divisor, flavour = draw(st.integers(2, 5)), draw(flavours)
    op = draw(st.sampled_from([operator.lt, operator.gt]))
    cache_keys = draw(st.booleans())

    def key(item: object) -> int:
        return number(item) % divisor

    return StageCall(
        "sort",
        lambda work: work.sort(op, key=flavoured(key, flavour), cache_keys=cache_keys),
        lambda data: sorted(data, key=key, reverse=op is operator.gt),
        f".sort({op.__name__}, key=x % {divisor}, {cache_keys=}, {flavour})",
    )


stage_calls: dict[str, st.SearchStrategy[StageCall]] = {
    "flatten_nested_tasks": _flatten(),
    "filter": _filters(),
    "pre": _maps("pre"),
    "sort": _sorts(),
    "post": _maps("post"),
}
stage_names = st.sampled_from(list(stage_calls))


# Sorting.


@dataclass(frozen=True)
class LessThan:
    """A strict weak order on numbers."""

    text: str
    of: Callable[[int, int], bool]

    def __repr__(self) -> str:
        return self.text


less_thans = st.sampled_from(
    [
        LessThan("<", operator.lt),
        LessThan(">", operator.gt),
        LessThan("by x % 3", lambda one, other: one % 3 < other % 3),
        LessThan("by -abs(x)", lambda one, other: abs(one) > abs(other)),
        LessThan("all equal", lambda _one, _other: False),
    ]
)
# Numbers that repeat, each with its place: so that an unstable sort is seen.
numbered: st.SearchStrategy[list[tuple[int, int]]] = st.lists(
    st.integers(-3, 3), max_size=12
).map(lambda numbers: [(value, place) for place, value in enumerate(numbers)])


# Scripts of attempts: what each does, one after the other.


@dataclass(frozen=True)
class Step:
    """One attempt: some pings and saves, then its end.

    Attributes:
        saves: What it does at each sign of life: a number is saved, None is a ping.
        pause: Seconds before each sign of life, and before the end; less than a period.
        end: "return", "raise", "success", "failure" or "hang".
    """

    saves: tuple[int | None, ...]
    pause: float
    end: str


PERIOD = 1.0  # seconds of silence, in scripts

steps = st.builds(
    Step,
    saves=st.lists(st.none() | small, max_size=3).map(tuple),
    pause=st.sampled_from([0.0, 0.25, 0.875]),
    end=st.sampled_from(["return", "raise", "raise", "hang", "hang"]),
)
endings = st.sampled_from(["return", "success", "failure"])
scripts: st.SearchStrategy[list[Step]] = st.lists(steps, max_size=6)
