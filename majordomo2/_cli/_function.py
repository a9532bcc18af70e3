"""The function, found by its name; whether it can be called with an input."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable
from typing import cast

from .. import job
from .._checks import is_async
from .._runner import RunnerName
from ._cause import cause_and_place, in_a_line


def load(name: str) -> Callable[..., object]:
    """What package.module:function names.

    Raises:
        ValueError: It isn't there, or is nothing that can be called with one input.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise ValueError(f"write it as package.module:function, not {name}")
    if os.sep in module or module.startswith("."):
        raise ValueError(
            f"write the module with dots, as package.module:function, and no path, "
            f"not {name}; run this in the folder that holds the package"
        )
    found = _import(module)
    for part in path.split("."):
        found = _attribute(found, part, name)
    if not callable(found):
        raise ValueError(  # noqa: TRY004 - whatever is wrong is wrong usage
            f"{name} is no function, but {in_a_line(repr(found))}"
        )
    _check_call(found, name)
    return found


def check_runner(
    function: Callable[..., object], name: str, runner: RunnerName
) -> None:
    """Refuse a function that the runner can't run.

    Raises:
        ValueError: It can't.
    """
    if runner in ("inline", "thread") and is_async(function):
        raise ValueError(
            f"{runner} takes a plain function, and {name} is an async one: leave it "
            f"out, or write --runner async"
        )
    # A decorator may hide an async function in a plain one.
    if runner == "async" and not is_async(inspect.unwrap(function)):
        raise ValueError(
            f"async takes an async function, and {name} is a plain one: leave it out; "
            f"or, if it returns an awaitable, await that in an async function"
        )


def _import(name: str) -> object:
    if os.getcwd() not in sys.path:  # noqa: PTH109 - strings, as on the path
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as above
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if missing := _missing(name, error):
            raise ValueError(
                f"there is no module {name}: {_remedy(name, missing)}"
            ) from None
        raise ValueError(f"importing {name} raised {cause_and_place(error)}") from None


def _missing(name: str, error: BaseException) -> str | None:
    """The part of this name that is missing, if it is not a module that it imports."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return error.name if f"{name}.".startswith(f"{error.name}.") else None
    return None


def _remedy(name: str, missing: str) -> str:
    package, _, last = missing.rpartition(".")
    if last == "py":
        return f"did you mean {package}?"
    folder = os.path.join(*package.split("."))  # noqa: PTH118 - "" is the current one
    beside = [module.name for module in pkgutil.iter_modules([folder])]
    if near := difflib.get_close_matches(last, beside, n=1):
        return f"did you mean {'.'.join(filter(None, [package, near[0]]))}?"
    return (
        f"write it with dots, and run this in the folder that holds "
        f"{name.partition('.')[0]}"
    )


def _attribute(owner: object, name: str, whole: str) -> object:
    try:
        return cast("object", getattr(owner, name))
    except AttributeError:
        near = difflib.get_close_matches(name, dir(owner), n=1)
        hint = f"did you mean {near[0]}?" if near else "check the name"
        raise ValueError(f"there is no {whole}: {hint}") from None


def _check_call(function: Callable[..., object], name: str) -> None:
    try:
        job(function)
    except TypeError:  # the one kind of callable that it refuses
        raise ValueError(
            f"{name} is an async generator function, which has no one result: give an "
            f"async function that goes through it"
        ) from None
    try:
        # A decorator may give the function that it wraps more than it takes itself.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # some built-in ones have none
    try:
        signature.bind(None)
    except TypeError as error:
        raise ValueError(
            f"{name}{in_a_line(str(signature))} can't be called with one argument, the "
            f"input ({error}): give a function of one argument, such as a "
            f"functools.partial of it"
        ) from None
