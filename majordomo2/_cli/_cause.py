"""What a value or an exception says, in a text that can be shown."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import cast

from .._remote import Frame, RemoteTraceback, frames_of

# So many exceptions of a group are named: the others are mostly the same.
NAMED = 5
LONGEST = 300

OURS = __name__.partition(".")[0]
STANDARD = sysconfig.get_path("stdlib") + os.sep


def type_name(error: BaseException) -> str:
    """As in a traceback: with its module, unless it is built in."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What it says; of a group, what is in it as well."""
    if not isinstance(error, BaseExceptionGroup):
        return said(str, error)
    group = cast("BaseExceptionGroup[BaseException]", error)
    leaves = [cause_of(leaf) for leaf in islice(_leaves(group), NAMED + 1)]
    if len(leaves) > NAMED:
        leaves[NAMED:] = ["…"]
    return f"{group.message}: {'; '.join(leaves)}"


def cause_of(error: BaseException) -> str:
    """The type and the message, as the last line of a traceback has them."""
    message = message_of(error)
    return type_name(error) + (f": {message}" if message else "")


def cause_and_place(error: BaseException) -> str:
    """In one line, with the place where it was raised, if that is known."""
    place = _place_of(error)
    return in_a_line(cause_of(error)) + (f" (at {in_a_line(place)})" if place else "")


def said(say: Callable[[object], str], value: object) -> str:
    """`str` or `repr` of a value whose own methods may fail."""
    try:
        return say(value)
    except Exception as error:
        cause = type(error).__name__
        return f"<{type(value).__name__}, whose {say.__name__}() raised {cause}>"


def encodable(text: str) -> str:
    """A path need not be UTF-8; what isn't comes in surrogates, which JSON can't hold."""
    return text.encode(errors="backslashreplace").decode()


def in_a_line(text: str) -> str:
    """Short, and safe to show in a terminal, whatever it holds."""
    return printable(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def printable(text: str) -> str:
    """Safe to show in a terminal, whatever it holds."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, and in groups in it, which may be any number deep."""
    todo = [error]
    while todo:
        first = todo.pop()
        if isinstance(first, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", first)
            todo += reversed(group.exceptions)
        else:
            yield first


def _place_of(error: BaseException) -> str | None:
    """The last line of the user's own code that it came through, such as a.py:12."""
    leaf = next(_leaves(error))
    there = leaf.__cause__ or error.__cause__
    if isinstance(there, RemoteTraceback):
        raised = there.frames
    else:
        raised = frames_of(leaf.__traceback__)
    frames = [frame for frame in raised if not _is_machinery(frame)]
    # All of it may be installed, and the function's package is the user's then.
    places = [at for at in frames if not _is_installed(at)] or [
        at for at in frames if _package(at) == _package(frames[0])
    ]
    if not places:
        return None
    file, line, _ = places[-1]
    return f"{_short(file)}:{line}"


def _is_machinery(frame: Frame) -> bool:
    """Is it what calls or imports the function, or has no file that could be opened?"""
    file, _, _ = frame
    return file.startswith("<") or _package(frame) in (OURS, "importlib")


def _is_installed(frame: Frame) -> bool:
    file, _, _ = frame
    folders = Path(file).parts
    return (
        file.startswith(STANDARD)
        or "site-packages" in folders
        or "dist-packages" in folders
    )


def _package(frame: Frame) -> str:
    return frame[2].partition(".")[0]


def _short(file: str) -> str:
    """As from the folder of the path for imports, where the current one comes first."""
    for folder in sys.path:
        if Path(file).is_relative_to(folder):
            return str(Path(file).relative_to(folder))
    return file
