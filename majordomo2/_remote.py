"""Where an exception was raised in another process."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import TypeAlias

# The file, the line, and the name of the module.
Frame: TypeAlias = tuple[str, int, str]


class RemoteTraceback(Exception):
    """The traceback in a worker process: the `__cause__` of what was raised there.

    Attributes:
        frames: Of each call, the last being where it was raised.
    """

    def __init__(self, text: str, frames: list[Frame]) -> None:
        super().__init__(text, frames)
        self.frames = frames

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def remote_traceback(error: BaseException) -> RemoteTraceback:
    """What a traceback printed here would show, to be sent along."""
    text = "".join(traceback.format_exception(error))
    return RemoteTraceback(text, frames_of(error.__traceback__))


def frames_of(first: TracebackType | None) -> list[Frame]:
    """Of each call, the last being where it was raised."""
    return [
        (frame.f_code.co_filename, line, str(frame.f_globals.get("__name__")))
        for frame, line in traceback.walk_tb(first)
    ]
