"""What the commands have in common: wrong usage, exit statuses, units."""

from __future__ import annotations

from typing import BinaryIO, TextIO

import typer

SIGNAL = 128  # and its number, as a shell says it of a process that a signal ended
BROKEN_PIPE = SIGNAL + 13  # SIGPIPE

# Of an age, in seconds, the largest first.
UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}


def wrong(parameter: str, message: str) -> typer.BadParameter:
    """The error for wrong usage, whose exit status is 2."""
    return typer.BadParameter(message, param_hint=f"'{parameter}'")


def binary(stream: TextIO | None, parameter: str) -> BinaryIO:
    """Where bytes go to, or come from.

    Raises:
        BadParameter: The stream is closed.
    """
    # Python has None for a stream that was closed by whoever started the process.
    if stream is None:
        raise wrong(parameter, "the stream is closed: give another")
    return stream.buffer
