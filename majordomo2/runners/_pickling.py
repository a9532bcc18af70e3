"""What goes from one process to another, and clear errors for what can't."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any, Protocol, TypeAlias, cast

from .._remote import RemoteTraceback
from . import _wire


class _Dumps(Protocol):
    def __call__(
        self,
        value: object,
        /,
        protocol: int,
        *,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None,
    ) -> bytes: ...


def packed(kind: int, value: object, *, by_value: bool = False) -> _wire.Frame:
    """A message that holds it.

    What pickle can't take, such as a lambda, cloudpickle may, if it is installed.

    Args:
        kind: Of the message.
        value: Any object.
        by_value: What `__main__` defines is not to be had by name, so cloudpickle is
            asked for it.

    Raises:
        Exception: Neither takes it.
    """
    sink = _Sink()
    buffers: list[pickle.PickleBuffer] = []
    try:
        pickle.Pickler(sink, 5, buffer_callback=buffers.append).dump(value)
    except Exception:
        other = _cloudpickle()
        if other is None:
            raise
        return _by_value(other, kind, value)
    if by_value and any(b"__main__" in bytes(part) for part in sink.parts):
        other = _cloudpickle()
        if other is not None:
            return _by_value(other, kind, value)
    return _wire.frame(kind, sink.parts, buffers)


def _by_value(dumps: _Dumps, kind: int, value: object) -> _wire.Frame:
    buffers: list[pickle.PickleBuffer] = []
    pickled = dumps(value, 5, buffer_callback=buffers.append)
    return _wire.frame(kind, [pickled], buffers)


class _Sink:
    """A file for pickle, which gives large bytes to it as they are, without a copy."""

    __slots__ = ("parts", "write")

    def __init__(self) -> None:
        self.parts: list[_wire.Part] = []
        self.write = self.parts.append


def _cloudpickle() -> _Dumps | None:
    try:
        return cast("_Dumps", importlib.import_module("cloudpickle").dumps)
    except ImportError:
        return None


def main_is_importable() -> bool:
    """May another process import this one's `__main__`? Not that of a notebook."""
    main = sys.modules["__main__"]
    spec: ModuleSpec | None = getattr(main, "__spec__", None)
    if spec is not None:  # of a package or a folder: nobody imports that twice
        return spec.name.rpartition(".")[2] != "__main__"
    file: str | None = getattr(main, "__file__", None)
    return file is not None and os.path.exists(file)  # noqa: PTH110 - the module says a string


def dumps(value: object) -> bytes:
    """The same, as plain bytes."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        by_value = _cloudpickle()
        if by_value is None:
            raise
        return by_value(value, 5, buffer_callback=None)


def problem(value: object, what: str, *, by_value: bool) -> TypeError | None:
    """The error for what can't be pickled; None if it can.

    Args:
        value: What was to be sent.
        what: Its name, in the error.
        by_value: As for `packed`.
    """
    try:
        packed(_wire.CALL, value, by_value=by_value)
    except Exception as error:
        return cannot(what, value, error)
    return None


def cannot(what: str, value: object, error: Exception) -> TypeError:
    shown = shortened(value)
    told = TypeError(f"{what} can't be pickled, {shown}: {error}: {remedy()}")
    told.__cause__ = error
    return told


def remedy() -> str:
    """What to do about what can't be pickled."""
    if _cloudpickle() is not None:
        return "give what can be copied to another process"
    return (
        "give what a module defines by name, or install majordomo2[cloudpickle] for "
        "lambdas, functions in functions, and notebooks"
    )


def shortened(value: object) -> str:
    """Its `repr`, which may be long, or raise."""
    try:
        shown = repr(value)
    except Exception as error:
        return f"<a {type(value).__qualname__}, whose repr raised {error!r}>"
    return shown if len(shown) <= 200 else f"{shown[:200]}…"


# An exception's pickle, and where it was raised.
Raised: TypeAlias = tuple[bytes, RemoteTraceback]


Reduced: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]


class _Pickler(pickle.Pickler):
    """Takes an exception apart without calling its `__init__` again.

    Many store other arguments than they take, and could not be made anew.
    """

    def reducer_override(self, obj: object, /) -> Reduced:
        if (
            isinstance(obj, BaseException)
            and type(obj).__reduce__ is BaseException.__reduce__
            and type(obj).__reduce_ex__ is object.__reduce_ex__
        ):
            return made_anew, (type(obj), obj.args, vars(obj))
        return cast("Reduced", NotImplemented)


def made_anew(
    kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]
) -> BaseException:
    """An exception with these `args`, as unpickling makes it."""
    builtin: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    error: BaseException = builtin.__new__(kind, *args)
    builtin.__init__(error, *args)  # such as the code of a SystemExit
    vars(error).update(attributes)
    return error


def packed_error(error: BaseException) -> bytes:
    """An exception as a pickle that is sure to be loaded again.

    Raises:
        Exception: There is none.
    """
    try:
        buffer = io.BytesIO()
        _Pickler(buffer, 5).dump(error)
        pickled = buffer.getvalue()
        pickle.loads(pickled)  # noqa: S301 - our own
    except Exception:
        by_value = _cloudpickle()
        if by_value is None:
            raise
        pickled = by_value(error, 5, buffer_callback=None)
        pickle.loads(pickled)  # noqa: S301 - our own
    return pickled
