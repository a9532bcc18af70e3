"""A journal in one file, by SQLite."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
from collections.abc import Generator, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from .._errors import JournalError
from .._journal import Record, Successes
from ._lock import Lock
from ._schema import is_new, lock_path, migrate, version_of

Synchronous: TypeAlias = Literal["NORMAL", "FULL"]

COLUMNS = ", ".join(Record._fields)
_PLACES = f"({', '.join('?' for _ in Record._fields)})"
_CHANGED = ", ".join(
    f"{name} = excluded.{name}"
    for name in ("status", "attempts", "state", "data", "pinged")
)
PAGE_SIZE = 1_000_000  # characters of one page, its last record apart

# The + keeps SQLite from looking the ids up and sorting what it finds. A pickle is no
# JSON, and so is left to `read`.
_PAGE = """
    FROM tasks
    WHERE +id >= :prefix AND +id < :end AND n > :after AND status = 'success'
        AND 'blob' NOT IN (typeof(arguments), typeof(state), typeof(data))
    ORDER BY n LIMIT :limit
"""
_SIZE = "length(arguments) + ifnull(length(state), 0) + ifnull(length(data), 0)"
_PAGE_SIZE = f"SELECT sum(size) FROM (SELECT {_SIZE} AS size {_PAGE})"  # noqa: S608 - no values
# As one row, made by SQLite alone: the interpreter is not asked for at each record.
_COLUMNS = """
    SELECT max(n), json_group_array(id), json_group_array(action),
        json_group_array(arguments), json_group_array(attempts),
        json_group_array(state), json_group_array(data)
"""
_WHOLE = f"{_COLUMNS} FROM (SELECT * {_PAGE})"
# To find where it is too large takes three times as long.
_BEGINNING = f"""
    {_COLUMNS} FROM (
        SELECT *, sum(size) OVER (ORDER BY n) - size AS before
        FROM (SELECT *, {_SIZE} AS size {_PAGE})
    )
    WHERE before < :size
"""  # noqa: S608 - no values

# So many records in one statement: SQLite takes 32,766 values.
AT_ONCE = 1000
# Seconds to wait for somebody else who writes, such as `majordomo2 journal prune`.
PATIENCE = 10.0


class SQLiteJournal:
    """A journal in a file of SQLite, with its log (WAL) beside it while it is open.

    One process at a time has it; others may read it meanwhile. Where there is no file,
    one is made.

    Args:
        path: Of the file.
        synchronous: What "durable" is to mean. "NORMAL", the default: what is recorded
            outlives the process, by whatever signal that dies; a loss of power may cost
            the last moments, never the file. "FULL": it outlives a loss of power too, as
            each transaction waits for the disk, some milliseconds on most. The default
            is what a journal is mostly for, and many times as fast.

    Raises:
        TypeError: One is of the wrong type.
        ValueError: `synchronous` is neither of them, or `path` is empty.
    """

    def __init__(
        self, path: str | PathLike[str], *, synchronous: Synchronous = "NORMAL"
    ) -> None:
        self.path: Path = _checked_path(path)
        self.synchronous: Synchronous = _checked_synchronous(synchronous)
        self._file: sqlite3.Connection | None = None

    def open(self) -> None:
        """Lock the file, and make it if there is none.

        Raises:
            JournalError: It can't be used: another process has it, it is no journal or a
                newer one, or it can't be written to. The file stays as it is.
        """
        if self._file is not None:
            raise JournalError(f"{self.path} is open already: by this very journal")
        with self._told("can't be opened"):
            # Where SQLite has what belongs to the file, whatever link leads there and
            # whichever the current folder is later.
            self._real = Path(os.path.realpath(self.path))
            if not is_new(self._real):
                version_of(self.path)
            self._check_access()
            self._lock = Lock(lock_path(self._real))
            holder = self._lock.take()
        if holder is not None:
            raise JournalError(
                f"{self.path} is in use by {holder}: wait for its end, or give another "
                f"file"
            )
        try:
            with self._told("can't be opened"):
                self._file = self._opened()
        finally:
            if self._file is None:
                self._lock.give_back()

    def _check_access(self) -> None:
        """SQLite would open what is read-only, and fail later."""
        if not self._real.parent.is_dir():
            raise JournalError(
                f"{self.path} can't be made, as there is no folder {self._real.parent}: "
                f"make it first"
            )
        for path in (self._real, self._real.parent):
            if path.exists() and not os.access(path, os.W_OK):
                raise JournalError(
                    f"{self.path} can't be written to, as {path} is read-only: give "
                    f"another file, or the right to write there"
                )

    def _opened(self) -> sqlite3.Connection:
        file = sqlite3.connect(
            self._real,
            timeout=PATIENCE,
            isolation_level=None,  # transactions begin where we say so
            check_same_thread=False,  # by one thread at a time, but not always the same
        )
        try:
            migrate(self.path, file)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute(f"PRAGMA synchronous = {self.synchronous}")
            self._key = _key(self._real)
        except BaseException:
            file.close()
            raise
        return file

    def read(self, ids: Sequence[str], /) -> list[Record | None]:
        """The record of each id, or None."""
        query = (
            f"SELECT {COLUMNS} FROM tasks WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - names of columns
        )
        with self._told("can't be read"):
            rows = self._open_file().execute(query, [json.dumps(ids)]).fetchall()
        found = {record.id: record for record in map(Record._make, rows)}
        return [found.get(id) for id in ids]

    def successes(self, prefix: str, after: int, limit: int, /) -> Successes:
        """Those whose ids begin so, in the order in which they were first written."""
        with self._told("can't be read"):
            file = self._open_file()
            asked = {
                "prefix": prefix,
                "end": f"{prefix}\U0010ffff",
                "after": after,
                "limit": limit,
                "size": PAGE_SIZE,
            }
            (size,) = file.execute(_PAGE_SIZE, asked).fetchone()
            page = _WHOLE if (size or 0) <= PAGE_SIZE else _BEGINNING
            last, *columns = file.execute(page, asked).fetchone()
        return Successes(last or after, *map(json.loads, columns))

    def write(self, records: Sequence[Record], /) -> None:
        """Write them all in one transaction."""
        file = self._open_file()
        with self._told("can't be written"):
            parts = [
                records[first : first + AT_ONCE]
                for first in range(0, len(records), AT_ONCE)
            ]
            if len(parts) > 1:  # one statement is a transaction by itself
                file.execute("BEGIN IMMEDIATE")
            for part in parts:
                _write(file, part)
            if len(parts) > 1:
                file.execute("COMMIT")
            if parts:
                self._check_file()

    def _check_file(self) -> None:
        """SQLite goes on writing to a file that was removed, and nobody would find it."""
        for path, what in ((self._real, "it"), (f"{self._real}-wal", "its log, -wal,")):
            if not os.path.exists(path):  # noqa: PTH110 - twice as fast, at each write
                raise JournalError(
                    f"{self.path} can't be written: {what} was removed while it was in use"
                )
        if _key(self._real) != self._key:
            raise JournalError(
                f"{self.path} can't be written: another file was put in its place while "
                f"it was in use"
            )

    def close(self) -> None:
        """Close the file, and unlock it."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                with self._told("can't be closed"):
                    file.close()
            finally:
                self._lock.give_back()

    def _open_file(self) -> sqlite3.Connection:
        if self._file is None:
            raise JournalError(
                f"{self.path} is not open: give the journal to start_majordomo(journal=...)"
            )
        return self._file

    @contextlib.contextmanager
    def _told(self, what: str) -> Generator[None]:
        """Say which file it is, whatever SQLite or the system complains of."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self.path} {what}: {error}") from error

    def __repr__(self) -> str:
        return f"SQLiteJournal({str(self.path)!r}, synchronous={self.synchronous!r})"


def _write(file: sqlite3.Connection, records: Sequence[Record]) -> None:
    # One statement, and not one for each record: the interpreter, which the Trio run may
    # keep busy, is asked for once.
    values = [value for record in records for value in record]
    file.execute(_upsert(len(records)), values)


@functools.lru_cache(maxsize=32)
def _upsert(rows: int) -> str:
    return (
        f"INSERT INTO tasks ({COLUMNS}) VALUES {', '.join([_PLACES] * rows)} "  # noqa: S608 - no values
        f"ON CONFLICT (id) DO UPDATE SET {_CHANGED}"
    )


def _key(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - at each write
    return status.st_dev, status.st_ino


def _checked_path(path: object) -> Path:
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be that of a file, not {path!r}: such as 'work.db'")
    if not os.fspath(cast("PathLike[str]", path)):
        raise ValueError(f"path must not be empty, not {path!r}: such as 'work.db'")
    made = Path(cast("PathLike[str]", path))
    if "\0" in str(made) or str(made) == ":memory:":
        raise ValueError(
            f"path must be that of a file, not {path!r}: such as 'work.db'; for none "
            f"there is MemoryJournal()"
        )
    return made


def _checked_synchronous(value: object) -> Synchronous:
    if value in get_args(Synchronous):
        return cast("Synchronous", value)
    raise ValueError(f"synchronous must be 'NORMAL' or 'FULL', not {value!r}")
