"""What is in the file, and how older files become like today's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from .._errors import JournalError

# "mdo2": tells a journal from other people's files.
APPLICATION = 0x6D646F32

HEADER = 100  # bytes, with which each file of SQLite begins

# What makes of each version the next one; the first makes one of nothing. Those that
# were released never change.
MIGRATIONS = (
    """
    CREATE TABLE tasks (
        n INTEGER PRIMARY KEY,  -- in the order in which they came
        id TEXT NOT NULL UNIQUE,
        action TEXT NOT NULL,
        arguments NOT NULL,  -- here and below: JSON, or a pickle if it is a BLOB
        status TEXT NOT NULL,  -- 'unspecified' until it has ended
        attempts INTEGER NOT NULL,
        state,
        data,
        pinged REAL NOT NULL  -- seconds since 1970-01-01 UTC
    )
    """,
)


def location(path: Path, parameters: str) -> str:
    """The path as SQLite's URI."""
    return f"file:{quote(os.fsencode(path.absolute()))}?{parameters}"


def version_of(path: Path) -> int:
    """The version of the schema in the file, which stays as it is; 0 if it is empty.

    Raises:
        JournalError: It is no journal, or a newer one.
    """
    if path.is_dir():
        raise JournalError(f"{path} is a folder and no journal: give a file in it")
    if not path.is_file():
        raise JournalError(f"{path} is no regular file: give another")
    if 0 < path.stat().st_size < HEADER:
        raise JournalError(f"{path} is no journal: it is too short: give another file")
    # SQLite reads it, and not we: with any file that a process closes it gives up all its
    # locks on it, those of SQLite's connections too. Immutable: it writes nothing.
    try:
        with contextlib.closing(
            sqlite3.connect(location(path, "mode=ro&immutable=1"), uri=True)
        ) as file:
            return checked_version(path, file)
    except sqlite3.Error as error:
        raise JournalError(
            f"{path} is no journal: {error}: give another file"
        ) from error


def checked_version(path: Path, file: sqlite3.Connection) -> int:
    """The same, of a file that is open."""
    (application,) = file.execute("PRAGMA application_id").fetchone()
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or version or tables:
            raise JournalError(
                f"{path} is a database of SQLite, but no journal: give another file"
            )
        return 0
    if version > len(MIGRATIONS):
        raise JournalError(
            f"{path} is a journal of version {version}, and this majordomo2 knows those "
            f"up to {len(MIGRATIONS)}: install a newer one"
        )
    return int(version)


def migrate(path: Path, file: sqlite3.Connection) -> None:
    """Make it like today's, in one transaction.

    Raises:
        JournalError: It is no journal, or a newer one.
    """
    version = checked_version(path, file)
    if version == len(MIGRATIONS):
        return
    file.execute("BEGIN IMMEDIATE")
    for migration in MIGRATIONS[version:]:
        file.execute(migration)
    file.execute(f"PRAGMA application_id = {APPLICATION}")
    file.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    file.execute("COMMIT")
    # What is newer must be told from the file alone, without its log.
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def lock_path(path: Path) -> Path:
    """Beside the file, as SQLite's own: work.db-wal, work.db-shm."""
    return path.with_name(f"{path.name}-lock")


def is_new(path: Path) -> bool:
    """Is there nothing yet, or the beginnings of a file that a crash has left?"""
    if not path.exists():
        return True
    return os.path.exists(f"{path}-journal")  # noqa: PTH110 - as SQLite names it
