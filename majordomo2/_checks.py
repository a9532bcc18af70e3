"""Whether what a caller gave is fit for use: each check names it and the remedy."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import TypeVar, cast

T = TypeVar("T")

# Iterable, but one argument and not many.
STRINGS: tuple[type, ...] = (str, bytes, bytearray, memoryview)


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
    return _finite_or_inf(value)


def number(name: str, value: object) -> float:
    """A number, so that it compares with others.

    Raises:
        TypeError: It is something else.
        ValueError: It is not a number (NaN).
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}: give one such as 1")
    if value != value:  # noqa: PLR0124 - so NaN is told
        raise ValueError(f"{name} must be a number, not {value!r}: give one such as 1")
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
    return _finite_or_inf(value)


def _finite_or_inf(value: float) -> float:
    """A whole number may be too large to count with."""
    try:
        float(value)
    except OverflowError:
        return math.inf
    return value


def flag(name: str, value: object) -> bool:
    """True or False.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(
            f"{name} must be True or False, not {value!r}: write {name}=True"
        )
    return value


def function(parameter: str, value: object, call: str) -> None:
    """Something that can be called, and has one result.

    Args:
        parameter: Its name.
        value: What was given.
        call: How the call is written, with `{}` where the function stands.

    Raises:
        TypeError: It can't be called; for a coroutine the message shows the call
            without `()`. Or it is an async generator function.
    """
    if type(value) is FunctionType and not _has_flag(value, inspect.CO_ASYNC_GENERATOR):
        return  # nearly all are, and each task is checked
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(_not_called(parameter, value.cr_code.co_name, call))
    if not callable(value):
        raise TypeError(
            f"{parameter} must be a function, not {value!r}: write {call.format('f')}"
        )
    if _is(inspect.isasyncgenfunction, value):
        raise TypeError(
            f"{parameter} must be a function with one result, not the async generator "
            f"function {value!r}: give an async function that goes through it"
        )


def _not_called(parameter: str, name: str, call: str) -> str:
    alone = call.replace(", ...", "")
    with_arguments = (
        f", or {call.format(name)} with arguments," if alone != call else ""
    )
    return (
        f"{parameter} must be a function, not the coroutine {name}(...), which can be "
        f"run only once: write {alone.format(name)}{with_arguments} instead of "
        f"{alone.format(f'{name}(...)')}"
    )


def name(parameter: str, value: object) -> str:
    """A string that is not empty.

    Raises:
        TypeError: It is no string.
        ValueError: It is empty.
    """
    if not isinstance(value, str):
        raise TypeError(
            f"{parameter} must be a string, not {value!r}: give str(...) of it"
        )
    if not value:
        raise ValueError(
            f"{parameter} must not be empty, not {value!r}: leave it out for a fresh one"
        )
    return value


def text(parameter: str, value: str) -> None:
    """A string that can be written to a file.

    Raises:
        ValueError: It has halves of characters, as in names of files that are no UTF-8;
            or a NUL, at which SQLite cuts it.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        why = str(error)
    else:
        if "\0" not in value:
            return
        why = "it has a NUL"
    raise ValueError(
        f"{parameter} must be a text that can be recorded, not {value!r}: {why}: give "
        f"ascii(...) of it"
    )


def key(value: object) -> str | int:
    """What names an item: a string that is not empty, or a whole number.

    Raises:
        TypeError: It is neither.
        ValueError: It is empty.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"key must return a string or a whole number, not {value!r}: give str(...) "
            f"of it"
        )
    if not value:
        raise ValueError(
            f"key must return a name that is not empty, not {value!r}: give one that "
            f"tells the items apart"
        )
    return value


def made_by(maker: type[T], given: tuple[object, ...], what: str, remedy: str) -> T:
    """The one argument of a handle, which only this library can make.

    Raises:
        TypeError: Somebody else called the constructor.
    """
    if len(given) != 1 or not isinstance(given[0], maker):
        raise TypeError(f"{what} has no public constructor: {remedy}")
    return given[0]


def arguments(value: object) -> tuple[object, ...]:
    """An iterable of arguments, read to its end.

    Raises:
        TypeError: It is not iterable, or it is a string or bytes.
    """
    shown = repr(value)
    if isinstance(value, STRINGS):
        raise TypeError(
            f"args must be an iterable of arguments with unwrap=True, not the single "
            f"{type(value).__name__} {shown}: write [{shown}] for one argument"
        )
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(
            f"args must be an iterable of arguments with unwrap=True, not the coroutine "
            f"{value.cr_code.co_name}(...): await it first"
        )
    if not isinstance(value, Iterable):
        raise TypeError(
            f"args must be an iterable of arguments with unwrap=True, not {value!r}: "
            f"write [{value!r}] for one argument"
        )
    return tuple(cast("Iterable[object]", value))


def is_async(action: Callable[..., object]) -> bool:
    """Is it an async function, or a partial, method or callable object of one?"""
    if type(action) is FunctionType and _has_flag(action, inspect.CO_COROUTINE):
        return True
    return _is(inspect.iscoroutinefunction, action)


def _has_flag(function: FunctionType, flag: int) -> bool:
    return bool(function.__code__.co_flags & flag)


def _is(kind: Callable[[object], bool], action: Callable[..., object]) -> bool:
    """Is the function of this kind that a call of the action comes to?"""
    while isinstance(action, functools.partial):
        action = cast("Callable[..., object]", action.func)
    if kind(action):
        return True
    # An object's own: `action.__call__` of a class would be that of its instances.
    called = getattr(type(action), "__call__", None)  # noqa: B004 - this is no test
    return not inspect.isroutine(action) and kind(called)


def plain(runner: str, action: Callable[..., object]) -> None:
    """A plain function, for a runner that calls it for its value.

    Raises:
        TypeError: It is an async one.
    """
    if is_async(action):
        raise TypeError(
            f"runner={runner!r} takes a plain function, not the async function "
            f"{action!r}: leave runner= out, or write runner='async'"
        )


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not everywhere
        return os.cpu_count() or 1
