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
    shown = users_part(error.__traceback__) or error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, shown))
    return RemoteTraceback(text, frames_of(shown))


def is_remote(error: BaseException) -> bool:
    """Was it raised in another process?"""
    return isinstance(error.__cause__, RemoteTraceback)


def users_part(shown: TracebackType | None) -> TracebackType | None:
    """From where the user's code begins; None: it is all ours."""
    while shown is not None and _is_ours(shown):
        shown = shown.tb_next
    return shown


def _is_ours(shown: TracebackType) -> bool:
    module = str(shown.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == __name__.partition(".")[0]


def frames_of(first: TracebackType | None) -> list[Frame]:
    """Of each call, the last being where it was raised."""
    return [
        (frame.f_code.co_filename, line, str(frame.f_globals.get("__name__")))
        for frame, line in traceback.walk_tb(first)
    ]
