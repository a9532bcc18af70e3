"""Whatever is wrong with a call is said at the call: the parameter, the value, the remedy.

A test or a row for each public parameter and each kind of wrong value. After each of
them the instance is as good as before, nothing was run, and no coroutine is left open.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import inspect
import logging
import math
import operator
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

import pytest
import trio

from majordomo2 import (
    Backoff,
    Job,
    Majordomo,
    MajordomoStopped,
    NoCurrentTask,
    ResultChannel,
    Task,
    TaskFailed,
    TaskState,
    current_task,
    current_task_data,
    failure,
    flatten_nested_tasks,
    is_cancelled,
    is_failure,
    is_mixed,
    is_not_success,
    is_rejected,
    is_success,
    is_timeout,
    is_unspecified_status,
    job,
    keepalive,
    start_majordomo,
    success,
    task_return_value,
    update_data,
)
from majordomo2.abc import Attempt, Observer
from support import untyped
from virtual import run_with

NAN = math.nan
METHODS = ["add_task", "run", "get_task_data"]
CALLERS = ["job", *METHODS]
Row: TypeAlias = tuple[object, type[Exception], str]


async def fetch(*args: object) -> int:
    """The right action."""
    return len(args)


def plain(*args: object) -> int:
    return len(args)


async def generate() -> AsyncIterator[int]:
    yield 1


class AsyncCallable:
    async def __call__(self) -> int:
        return 1

    async def method(self) -> int:
        return 1


class AsyncGeneratorCallable:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


class OddRunner:
    """Runs async generators; says itself what does not suit it."""

    def check(self, action: Callable[..., object], /) -> None:
        if not inspect.isasyncgenfunction(action):
            raise TypeError(f"OddRunner wants an async generator, not {action!r}")

    async def run(self, attempt: Attempt, /) -> object:
        raise NotImplementedError


class HalfARunner:
    async def run(self, attempt: Attempt, /) -> object:
        raise NotImplementedError


def assert_said(error: BaseException, *words: object) -> None:
    """Each word is in the message: a string as it is, any other value as its repr."""
    for word in words:
        text = word if isinstance(word, str) else repr(word)
        assert text in str(error)


def refused(
    caller: str,
    args: tuple[object, ...],
    options: Mapping[str, object],
    words: tuple[object, ...],
    error: type[Exception] = TypeError,
) -> None:
    """The call raises: `job` and `add_task` before they return, the others when awaited.

    Nothing is run, and the instance works on.
    """

    async def body(jarvis: Majordomo) -> None:
        call = untyped(job if caller == "job" else getattr(jarvis, caller))
        if caller in ("run", "get_task_data"):
            waiting = call(*args, **options)
            with pytest.raises(error) as caught:
                await waiting
        else:
            with pytest.raises(error) as caught:
                call(*args, **options)
        assert type(caught.value) is error
        assert_said(caught.value, *words)
        assert "running=0 queued=0" in repr(jarvis)
        assert await jarvis.get_task_data(fetch, 1, 2) == 2

    run_with(body)


# Options

SECONDS: list[Row] = [
    (-1, ValueError, "math.inf"),
    (-0.001, ValueError, "math.inf"),
    (-math.inf, ValueError, "math.inf"),
    (NAN, ValueError, "math.inf"),
    (True, TypeError, "number of seconds"),
    (False, TypeError, "number of seconds"),
    (None, TypeError, "math.inf"),
    ("5", TypeError, "number of seconds"),
    (b"5", TypeError, "number of seconds"),
    (1j, TypeError, "number of seconds"),
    (Fraction(1, 2), TypeError, "number of seconds"),
    ([5], TypeError, "number of seconds"),
]
WHOLE: list[Row] = [
    (-1, ValueError, "math.inf"),
    (-math.inf, ValueError, "math.inf"),
    (NAN, ValueError, "math.inf"),
    (1.5, TypeError, "whole number"),
    (3.0, TypeError, "whole number"),
    (True, TypeError, "whole number"),
    (None, TypeError, "math.inf"),
    ("3", TypeError, "whole number"),
    (2j, TypeError, "whole number"),
    ([3], TypeError, "whole number"),
]
NUMBER: list[Row] = [
    (NAN, ValueError, "give one such as 1"),
    (True, TypeError, "must be a number"),
    (False, TypeError, "must be a number"),
    (None, TypeError, "give one such as 1"),
    ("1", TypeError, "must be a number"),
    ("high", TypeError, "must be a number"),
    (b"1", TypeError, "must be a number"),
    (1j, TypeError, "must be a number"),
    (Fraction(1, 2), TypeError, "must be a number"),
    ((1, 2), TypeError, "must be a number"),
    ([1], TypeError, "must be a number"),
]
OPTIONS: list[tuple[str, object, type[Exception], str]] = [
    *(("keepalive", value, error, remedy) for value, error, remedy in SECONDS),
    *(("retries", value, error, remedy) for value, error, remedy in WHOLE),
    ("runner", "threads", ValueError, "'thread'"),
    ("runner", "", ValueError, "'auto'"),
    ("runner", None, TypeError, "majordomo2.abc.Runner"),
    ("runner", True, TypeError, "majordomo2.abc.Runner"),
    ("runner", fetch, TypeError, "majordomo2.abc.Runner"),
    ("runner", OddRunner, TypeError, "majordomo2.abc.Runner"),
    ("runner", HalfARunner(), TypeError, "the methods check and run"),
    ("id", "", ValueError, "leave it out"),
    ("id", 1, TypeError, "str(...)"),
    ("id", None, TypeError, "string"),
    ("id", b"x", TypeError, "str(...)"),
    ("id", True, TypeError, "str(...)"),
    ("context", {}, TypeError, "contextvars.copy_context()"),
    ("context", None, TypeError, "contextvars.copy_context()"),
    ("context", contextvars.copy_context, TypeError, "contextvars.copy_context()"),
    *(("attempt_timeout", value, error, remedy) for value, error, remedy in SECONDS),
    *(("total_timeout", value, error, remedy) for value, error, remedy in SECONDS),
    *(("priority", value, error, remedy) for value, error, remedy in NUMBER),
    ("retry_on", 3, TypeError, "True, False or seconds to wait"),
    ("retry_on", True, TypeError, "True, False or seconds to wait"),
    ("retry_on", None, TypeError, "() for no retry after a raise"),
    ("retry_on", "ValueError", TypeError, "give an exception type"),
    ("retry_on", [ValueError], TypeError, "a tuple of them"),
    ("retry_on", {ValueError}, TypeError, "a tuple of them"),
    ("retry_on", ValueError("x"), TypeError, "give an exception type"),
    ("retry_on", int, TypeError, "give an exception type"),
    ("retry_on", BaseException, TypeError, "subclasses of Exception"),
    ("retry_on", KeyboardInterrupt, TypeError, "subclasses of Exception"),
    ("retry_on", trio.Cancelled, TypeError, "subclasses of Exception"),
    ("retry_on", fetch, TypeError, "a plain function of the exception"),
    ("retry_on", functools.partial(fetch), TypeError, "a plain function"),
    ("retry_on", AsyncCallable(), TypeError, "a plain function"),
    ("backoff", None, TypeError, "give Backoff(...)"),
    ("backoff", True, TypeError, "give Backoff(...)"),
    ("backoff", 0.5, TypeError, "give Backoff(...)"),
    ("backoff", "exponential", TypeError, "give Backoff(...)"),
    ("backoff", [1, 2, 4], TypeError, "give Backoff(...)"),
    ("backoff", {"initial": 1}, TypeError, "give Backoff(...)"),
    ("backoff", Backoff, TypeError, "give Backoff(...)"),
    ("backoff", plain, TypeError, "give Backoff(...)"),
]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("name", "value", "error", "remedy"), OPTIONS)
def test_a_wrong_option(
    caller: str, name: str, value: object, error: type[Exception], remedy: str
) -> None:
    """Each option is checked at the call, wherever it is given: SPEC 7.4."""
    words = (f"{name} must", value if value is not NAN else "nan", remedy)
    refused(caller, (fetch, 1), {name: value}, words, error)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ((3,), 3),
        ((ValueError, None), None),
        ((ValueError, KeyboardInterrupt), KeyboardInterrupt),
        ((ValueError, (KeyError, OSError)), (KeyError, OSError)),
        (("ValueError",), "ValueError"),
        ((ValueError("x"),), ValueError("x")),
        ((plain,), plain),
    ],
)
def test_a_wrong_type_in_retry_on(
    caller: str, kinds: tuple[object, ...], wrong: object
) -> None:
    """The one among them that is wrong is shown: SPEC 7.4, 8.1."""
    words = ("retry_on must hold subclasses of Exception", wrong, "a tuple of them")
    refused(caller, (fetch, 1), {"retry_on": kinds}, words)


def test_a_coroutine_for_a_retry_on() -> None:
    """`retry_on=f()` is no function: SPEC 7.4, 8.1."""
    with contextlib.closing(fetch(1)) as coroutine:
        words = ("retry_on must be a function", "coroutine", "a plain function")
        refused("add_task", (fetch, 1), {"retry_on": coroutine}, words)


@pytest.mark.parametrize("value", [-math.inf, math.inf, -3, 0.5, -(10**400), 10**400])
def test_any_number_is_a_priority(value: float) -> None:
    """Infinite ones and huge ones compare too: SPEC 7.7."""
    order: list[float] = []

    async def body(jarvis: Majordomo) -> None:
        jarvis.add_task(trio.sleep, 1)
        for priority in (0, value):
            jarvis.add_task(order.append, priority, priority=priority, runner="inline")

    run_with(body, max_workers=1)
    assert order == sorted([0, value], reverse=True)


@pytest.mark.parametrize(
    "name", ["keepalive", "retries", "attempt_timeout", "total_timeout", "priority"]
)
def test_an_option_too_large_for_a_float(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is as good as `math.inf`, also in what is logged: SPEC 4.3, 4.4, 7.7, 8.3."""
    caplog.set_level(logging.INFO, "majordomo2")

    async def fail_once() -> str:
        await trio.sleep(1)
        if current_task().attempts == 1:
            raise ValueError("not yet")
        return "done"

    async def body(jarvis: Majordomo) -> Task[object]:
        channel = untyped(jarvis).add_task(fail_once, **{name: 10**400})
        task: Task[object] = await channel.receive()
        return task

    task = run_with(body)
    assert (task.status, task.data, task.attempts) == ("success", "done", 2)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("retires", "did you mean retries=?"),
        ("retry", "did you mean retry_on=?"),
        ("keep_alive", "did you mean keepalive=?"),
        ("runer", "did you mean runner=?"),
        ("contxt", "did you mean context=?"),
        ("retryon", "did you mean retry_on=?"),
        ("back_off", "did you mean backoff=?"),
        ("attempt_time", "did you mean attempt_timeout=?"),
        ("totaltimeout", "did you mean total_timeout=?"),
        ("prio", "did you mean priority=?"),
        ("url", "keepalive, retries, retry_on, backoff, attempt_timeout"),
    ],
)
def test_a_misspelt_option(caller: str, name: str, near: str) -> None:
    """The nearest one is shown, and what to do with keywords of the action: SPEC 7.4."""
    words = (f"{caller} has no option {name}=", near, "functools.partial")
    refused(caller, (fetch, 1), {name: 3}, words)


@pytest.mark.parametrize("caller", METHODS)
@pytest.mark.parametrize("name", ["parallel", "unwrap"])
def test_the_form_of_a_job_is_said_in_job(caller: str, name: str) -> None:
    """`parallel` and `unwrap` elsewhere: the corrected call is shown: SPEC 6.4."""
    words = (f"{name}=", f"{caller}(job(f, ..., {name}=True))")
    refused(caller, (fetch, [1]), {name: True}, words)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    "name", ["flatten_nested_tasks", "filter", "pre", "sort", "post", "salvage"]
)
def test_the_pipeline_is_said_by_methods(caller: str, name: str) -> None:
    """A stage given as a keyword: the corrected call is shown: SPEC 13."""
    words = (f"{name}=", f"job(f, ...).{name}(...)")
    refused(caller, (fetch, 1), {name: plain}, words)


# The action


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("value", [3, "fetch", None, [fetch], b"", True, Task(1)])
def test_an_action_that_is_no_function(caller: str, value: object) -> None:
    """The value is shown, and how the call is written: SPEC 7.4."""
    refused(caller, (value, 1), {}, ("action", value, f"{caller}(f, ...)"))


@pytest.mark.parametrize("caller", CALLERS)
def test_a_coroutine_for_a_function(caller: str) -> None:
    """`add_task(f())`: the message shows `add_task(f)`; it is closed unrun: SPEC 7.4."""
    with contextlib.closing(fetch(1)) as coroutine:
        words = (
            "coroutine fetch",
            f"write {caller}(fetch), or {caller}(fetch, ...) with arguments,",
            f"instead of {caller}(fetch(...))",
        )
        refused(caller, (coroutine,), {}, words)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("caller", CALLERS)
def test_an_async_generator_for_a_function(caller: str) -> None:
    """It is no function either: SPEC 7.4."""
    generator = generate()
    refused(caller, (generator,), {}, ("action", generator, f"{caller}(f, ...)"))


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("runner", [None, "auto", "async", "thread", "inline"])
@pytest.mark.parametrize(
    "action",
    [generate, functools.partial(generate), AsyncGeneratorCallable()],
    ids=["function", "partial", "callable object"],
)
def test_an_async_generator_function(
    caller: str, runner: str | None, action: object
) -> None:
    """It has no one result, wherever it runs: SPEC 9.1."""
    words = ("action", action, "async generator", "give an async function that")
    refused(caller, (action,), {"runner": runner} if runner else {}, words)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("runner", ["thread", "inline"])
@pytest.mark.parametrize(
    "action",
    [
        fetch,
        functools.partial(fetch, 1),
        functools.partial(functools.partial(fetch, 1), 2),
        AsyncCallable(),
        AsyncCallable().method,
        functools.partial(AsyncCallable()),
    ],
    ids=[
        "function",
        "partial",
        "partial of a partial",
        "callable object",
        "method",
        "partial of a callable object",
    ],
)
def test_an_async_function_for_a_runner_of_plain_ones(
    caller: str, runner: str, action: object
) -> None:
    """It would never be awaited: SPEC 9.1."""
    words = (f"runner={runner!r}", action, "runner='async'")
    refused(caller, (action,), {"runner": runner}, words)


@pytest.mark.parametrize("caller", CALLERS)
def test_an_action_that_a_runner_of_ones_own_refuses(caller: str) -> None:
    """Its `check` is asked at the call, and its error comes out as it is: SPEC 9.1."""
    words = ("OddRunner wants", fetch)
    refused(caller, (fetch,), {"runner": OddRunner()}, words)


# A job beside other things


@pytest.mark.parametrize("caller", METHODS)
def test_a_job_with_arguments(caller: str) -> None:
    """A job holds its arguments: SPEC 3.5, 7.4."""
    words = (f"{caller}(job)", "not 7, 'x':", "give them to job()")
    refused(caller, (job(fetch, 1), 7, "x"), {}, words)


@pytest.mark.parametrize("caller", METHODS)
def test_a_job_with_options(caller: str) -> None:
    """A job holds its options: SPEC 3.5, 7.4."""
    words = (f"{caller}(job)", "retries=7", "give them to job()")
    refused(caller, (job(fetch, 1),), {"retries": 7}, words)


@pytest.mark.parametrize("caller", METHODS)
@pytest.mark.parametrize("name", ["parallel", "unwrap"])
def test_a_job_with_a_form(caller: str, name: str) -> None:
    """A job has its form: SPEC 6.4."""
    words = (f"{caller}(job)", f"{name}=True", "give them to job()")
    refused(caller, (job(fetch, 1),), {name: True}, words)


def test_a_job_of_a_job() -> None:
    """A job is no function: SPEC 3.5."""
    work = job(fetch, 1)
    refused("job", (work,), {}, ("action", work, "job(f, ...)"))


# job(parallel=, unwrap=)


@pytest.mark.parametrize("name", ["parallel", "unwrap"])
@pytest.mark.parametrize("value", [1, 0, None, "yes", [], NAN])
def test_a_flag_that_is_no_flag(name: str, value: object) -> None:
    """Truthy is not good enough: SPEC 7.4."""
    words = (f"{name} must", value, "True or False")
    refused("job", (fetch, [1]), {name: value}, words)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("value", ["abc", "", b"abc", bytearray(b"abc")])
def test_a_string_to_unwrap(parallel: bool, value: object) -> None:
    """A string is one argument, and so are bytes: SPEC 6.3."""
    words = ("args must", value, f"[{value!r}]", "unwrap=True")
    refused("job", (plain, value), {"unwrap": True, "parallel": parallel}, words)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("value", [3, None, True, NAN, fetch])
def test_a_plain_value_to_unwrap(parallel: bool, value: object) -> None:
    """What is no iterable is one argument: SPEC 6.3."""
    words = ("args must", value, f"[{value!r}]", "unwrap=True")
    refused("job", (plain, value), {"unwrap": True, "parallel": parallel}, words)


def test_an_async_iterable_to_unwrap() -> None:
    """It can't be read at once: SPEC 6.3."""
    generator = generate()
    words = ("args must", generator, "unwrap=True")
    refused("job", (plain, generator), {"unwrap": True}, words)


def test_a_coroutine_to_unwrap() -> None:
    """It is closed unrun: SPEC 6.3."""
    with contextlib.closing(fetch(1)) as coroutine:
        words = ("args must", "fetch", "unwrap=True")
        refused("job", (plain, coroutine), {"unwrap": True}, words)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("args", [(), ([1], 2), ([1], [2], [3])])
def test_further_arguments_beside_an_unwrapped_one(
    parallel: bool, args: tuple[object, ...]
) -> None:
    """The original drops them silently: SPEC 6.3."""
    words = (f"not {len(args)} arguments", "job(plain, [...], unwrap=True)")
    options = {"unwrap": True, "parallel": parallel}
    refused("job", (plain, *args), options, words)


def test_an_iterable_that_raises_while_it_is_unwrapped() -> None:
    """Its own error comes out of `job`: SPEC 6.3."""
    with pytest.raises(ZeroDivisionError):
        job(plain, (1 // n for n in (1, 0)), unwrap=True)


# The methods of a job


@pytest.mark.parametrize(
    ("method", "parameter"),
    [("filter", "keep"), ("pre", "f"), ("post", "f"), ("salvage", "f"), ("sort", "op")],
)
@pytest.mark.parametrize("value", [3, None, "len", [len]])
def test_a_stage_that_is_no_function(
    method: str, parameter: str, value: object
) -> None:
    """The value is shown, and how the call is written: SPEC 7.4."""
    with pytest.raises(TypeError) as caught:
        getattr(untyped(job(fetch)), method)(value)
    assert_said(caught.value, f"{parameter} must be a function", value, f".{method}(f)")


@pytest.mark.parametrize("value", [3, "key", [len]])
def test_a_key_that_is_no_function(value: object) -> None:
    """The value is shown, and how the call is written: SPEC 7.4."""
    with pytest.raises(TypeError) as caught:
        untyped(job(fetch)).sort(key=value)
    assert_said(caught.value, "key must be a function", value, ".sort(key=f)")


@pytest.mark.parametrize("method", ["filter", "pre", "post", "salvage", "sort"])
def test_a_coroutine_for_a_stage(method: str) -> None:
    """The message shows the function itself; the coroutine is closed unrun: SPEC 7.4."""
    with contextlib.closing(fetch(1)) as coroutine:
        with pytest.raises(TypeError) as caught:
            getattr(untyped(job(fetch)), method)(coroutine)
        assert_said(caught.value, "coroutine fetch", f"{method}(fetch")
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_a_coroutine_for_a_key() -> None:
    """The message shows `key=fetch`; the coroutine is closed unrun: SPEC 7.4."""
    with contextlib.closing(fetch(1)) as coroutine:
        with pytest.raises(TypeError) as caught:
            untyped(job(fetch)).sort(key=coroutine)
        assert_said(caught.value, "coroutine fetch", "sort(key=fetch)")
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("value", [1, 0, None, "no"])
def test_cache_keys_that_is_no_flag(value: object) -> None:
    """Truthy is not good enough: SPEC 7.4."""
    with pytest.raises(TypeError) as caught:
        untyped(job(fetch)).sort(key=len, cache_keys=value)
    assert_said(caught.value, "cache_keys must", value, "True or False")


@pytest.mark.parametrize(
    ("method", "args", "options"),
    [
        ("filter", (), {}),
        ("filter", (len, len), {}),
        ("pre", (), {}),
        ("post", (), {"f": len}),
        ("salvage", (), {}),
        ("sort", (operator.lt, len), {}),
        ("sort", (), {"cached": True}),
        ("flatten_nested_tasks", (1,), {}),
    ],
)
def test_too_many_or_too_few(
    method: str, args: tuple[object, ...], options: dict[str, object]
) -> None:
    """Python says so itself."""
    with pytest.raises(TypeError, match=method):
        getattr(untyped(job(fetch)), method)(*args, **options)


# The instance


@pytest.mark.parametrize(
    ("value", "error", "remedy"), [*WHOLE, (0, ValueError, "math.inf")]
)
def test_a_wrong_max_workers(
    value: object, error: type[Exception], remedy: str
) -> None:
    """It is checked before the block is entered: SPEC 7.1."""
    with pytest.raises(error) as caught:
        start_majordomo(max_workers=untyped(value))
    assert_said(caught.value, "max_workers must", value, remedy)


def test_a_huge_max_workers() -> None:
    """A number too large for a float works as well as `math.inf`: SPEC 7.1."""

    async def body(jarvis: Majordomo) -> int:
        return await jarvis.get_task_data(fetch, 1)

    assert run_with(body, max_workers=10**400) == 1


LIMITS: list[Row] = [
    (5, TypeError, "restart_limit=(10, 60)"),
    (2.5, TypeError, "restart_limit=(10, 60)"),
    (True, TypeError, "restart_limit=(10, 60)"),
    ("ab", TypeError, "restart_limit=(10, 60)"),
    ([1, 2], TypeError, "restart_limit=(10, 60)"),
    ({1: 2}, TypeError, "restart_limit=(10, 60)"),
    ((), TypeError, "restart_limit=(10, 60)"),
    ((1,), TypeError, "restart_limit=(10, 60)"),
    ((1, 2, 3), TypeError, "restart_limit=(10, 60)"),
]


@pytest.mark.parametrize(("value", "error", "remedy"), LIMITS)
def test_a_restart_limit_that_is_no_pair(
    value: object, error: type[Exception], remedy: str
) -> None:
    """The call is shown: SPEC 8.4."""
    with pytest.raises(error) as caught:
        start_majordomo(restart_limit=untyped(value))
    words = ("restart_limit must be a pair (restarts, seconds)", value, remedy)
    assert_said(caught.value, *words)


@pytest.mark.parametrize(
    ("value", "error", "remedy"),
    [
        (None, TypeError, "leave it out"),
        ("3", TypeError, "leave it out"),
        (True, TypeError, "leave it out"),
        (1.5, TypeError, "leave it out"),
        (NAN, ValueError, ""),
        (0, ValueError, "1 or more"),
        (-1, ValueError, "1 or more"),
        (math.inf, ValueError, "leave it out"),
    ],
)
def test_a_wrong_number_of_restarts(
    value: object, error: type[Exception], remedy: str
) -> None:
    """At least one, and not without end: SPEC 8.4."""
    with pytest.raises(error) as caught:
        start_majordomo(restart_limit=untyped((value, 60)))
    assert_said(caught.value, "the restarts of restart_limit must", value, remedy)


@pytest.mark.parametrize(
    ("value", "error", "_remedy"),
    [*SECONDS, (math.inf, ValueError, "")],
)
def test_a_wrong_window_of_restarts(
    value: object, error: type[Exception], _remedy: str
) -> None:
    """A number of seconds, and not without end: SPEC 8.4."""
    with pytest.raises(error) as caught:
        start_majordomo(restart_limit=untyped((10, value)))
    assert_said(caught.value, "the seconds of restart_limit must", value)


@pytest.mark.parametrize("value", [(0, 1), (1.5, 1), ("1", 1), (1, -1), (1, "1")])
def test_the_remedy_for_a_restart_limit(value: object) -> None:
    """What the message offers is accepted: SPEC 8.4."""
    with pytest.raises((TypeError, ValueError)) as caught:
        start_majordomo(restart_limit=untyped(value))
    assert "math.inf" not in str(caught.value)
    assert "the seconds of restart_limit=5" not in str(caught.value)


def test_a_huge_restart_limit() -> None:
    """It is a number of restarts like any other: SPEC 8.4."""
    start_majordomo(restart_limit=(10**30, 1))


def test_a_window_of_no_length() -> None:
    """It has no restarts: no limit: SPEC 8.4."""

    async def fail_often() -> int:
        if current_task().attempts <= 3:
            raise ValueError("not yet")
        return 1

    async def main() -> int:
        async with start_majordomo(restart_limit=(1, 0)) as jarvis:
            return await jarvis.get_task_data(fail_often)

    assert trio.run(main) == 1


@pytest.mark.parametrize(
    "value", [object(), Observer(), Observer, None, 3, True, generate]
)
def test_observers_that_are_no_iterable(value: object) -> None:
    """One alone is not enough: the call is shown: SPEC 11.2."""
    with pytest.raises(TypeError) as caught:
        start_majordomo(observers=untyped(value))
    words = ("observers must be an iterable", value, "observers=[observer]")
    assert_said(caught.value, *words)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ([3], 3),
        ([Observer(), None], None),
        ([Observer], Observer),
        ("ab", "a"),
        ([()], ()),
        ({"progress": Observer()}, "progress"),
        ((HalfARunner for _ in range(1)), HalfARunner),
    ],
)
def test_a_wrong_observer(value: object, wrong: object) -> None:
    """The one among them that is none is shown: SPEC 11.2."""
    with pytest.raises(TypeError) as caught:
        start_majordomo(observers=untyped(value))
    words = ("observers must hold", wrong, "majordomo2.abc.Observer")
    assert_said(caught.value, *words)


# Backoff

NO_SECONDS: list[Row] = [*SECONDS, (math.inf, ValueError, "finite")]


@pytest.mark.parametrize("name", ["initial", "maximum", "jitter"])
@pytest.mark.parametrize(("value", "error", "_remedy"), NO_SECONDS)
def test_wrong_seconds_of_a_backoff(
    name: str, value: object, error: type[Exception], _remedy: str
) -> None:
    """It is checked when it is made: SPEC 8.2."""
    with pytest.raises(error) as caught:
        Backoff(**untyped({name: value}))
    assert type(caught.value) is error
    assert_said(caught.value, f"{name} must", value, "give")


@pytest.mark.parametrize(
    ("value", "error", "remedy"),
    [
        *NUMBER,
        (0, ValueError, "1 or more"),
        (0.999, ValueError, "the waits would shrink"),
        (-2, ValueError, "the waits would shrink"),
        (math.inf, ValueError, "finite"),
        (-math.inf, ValueError, "finite"),
    ],
)
def test_a_wrong_factor_of_a_backoff(
    value: object, error: type[Exception], remedy: str
) -> None:
    """One that shrinks the waits too: SPEC 8.2."""
    with pytest.raises(error) as caught:
        Backoff(factor=untyped(value))
    assert type(caught.value) is error
    assert_said(caught.value, "factor must", value, remedy)


@pytest.mark.parametrize(
    "options", [{"initial": 46}, {"maximum": 0.05}, {"maximum": 0}]
)
def test_an_initial_above_the_maximum(options: dict[str, float]) -> None:
    """Both are shown: SPEC 8.2."""
    with pytest.raises(ValueError, match="initial must be at most maximum") as caught:
        Backoff(**untyped(options))
    for value in options.values():
        assert_said(caught.value, value, "maximum=")


@pytest.mark.parametrize("value", [-1, NAN, "1", None])
def test_the_remedy_for_a_backoff(value: object) -> None:
    """What the message offers is accepted: SPEC 8.2."""
    with pytest.raises((TypeError, ValueError)) as caught:
        Backoff(initial=untyped(value))
    assert "math.inf" not in str(caught.value)


def test_a_factor_too_large_for_a_float() -> None:
    """As good as infinite, and refused as such: SPEC 8.2."""
    with pytest.raises(ValueError, match="factor must be finite"):
        Backoff(factor=10**400)


@pytest.mark.parametrize("name", ["initial", "maximum", "jitter"])
def test_seconds_of_a_backoff_too_large_for_a_float(name: str) -> None:
    """As good as infinite, and refused as such: SPEC 8.2."""
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        Backoff(**untyped({name: 10**400}))


@pytest.mark.parametrize("options", [{"min": 1}, {"base": 2}, {"max_": 3}])
def test_an_unknown_part_of_a_backoff(options: dict[str, object]) -> None:
    """Python says so itself: SPEC 8.2."""
    with pytest.raises(TypeError, match=next(iter(options))):
        Backoff(**untyped(options))


def test_a_block_that_is_entered_twice() -> None:
    """Each block needs a start_majordomo() of its own; the outer goes on: SPEC 7.1."""

    async def main() -> None:
        block = start_majordomo()
        async with block as jarvis:
            with pytest.raises(RuntimeError) as caught:
                async with block:
                    raise AssertionError("it was entered")
            assert_said(caught.value, "entered before", "start_majordomo() of its own")
            assert await jarvis.get_task_data(fetch, 1) == 1

    trio.run(main)


@pytest.mark.parametrize("options", [{"max_worker": 3}, {"workers": 3}])
def test_an_unknown_option_of_an_instance(options: dict[str, object]) -> None:
    """Python says so itself: SPEC 7.1."""
    with pytest.raises(TypeError, match=r"max_worker|workers"):
        untyped(start_majordomo)(**options)


@pytest.mark.parametrize(("value", "error", "remedy"), SECONDS)
def test_a_wrong_grace(value: object, error: type[Exception], remedy: str) -> None:
    """The instance is not drained: it takes tasks as before: SPEC 7.3."""

    async def body(jarvis: Majordomo) -> int:
        with pytest.raises(error) as caught:
            await jarvis.drain(untyped(value))
        assert_said(caught.value, "grace must", value, remedy)
        return await jarvis.get_task_data(fetch, 1)

    assert run_with(body) == 1


def test_a_huge_grace() -> None:
    """A number too large for a float works as well as `math.inf`: SPEC 7.3."""

    async def body(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(trio.sleep, 1)
        await jarvis.drain(grace=10**400)
        assert (await channel.receive()).status == "success"

    run_with(body)


# Tasks


@pytest.mark.parametrize("value", [1, b"x", ["x"], True, NAN])
def test_a_wrong_id_of_a_task(value: object) -> None:
    """An id is a string: SPEC 3.1."""
    for make in (functools.partial(untyped(Task), 1), dataclass_replace):
        with pytest.raises(TypeError) as caught:
            make(id=value)
        assert_said(caught.value, "id must be a string", value, "str(...)")
    with pytest.raises(TypeError) as caught:
        untyped(Task(1)).set_id(value)
    assert_said(caught.value, "id must be a string", value, "str(...)")


@pytest.mark.parametrize("value", ["done", "", None, 1, True, ["success"], "SUCCESS"])
def test_a_wrong_status_of_a_task(value: object) -> None:
    """The right ones are listed: SPEC 2, 3.1."""
    for make in (functools.partial(untyped(Task), 1), dataclass_replace):
        with pytest.raises(ValueError, match="status must be one of") as caught:
            make(status=value)
        assert_said(caught.value, value, "timeout, mixed")
    with pytest.raises(ValueError, match="status must be one of") as caught:
        untyped(Task(1)).set_status(value)
    assert_said(caught.value, value, "timeout, mixed")


def dataclass_replace(**changes: object) -> object:
    return dataclasses.replace(untyped(Task(1)), **changes)


@pytest.mark.parametrize(
    ("args", "options"), [((1, "x"), {}), ((), {"name": "x"}), ((1,), {"data": 2})]
)
def test_unknown_arguments_of_a_task(
    args: tuple[object, ...], options: dict[str, object]
) -> None:
    """Python says so itself: SPEC 3.1."""
    with pytest.raises(TypeError):
        untyped(Task)(*args, **options)


@pytest.mark.parametrize("value", [1, None, "success", [Task(1)], Task])
@pytest.mark.parametrize(
    "take",
    [
        is_success,
        is_not_success,
        is_failure,
        is_timeout,
        is_mixed,
        is_rejected,
        is_cancelled,
        is_unspecified_status,
        TaskState(int).of,
        flatten_nested_tasks,
        TaskFailed,
    ],
    ids=lambda f: f.__name__,
)
def test_what_is_no_task(take: Callable[..., object], value: object) -> None:
    """Given to what takes a task, it is refused and shown: SPEC 2, 3.4, 4.12."""
    with pytest.raises(TypeError) as caught:
        take(value)
    assert_said(caught.value, "task must be a Task", value, "Task(")


# TaskState


@pytest.mark.parametrize("value", [{}, None, 3, "dict"])
def test_an_initial_that_is_no_function(value: object) -> None:
    """The initial state is made anew by a function: SPEC 4.12."""
    with pytest.raises(TypeError) as caught:
        TaskState(untyped(value))
    assert_said(
        caught.value,
        "initial must be a function",
        value,
        f"TaskState(lambda: {value!r})",
    )


def test_a_coroutine_for_an_initial() -> None:
    """It is closed unrun: SPEC 4.12."""
    with contextlib.closing(fetch(1)) as coroutine:
        with pytest.raises(TypeError) as caught:
            TaskState(untyped(coroutine))
        assert_said(caught.value, "TaskState", "coroutine fetch")
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


# No public constructors


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (Majordomo, "async with start_majordomo()"),
        (Job, "write job(f, ...)"),
        (ResultChannel, "add_task(f, ...)"),
    ],
)
@pytest.mark.parametrize("args", [(), (1,), (fetch, 1)])
def test_handles_have_no_public_constructor(
    kind: type[object], remedy: str, args: tuple[object, ...]
) -> None:
    """The message says who makes them: SPEC 2, 3.5."""
    with pytest.raises(TypeError) as caught:
        kind(*args)
    assert_said(caught.value, kind.__name__, "no public constructor", remedy)


# Signals where there is no action

STATE = TaskState(int)
SIGNALS: list[tuple[Callable[..., object], tuple[object, ...]]] = [
    (keepalive, ()),
    (update_data, (1,)),
    (success, ()),
    (success, (1,)),
    (failure, ()),
    (failure, (1,)),
    (current_task, ()),
    (current_task_data, ()),
    (STATE.get, ()),
    (STATE.update, (1,)),
]


@pytest.mark.parametrize(("signal", "args"), SIGNALS)
def test_signals_outside_an_action(
    signal: Callable[..., object], args: tuple[object, ...]
) -> None:
    """Outside a run, and in one but in no action: SPEC 4.7."""
    with pytest.raises(NoCurrentTask, match="inside an action that a Majordomo runs"):
        signal(*args)

    async def body(jarvis: Majordomo) -> int:
        with pytest.raises(NoCurrentTask, match=r"trio\.to_thread"):
            signal(*args)
        return await jarvis.get_task_data(fetch, 1)

    assert run_with(body) == 1


@pytest.mark.parametrize(("signal", "args"), SIGNALS)
def test_signals_in_a_thread_of_ones_own(
    signal: Callable[..., object], args: tuple[object, ...]
) -> None:
    """A `threading.Thread` started by an action does not belong to it: SPEC 4.7."""

    async def action() -> BaseException | None:
        return in_own_thread(lambda: signal(*args))

    async def body(jarvis: Majordomo) -> BaseException | None:
        return await jarvis.get_task_data(action)

    assert isinstance(run_with(body), NoCurrentTask)


# Where an instance can't be used


def in_own_thread(f: Callable[[], object]) -> BaseException | None:
    """What `f` raises in a thread that Trio knows nothing of."""
    caught: list[BaseException] = []

    def target() -> None:
        try:
            f()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return caught[0] if caught else None


def step(call: Callable[..., object], *args: object) -> object:
    """Call it, and if it is async, go to its first await, as any event loop does."""
    made = call(*args)
    if inspect.iscoroutine(made):
        try:
            made.send(None)
        finally:
            made.close()
    return made


# Each method, its arguments, and how a thread that Trio started calls it.
CALLS: list[tuple[str, tuple[object, ...], str]] = [
    ("add_task", (fetch,), "trio.from_thread.run_sync(jarvis.add_task, ...)"),
    ("run", (fetch,), "trio.from_thread.run(jarvis.run, ...)"),
    ("get_task_data", (fetch,), "trio.from_thread.run(jarvis.get_task_data, ...)"),
    ("stop", (), "trio.from_thread.run_sync(jarvis.stop"),
    ("drain", (), "trio.from_thread.run(jarvis.drain"),
    ("cancel", (), "trio.from_thread.run_sync(channel.cancel"),
    ("receive", (), "trio.from_thread.run(channel.receive"),
]
ON_CHANNEL = ("cancel", "receive")


def bound(jarvis: Majordomo, channel: object, method: str) -> Callable[..., object]:
    found: Callable[..., object] = getattr(
        channel if method in ON_CHANNEL else jarvis, method
    )
    return found


@pytest.mark.parametrize(("method", "args", "remedy"), CALLS)
def test_from_a_foreign_thread(
    method: str, args: tuple[object, ...], remedy: str
) -> None:
    """A RuntimeError that says how it is done; nothing was added or stopped: SPEC 7.4."""

    async def body(jarvis: Majordomo) -> int:
        channel = jarvis.add_task(trio.sleep, 1)
        call = bound(jarvis, channel, method)
        error = in_own_thread(lambda: step(call, *args))
        assert type(error) is RuntimeError
        assert_said(error, f"{method}() of {jarvis.id}", "thread", remedy)
        assert (await channel.receive()).status == "success"
        return await jarvis.get_task_data(fetch, 1)

    assert run_with(body) == 1


@pytest.mark.parametrize(("method", "args", "remedy"), CALLS)
def test_in_a_run_of_another_thread(
    method: str, args: tuple[object, ...], remedy: str
) -> None:
    """An instance belongs to one Trio run; the token is shown too: SPEC 7.4."""

    async def body(jarvis: Majordomo) -> int:
        channel = jarvis.add_task(trio.sleep, 1000, keepalive=math.inf)
        call = bound(jarvis, channel, method)

        async def other() -> None:
            made = call(*args)
            if isinstance(made, Awaitable):
                await made

        error = in_own_thread(lambda: trio.run(other))
        assert type(error) is RuntimeError
        assert_said(error, f"{method}() of {jarvis.id}", "another Trio run")
        assert_said(error, remedy.partition(", ...)")[0].removesuffix(")"))
        assert_said(error, "trio_token=")
        channel.cancel()
        return await jarvis.get_task_data(fetch, 1)

    assert run_with(body) == 1


def after_its_run() -> tuple[Majordomo, ResultChannel[int]]:
    """An instance whose run is over, and the channel of one of its tasks."""

    async def body(jarvis: Majordomo) -> tuple[Majordomo, ResultChannel[int]]:
        channel = jarvis.add_task(fetch, 1)
        await channel.receive()
        return jarvis, channel

    return run_with(body)


# A result that is there can be received anywhere.
USES = [row for row in CALLS if row[0] != "receive"]


@pytest.mark.parametrize(("method", "args", "_remedy"), USES)
def test_outside_a_trio_run(
    method: str, args: tuple[object, ...], _remedy: str
) -> None:
    """A RuntimeError that says what is missing: SPEC 7.4."""
    jarvis, channel = after_its_run()
    with pytest.raises(RuntimeError, match="outside its Trio run") as caught:
        step(bound(jarvis, channel, method), *args)
    assert type(caught.value) is RuntimeError
    assert_said(caught.value, f"{method}() of {jarvis.id}")


@pytest.mark.parametrize(("method", "args", "_remedy"), USES)
def test_in_a_later_run(method: str, args: tuple[object, ...], _remedy: str) -> None:
    """An instance ends with its run: SPEC 7.4."""
    jarvis, channel = after_its_run()

    async def later() -> None:
        made = bound(jarvis, channel, method)(*args)
        if isinstance(made, Awaitable):
            await made

    with pytest.raises(RuntimeError, match="another Trio run") as caught:
        trio.run(later)
    assert_said(caught.value, f"{method}() of {jarvis.id}", "start_majordomo()")


def test_a_result_that_is_there_is_received_in_a_later_run() -> None:
    """A channel keeps its result after the run: SPEC 7.5."""
    _, channel = after_its_run()
    assert trio.run(channel.result) == 1


def test_a_block_outside_a_trio_run() -> None:
    """Another event loop is no Trio run: SPEC 7.1."""

    async def main() -> None:
        async with start_majordomo():
            raise AssertionError("it was entered")

    with pytest.raises(RuntimeError, match=r"trio\.run") as caught:
        asyncio.run(main())
    assert_said(caught.value, "start_majordomo() needs a Trio run", "async with")


def test_a_thread_of_trios_can_use_an_instance() -> None:
    """What the messages say works: SPEC 7.4."""

    def in_thread(jarvis: Majordomo) -> tuple[int, int, str]:
        channel = trio.from_thread.run_sync(jarvis.add_task, fetch, 1, 2)
        got: int = trio.from_thread.run(channel.result)
        ran = trio.from_thread.run(jarvis.get_task_data, fetch, 1)
        silent = trio.from_thread.run_sync(jarvis.add_task, trio.sleep_forever)
        trio.from_thread.run_sync(silent.cancel)
        ended = trio.from_thread.run(silent.receive)
        trio.from_thread.run_sync(jarvis.stop)
        return got, ran, ended.status

    async def main() -> tuple[
        int, int, str
    ]:  # by the real clock: it waits for a thread
        async with start_majordomo() as jarvis:
            return await trio.to_thread.run_sync(in_thread, jarvis)

    assert trio.run(main) == (2, 1, "cancelled")


def test_a_foreign_thread_can_use_an_instance_by_its_token() -> None:
    """What the messages say works: SPEC 7.4."""

    async def main() -> int:
        token = trio.lowlevel.current_trio_token()
        got: list[int] = []
        done = trio.Event()

        def in_thread() -> None:
            channel = trio.from_thread.run_sync(
                jarvis.add_task, fetch, 1, 2, trio_token=token
            )
            got.append(trio.from_thread.run(channel.result, trio_token=token))
            trio.from_thread.run_sync(done.set, trio_token=token)

        async with start_majordomo() as jarvis:
            thread = threading.Thread(target=in_thread)
            thread.start()
            await done.wait()
            thread.join()
        return got[0]

    assert trio.run(main) == 2


# After the end


@pytest.mark.parametrize("method", METHODS)
def test_after_stop(method: str) -> None:
    """`stop()` is said, and to start another: SPEC 7.2."""

    async def body(jarvis: Majordomo) -> None:
        jarvis.stop()
        await assert_stopped(jarvis, method, "was stopped")
        jarvis.stop()

    run_with(body)


@pytest.mark.parametrize("method", METHODS)
def test_after_drain(method: str) -> None:
    """`drain()` is said, and to start another: SPEC 7.3."""

    async def body(jarvis: Majordomo) -> None:
        await jarvis.drain()
        await assert_stopped(jarvis, method, "was drained")
        await jarvis.drain()

    run_with(body)


@pytest.mark.parametrize("method", METHODS)
def test_while_it_drains(method: str) -> None:
    """No new tasks from the moment that `drain()` is called: SPEC 7.3."""

    async def body(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(trio.sleep, 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jarvis.drain)
            await trio.sleep(1)
            await assert_stopped(jarvis, method, "was drained")
        assert (await channel.receive()).status == "success"

    run_with(body)


@pytest.mark.parametrize("method", METHODS)
def test_after_the_block(method: str) -> None:
    """An instance lives as long as its block: SPEC 7.1."""

    async def main() -> None:
        async with start_majordomo() as jarvis:
            pass
        await assert_stopped(jarvis, method, "has ended")
        jarvis.stop()
        await jarvis.drain()

    trio.run(main)


async def assert_stopped(jarvis: Majordomo, method: str, why: str) -> None:
    with pytest.raises(MajordomoStopped) as caught:
        await untyped(getattr(jarvis, method))(fetch, 1)
    assert_said(caught.value, jarvis.id, why, "start_majordomo()")


@pytest.mark.parametrize("method", METHODS)
def test_a_coroutine_for_a_function_after_stop(method: str) -> None:
    """Whichever error is raised, the coroutine is not left un-awaited: SPEC 7.4."""
    with contextlib.closing(fetch(1)) as coroutine:

        async def body(jarvis: Majordomo) -> None:
            jarvis.stop()
            with pytest.raises((MajordomoStopped, TypeError)):
                await untyped(getattr(jarvis, method))(coroutine)

        run_with(body)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_drain_inside_an_action() -> None:
    """It would wait for itself; the remedy is shown, and nothing is drained: SPEC 7.3."""

    async def action(jarvis: Majordomo) -> str:
        with pytest.raises(RuntimeError) as caught:
            await jarvis.drain()
        assert_said(caught.value, "the one", "outside the tasks", "stop()")
        return "fine"

    async def body(jarvis: Majordomo) -> int:
        assert await jarvis.get_task_data(action, jarvis, id="the one") == "fine"
        return await jarvis.get_task_data(fetch, 1)

    assert run_with(body) == 1


@pytest.mark.parametrize("value", [None, NAN, True, "hello", [], fetch, Exception("x")])
def test_any_value_is_a_return_value(value: object) -> None:
    """`task_return_value` takes whatever there is: SPEC 2."""

    async def main() -> object:
        return await task_return_value(value).result()

    found: Any = trio.run(main)
    assert found is value
