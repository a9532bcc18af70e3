"""One process at a time: a lock that ends with the process, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading
from pathlib import Path

if sys.platform != "win32":
    import fcntl

# The C structure by which the system says who has a lock: its type and origin, where it
# begins, its length, and the process.
_LINUX = struct.Struct("hhqqi")
_BSD = struct.Struct("qqihh")

# The lock files that this process has: to close one would give up its lock.
_HELD: set[tuple[int, int]] = set()
_GUARD = threading.Lock()  # two threads may enter at once


class Lock:
    """A lock on a file of its own.

    Not on the journal itself: SQLite opens and closes that, and with any file that a
    process closes it gives up its locks on it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._key = (0, 0)

    def take(self) -> str | None:
        """Take it; or else, who has it?

        Raises:
            OSError: The file can't be opened, or there are no locks.
        """
        with _GUARD:
            return self._take()

    def _take(self) -> str | None:
        if sys.platform == "win32":
            raise OSError("this system has no locks that end with the process")
        while True:
            with contextlib.suppress(FileNotFoundError):
                if _key(self._path.stat()) in _HELD:
                    return f"this process, {os.getpid()}"
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    os.close(file)
                    raise
                holder = _holder(file)
                os.close(file)
                if holder is not None:
                    return _named(holder)
                continue  # it has just ended
            self._key = _key(os.fstat(file))
            if self._is_there():
                _HELD.add(self._key)
                self._file = file
                return None
            os.close(file)  # who had it before has removed it meanwhile

    def _is_there(self) -> bool:
        try:
            return _key(self._path.stat()) == self._key
        except FileNotFoundError:
            return False

    def give_back(self) -> None:
        """Remove the file, and let others have the lock."""
        with _GUARD:
            if self._file is not None:
                file, self._file = self._file, None
                if self._is_there():
                    self._path.unlink()
                os.close(file)
                _HELD.discard(self._key)


def holder_of(path: Path) -> str | None:
    """Who has the lock now, if somebody has."""
    try:
        if _key(path.stat()) in _HELD:
            return f"this process, {os.getpid()}"
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        holder = _holder(file)
    finally:
        os.close(file)
    return None if holder is None else _named(holder)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _holder(file: int) -> int | None:
    """The number of the process that has it; None if nobody has."""
    assert sys.platform != "win32"
    kind, whence = fcntl.F_WRLCK, os.SEEK_SET
    if sys.platform == "linux":
        asked = _LINUX.pack(kind, whence, 0, 0, 0)
        kind, _, _, _, process = _LINUX.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    else:
        asked = _BSD.pack(0, 0, 0, kind, whence)
        _, _, process, kind, _ = _BSD.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else process


def _named(process: int) -> str:
    """The number of a process, and what it was called with, where the system says it."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {process}"
    called = b" ".join(words).decode(errors="replace").strip()
    return f"process {process} ({called if len(called) <= 100 else called[:100] + '…'})"
