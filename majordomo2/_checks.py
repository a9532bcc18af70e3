"""Whether what a caller gave is fit for use: each check names it and the remedy."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import TypeVar, cast

T = TypeVar("T")


def seconds(name: str, value: object) -> float:
    """A number of seconds, 0 or more; `math.inf` too.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or not a number (NaN).
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{name} must be a number of seconds, not {value!r}: "
            f"give one such as {name}=5, or math.inf for no limit"
        )
    if not value >= 0:
        raise ValueError(
            f"{name} must be 0 seconds or more, not {value!r}: "
            f"give math.inf for no limit"
        )
    return value


def whole(name: str, value: object, *, least: int) -> float:
    """A whole number, `least` or more; `math.inf` too.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is too small, or not a number (NaN).
    """
    remedy = f"give {least} or more, or math.inf for no limit"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a whole number, not {value!r}: {remedy}")
    if value != math.inf and not isinstance(value, int):
        error = ValueError if not value >= least else TypeError
        raise error(f"{name} must be a whole number, not {value!r}: {remedy}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, not {value!r}: {remedy}")
    return value


def flag(name: str, value: object) -> bool:
    """True or False.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def function(caller: str, parameter: str, value: object) -> None:
    """Something that can be called.

    Raises:
        TypeError: It cannot; for a coroutine the message shows the call without `()`.
    """
    if callable(value):
        return
    if inspect.iscoroutine(value):
        value.close()
        name = value.cr_code.co_name
        raise TypeError(
            f"{caller} takes a function, not the coroutine {name}(...): it calls the "
            f"function itself, and again after a failure; "
            f"write {caller}({name}, ...) instead of {caller}({name}(...))"
        )
    raise TypeError(
        f"{parameter} must be a function, not {value!r}: "
        f"write {caller}(f, ...) for the call f(...)"
    )


def made_by(maker: type[T], value: object, what: str, remedy: str) -> T:
    """What only this library makes: a handle has no public constructor.

    Raises:
        TypeError: It was made by somebody else.
    """
    if not isinstance(value, maker):
        raise TypeError(f"{what} has no public constructor: {remedy}")
    return value


def arguments(value: object) -> tuple[object, ...]:
    """An iterable of arguments, read to its end.

    Raises:
        TypeError: It is not iterable, or it is a string or bytes.
    """
    if isinstance(value, str | bytes | bytearray):
        raise TypeError(
            f"args must be an iterable of arguments with unwrap=True, not the single "
            f"{type(value).__name__} {value!r}: write [{value!r}] for one argument"
        )
    if not isinstance(value, Iterable):
        raise TypeError(
            f"args must be an iterable of arguments with unwrap=True, not {value!r}: "
            f"write [{value!r}] for one argument"
        )
    return tuple(cast("Iterable[object]", value))


def is_async(action: Callable[..., object]) -> bool:
    """Is it an async function, or a partial, method or callable object of one?"""
    if type(action) is FunctionType and action.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    while isinstance(action, functools.partial):
        action = cast("Callable[..., object]", action.func)
    if inspect.iscoroutinefunction(action):
        return True
    return not inspect.isroutine(action) and inspect.iscoroutinefunction(
        getattr(type(action), "__call__", None)  # noqa: B004 - the method, not the test
    )


def plain(runner: str, action: Callable[..., object]) -> None:
    """A plain function, for a runner that calls it for its value.

    Raises:
        TypeError: It is an async one.
    """
    if is_async(action) or inspect.isasyncgenfunction(action):
        raise TypeError(
            f"runner={runner!r} takes a plain function, not the async function "
            f"{action!r}: leave runner= out, or write runner='async'"
        )


def awaitable(action: Callable[..., object]) -> None:
    """No async generator function, which has no one result.

    Raises:
        TypeError: It is one.
    """
    if inspect.isasyncgenfunction(action):
        raise TypeError(
            f"action must be a function with one result, not the async generator "
            f"function {action!r}: give an async function that goes through it"
        )
