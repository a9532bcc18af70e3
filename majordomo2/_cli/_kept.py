"""The journal of a run. It needs SQLite, which some Pythons are built without."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator

from .. import JournalError
from ..journals import SQLiteJournal
from ._cause import printable
from ._usage import wrong


class OpenJournal(SQLiteJournal):
    """One that is open before its instance starts, so that what is wrong is said first."""

    def open(self) -> None:
        """It is."""

    def ready(self) -> None:
        super().open()


def kept(journal: str, output: str | None, *, resume: bool) -> OpenJournal:
    """The journal in this file.

    Raises:
        BadParameter: It can't be one.
    """
    if not journal or os.path.isdir(journal):  # noqa: PTH112 - "" is no folder
        raise wrong("--journal", f"it must be a file, such as work.db, not {journal!r}")
    if resume and not os.path.exists(journal):  # noqa: PTH110 - of any length
        raise wrong(
            "--resume",
            f"there is no journal {journal} to go on with: check the path, or leave "
            f"--resume out to begin one",
        )
    if output is not None and os.path.realpath(output) == os.path.realpath(journal):
        raise wrong("--output", "the lines can't go to the journal: give another file")
    return OpenJournal(journal)


@contextlib.contextmanager
def ready(journal: OpenJournal) -> Generator[OpenJournal]:
    """Open it, and close it at the end.

    Raises:
        BadParameter: It can't be opened.
    """
    try:
        journal.ready()
    except JournalError as error:
        raise wrong("--journal", printable(str(error))) from None
    try:
        yield journal
    finally:
        journal.close()
