"""Journals: where the records of tasks outlive the process. Needs the extra `journal`."""

from ._memory import MemoryJournal
from ._sqlite import SQLiteJournal

__all__ = ["MemoryJournal", "SQLiteJournal"]
