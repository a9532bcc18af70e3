"""All Hypothesis strategies."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

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


# Policies: when a task is started again, and how long it may take.


class Sulk(Exception):
    """Raised by scripts."""


class Storm(Sulk):
    """A kind of sulk."""


class Flood(Exception):
    """No sulk."""


RAISES: dict[str, Callable[[], Exception]] = {
    "sulk": lambda: Sulk("sulk"),
    "storm": lambda: Storm("storm"),
    "flood": lambda: Flood("flood"),
    "sulks": lambda: ExceptionGroup(
        "sulks", [Sulk(), ExceptionGroup("inner", [Storm()])]
    ),
    "both": lambda: ExceptionGroup("both", [Sulk(), Flood()]),
}


class Bad(Enum):
    """What a `retry_on` function must not do; the values are what it returns."""

    NAN = math.nan
    INFINITE = math.inf
    NEGATIVE = -1
    TOO_LARGE = 10**400
    NONE = None
    TEXT = "1"
    RAISES = "raises"


# Whether it starts again, after how many seconds, or what is wrong with the answer.
Said: TypeAlias = bool | float | Bad


@dataclass(frozen=True)
class RetryRule:
    """A `retry_on`, and what it says of each kind of raise.

    Attributes:
        value: None: the option is left out.
    """

    value: object
    answers: dict[str, Said]

    def __repr__(self) -> str:
        return f"{self.value}: {self.answers}"


def _by_type(value: object, *retried: str) -> RetryRule:
    return RetryRule(value, {kind: kind in retried for kind in RAISES})


def _by_function(answers: dict[str, Said]) -> RetryRule:
    def retry_on(error: Exception) -> object:
        kind = error.message if isinstance(error, ExceptionGroup) else error.args[0]
        answer = answers[kind]
        if answer is Bad.RAISES:
            raise ZeroDivisionError(kind)
        return answer.value if isinstance(answer, Bad) else answer

    return RetryRule(retry_on, answers)


_answers: st.SearchStrategy[Said] = st.sampled_from(
    [True, True, True, 0, 0.0, 0.5, 2, False, *Bad]
)
retry_rules: st.SearchStrategy[RetryRule] = st.one_of(
    st.sampled_from(
        [
            _by_type(None, *RAISES),
            _by_type(()),
            _by_type(Sulk, "sulk", "storm", "sulks"),
            _by_type((Storm, Flood), "storm", "flood"),
            _by_type((Sulk, Flood), *RAISES),
            _by_type(ExceptionGroup, "sulks", "both"),
        ]
    ),
    st.fixed_dictionaries(dict.fromkeys(RAISES, _answers)).map(_by_function),
)


@dataclass(frozen=True)
class Act:
    """One attempt under a policy.

    Attributes:
        saves: What it does at each sign of life: a number is saved, None is a ping.
        pause: Seconds before each sign of life, and before the end; None: no wait.
        end: A key of `RAISES`, "return", "success", "failure", or "hang".
    """

    saves: tuple[int | None, ...]
    pause: float | None
    end: str


@dataclass(frozen=True)
class Policy:
    """The options of a task, and what follows its last attempt.

    All times are in seconds, and sums of them are exact.

    Attributes:
        post: How long the pipeline takes; None: there is none.
        salvage: How long it takes to salvage; None: nothing does.
    """

    retries: float
    rule: RetryRule
    backoff: tuple[float, float, float] | None  # initial, factor, maximum
    keepalive: float
    attempt_timeout: float
    total_timeout: float
    priority: float
    post: float | None
    salvage: float | None


HANG = 1000.0  # seconds: longer than whatever a policy allows, if it limits it

acts = st.builds(
    Act,
    saves=st.lists(st.none() | small, max_size=3).map(tuple),
    pause=st.sampled_from([None, 0.0, 0.25, 0.25, 0.5, 1.0]),
    end=st.sampled_from([*RAISES, *RAISES, "hang", "hang", "return"]),
)
policies = st.builds(
    Policy,
    retries=st.sampled_from([0, 1, 3, 8, math.inf]),
    rule=retry_rules,
    backoff=st.sampled_from([None, (0.25, 1, 45), (0.5, 2, 1.5), (0, 3, 1)]),
    keepalive=st.sampled_from([0, 0.5, 0.75, 2.0, math.inf]),
    attempt_timeout=st.sampled_from([0, 1.0, 1.5, math.inf, math.inf]),
    total_timeout=st.sampled_from([0.5, 1.0, 2.25, 5.0, math.inf, math.inf]),
    priority=st.sampled_from([0, 0, 0, 1, -0.5]),
    post=st.sampled_from([None, 0.0, 0.5, 3.0]),
    salvage=st.sampled_from([None, 0.0, 0.5, 9.0]),
)
last_acts = st.builds(
    Act,
    saves=st.just(()),
    pause=st.none(),
    end=st.sampled_from(["return", "success", "failure"]),
)


@st.composite
def plots(draw: st.DrawFn) -> tuple[tuple[Act, ...], Policy]:
    """What the attempts of a task do, and its policy; one of them is the last."""
    script = (*draw(st.lists(acts, max_size=5)), draw(last_acts))
    return script, draw(policies)


limits: st.SearchStrategy[tuple[int, float] | None] = st.none() | st.tuples(
    st.integers(1, 3), st.sampled_from([0, 0.25, 1.0, 3.0])
)
