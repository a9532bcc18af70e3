"""The names that are taken in an instance: those of tasks that are queued or running."""

from __future__ import annotations

from collections.abc import Iterable

from ._channel import Entry
from ._pool import WorkerPool
from ._task import FRESH


class Names:
    """Names that users gave; a fresh one is not here, but can't be given by a user."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._taken: dict[str, Entry] = {}

    def take(self, entry: Entry) -> bool:
        """Take the name of a task; False: it is taken."""
        if entry.name in self._taken or self._is_fresh(entry.name):
            return False
        self._taken[entry.name] = entry
        return True

    def _is_fresh(self, name: str) -> bool:
        """Is it that of a task here that was given no name?"""
        # Only who gives such a name pays for the search.
        return name.startswith(FRESH) and name in self._pool.names()

    def free(self, entry: Entry) -> None:
        """The task has ended."""
        if self._taken and self._taken.get(entry.name) is entry:
            del self._taken[entry.name]

    def has_any(self, names: Iterable[str]) -> bool:
        """Is one of these taken?"""
        return not self._taken.keys().isdisjoint(names)
