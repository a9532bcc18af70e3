"""What the function is called with: strings, paths, lines of standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import trio

CHUNK = 65_536


def paths(patterns: list[str]) -> list[Path]:
    """The files of these paths and globs, in the order of the patterns.

    Raises:
        ValueError: A path is no file, or a glob matches none.
    """
    return [path for pattern in patterns for path in _matching(pattern)]


def _matching(pattern: str) -> list[Path]:
    # First as it is: a file may be called "[1].txt".
    if os.path.isdir(pattern):  # noqa: PTH112 - as below
        within = os.path.join(pattern, "**", "*")  # noqa: PTH118 - as below
        raise ValueError(
            f"{pattern} is a folder: write '{within}' for all the files in it"
        )
    if os.path.exists(pattern):  # noqa: PTH110 - Path's raises if the name is too long
        return [Path(pattern)]
    if not any(character in pattern for character in "*?["):
        remedy = (
            "for standard input write --stdin" if pattern == "-" else "check the path"
        )
        raise ValueError(f"there is no file {pattern}: {remedy}")
    # Path's own glob refuses absolute patterns.
    found = glob.iglob(pattern, recursive=True)  # noqa: PTH207 - as above
    matching = sorted(Path(name) for name in found if not os.path.isdir(name))  # noqa: PTH112 - as above
    if not matching:
        raise ValueError(
            f"no file matches {pattern}: check it, and put it between quotes; "
            f"** stands for any number of folders"
        )
    return matching


class LineReader:
    """Lines of a stream, as they come."""

    def __init__(self, stream: BinaryIO) -> None:
        # Without its buffer, which a thread that is still reading at exit would lock.
        raw = getattr(stream, "raw", stream)
        self._read = cast("Callable[[int], bytes | None]", raw.read)
        self._rest = b""
        self._ended = False
        self._limiter = trio.CapacityLimiter(1)  # the user's threads take no place here

    async def more(self) -> list[str]:
        """The next lines, as soon as there is one; none: that was all."""
        lines: list[bytes] = []
        while not lines and not self._ended:
            lines = self._split(await self._chunk())
        return [
            line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
            for line in lines
        ]

    async def _chunk(self) -> bytes:
        chunk = await trio.to_thread.run_sync(
            self._read, CHUNK, abandon_on_cancel=True, limiter=self._limiter
        )
        return chunk or b""

    def _split(self, chunk: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._ended = not chunk
        return [self._rest] if self._ended and self._rest else lines
