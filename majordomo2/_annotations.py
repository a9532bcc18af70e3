"""What names and annotations say of a function."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import GenericAlias
from typing import cast

from ._pipeline import Apply, Flatten, Stage


class _Unknown:
    def __repr__(self) -> str:
        return "an unknown type"


# The type of what nobody has said the type of: it is read back as JSON has it.
UNKNOWN = _Unknown()


def name_of(action: Callable[..., object]) -> str:
    """The qualified name of a function; of a partial, of what it calls."""
    while isinstance(action, functools.partial):
        action = cast("Callable[..., object]", action.func)
    if not hasattr(action, "__qualname__"):
        action = cast("Callable[..., object]", type(action))
    return f"{action.__module__}.{action.__qualname__}"


def bound(
    action: Callable[..., object], args: tuple[object, ...]
) -> tuple[dict[str, object], tuple[object, ...]]:
    """What partials have bound by keyword, and all positional arguments."""
    keywords: dict[str, object] = {}
    while isinstance(action, functools.partial):
        keywords = {**action.keywords, **keywords}
        args = (*action.args, *args)
        action = cast("Callable[..., object]", action.func)
    return keywords, args


def type_after(kind: object, stages: tuple[Stage, ...]) -> object:
    """What the pipeline makes of data of this type, as far as annotations say it.

    A filter or a sort makes a list of it.
    """
    for stage in stages:
        if isinstance(stage, Apply):
            kind = annotated(stage.function)
        elif isinstance(stage, Flatten):
            kind = UNKNOWN
        else:
            kind = list_of(_item_type(kind))
    return kind


def _item_type(kind: object) -> object:
    """Of a list and the like; `UNKNOWN` of what may be something else too."""
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if inspect.isclass(origin) and issubclass(origin, Iterable):
        one = len(items) == 1 or (len(items) == 2 and items[1] is Ellipsis)
        return items[0] if one else UNKNOWN
    return UNKNOWN


def list_of(kind: object) -> object:
    return UNKNOWN if kind is UNKNOWN else GenericAlias(list, (kind,))


def annotated(function: Callable[..., object]) -> object:
    """What a function is annotated to return; `UNKNOWN` if it isn't."""
    while isinstance(function, functools.partial):
        function = cast("Callable[..., object]", function.func)
    if not inspect.isroutine(function):  # an object that can be called
        function = type(function).__call__
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # of names that only a type checker has
        return UNKNOWN
    kind = hints.get("return", UNKNOWN)
    if typing.get_origin(kind) in (Awaitable, Coroutine):
        return typing.get_args(kind)[-1]
    return kind
