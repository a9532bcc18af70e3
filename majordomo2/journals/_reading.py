"""The file of a journal, read and pruned from outside, also while a run has it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from .._errors import JournalError
from .._journal import Record
from ._lock import Lock, holder_of
from ._schema import location, lock_path, version_of
from ._sqlite import COLUMNS, PATIENCE

T = TypeVar("T")

# So many records are read at once, or as few as have so many characters: what is read is
# in memory, and who writes to a pipe may have to wait before the next ones.
PAGE = 1000
PAGE_SIZE = 1_000_000

# So many are deleted at once: who writes to the journal waits no longer than that takes.
CHUNK = 2000

_PAGE = f"SELECT n, {COLUMNS} FROM tasks WHERE n > ? ORDER BY n LIMIT ?"  # noqa: S608 - no values

# Parts of a parallel task, "x/0", stay as long as "x" is there: to go on with it would
# run them again.
_PRUNABLE = """
    status <> 'unspecified' AND pinged < :before AND NOT EXISTS (
        SELECT 1 FROM tasks AS whole
        WHERE rtrim(tasks.id, '0123456789') <> tasks.id
            AND substr(rtrim(tasks.id, '0123456789'), -1) = '/'
            AND whole.id = substr(
                tasks.id, 1, length(rtrim(tasks.id, '0123456789')) - 1
            )
    )
"""


class Pruned(NamedTuple):
    """How many tasks were deleted, and how many are left."""

    deleted: int
    left: int


def check_journal_file(path: Path) -> None:
    """Is it a journal, and one of ours?

    Raises:
        JournalError: It isn't there, no journal, or a newer one.
    """
    if not os.path.exists(path):  # noqa: PTH110 - Path's raises if the name is too long
        raise JournalError(f"there is no file {path}: check the path")
    if version_of(path) == 0:
        raise JournalError(f"{path} is empty: there is no journal in it")


def holder(path: Path) -> str | None:
    """The process that has the journal now, if one has."""
    return holder_of(lock_path(_real(path)))


def _real(path: Path) -> Path:
    """Where SQLite has what belongs to the file, if the path is a link to it."""
    return Path(os.path.realpath(path))  # Path's own raises if the name is too long


def longest_id(path: Path) -> int:
    """How many characters the longest of the ids has; 0 if there are none.

    Raises:
        JournalError: The file can't be read.
    """

    def ask(file: sqlite3.Connection) -> int:
        (length,) = file.execute("SELECT max(length(id)) FROM tasks").fetchone()
        return length or 0

    return _read(path, ask)


def pages(path: Path) -> Iterator[list[Record]]:
    """The records in the order in which they were first written, some at a time.

    Between the pages nothing is open: whoever writes to the journal is not held up, and
    what they change meanwhile is in the next page.

    Raises:
        JournalError: The file can't be read.
    """
    after = 0
    while True:
        after, records = _read(path, partial(_page, after))
        if not records:
            return
        yield records


def _page(after: int, file: sqlite3.Connection) -> tuple[int, list[Record]]:
    records: list[Record] = []
    size, last = 0, after
    with contextlib.closing(file.execute(_PAGE, [after, PAGE])) as rows:
        for n, *fields in rows:
            last = n
            record = Record._make(fields)
            records.append(record)
            size += len(record.arguments) + len(record.state or "")
            size += len(record.data or "")
            if size > PAGE_SIZE:
                break
    return last, records


def _read(path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    """Ask the file, and leave no trace in it nor beside it.

    Where there is a log, somebody has the journal, or has died: SQLite reads both. Where
    there is none, it would make one, unless it takes the file for immutable; so it must
    not have changed meanwhile.
    """
    while True:
        with _told(path, "can't be read"):
            before = _version(path)
            mode = "mode=ro" if before.has_log else "mode=ro&immutable=1"
            try:
                with contextlib.closing(_connected(path, mode)) as file:
                    answer = ask(file)
            except sqlite3.Error:
                if before == _version(path):
                    raise
            else:
                if before.has_log or before == _version(path):
                    return answer


class _Version(NamedTuple):
    has_log: bool
    changed: int
    size: int


def _version(path: Path) -> _Version:
    has_log = os.path.exists(f"{_real(path)}-wal")  # noqa: PTH110 - as SQLite names it
    status = path.stat()
    return _Version(has_log, status.st_mtime_ns, status.st_size)


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        location(path, mode), uri=True, timeout=PATIENCE, isolation_level=None
    )


def prune(path: Path, before: float) -> Pruned:
    """Delete the tasks that have ended, and were last heard of before this moment.

    If nobody has the journal the file becomes smaller, too.

    Args:
        path: Of the file.
        before: In seconds since 1970-01-01 UTC.

    Raises:
        JournalError: The file can't be written.
    """
    with (
        _told(path, "can't be pruned"),
        contextlib.closing(_connected(path, "mode=rw")) as file,
    ):
        deleted = 0
        while more := sum(_deletions(file, before)):  # parts go after what they are of
            deleted += more
        (left,) = file.execute("SELECT count(*) FROM tasks").fetchone()
        _shrink(path, file)
    return Pruned(deleted, left)


def _deletions(file: sqlite3.Connection, before: float) -> Iterator[int]:
    """Go through the file once; how many were deleted, some at a time."""
    found = (
        f"SELECT n FROM tasks WHERE n > :after AND {_PRUNABLE} ORDER BY n LIMIT :limit"  # noqa: S608 - no values
    )
    # Asked again, as somebody may have started one of them anew.
    delete = f"DELETE FROM tasks WHERE n IN (SELECT value FROM json_each(:numbers)) AND {_PRUNABLE}"  # noqa: S608 - no values
    after = 0
    while True:
        asked = {"after": after, "before": before, "limit": CHUNK}
        rows = file.execute(found, asked).fetchall()
        if not rows:
            return
        numbers = [n for (n,) in rows]
        after = numbers[-1]
        those = {"numbers": json.dumps(numbers), "before": before}
        yield file.execute(delete, those).rowcount


def _shrink(path: Path, file: sqlite3.Connection) -> None:
    """Give back to the system what is free in the file, unless somebody has it."""
    (free,) = file.execute("PRAGMA freelist_count").fetchone()
    lock = Lock(lock_path(_real(path)))
    if not free or lock.take() is not None:
        return
    try:
        file.execute("VACUUM")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        lock.give_back()


@contextlib.contextmanager
def _told(path: Path, what: str) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{path} {what}: {error}") from error
