"""A journal that outlives the instance, and not the process."""

from __future__ import annotations

from collections.abc import Sequence

from .._journal import Record


class MemoryJournal:
    """For tests: give the same one to the next instance, as if the process had died.

    Attributes:
        records: By id, what was written last.
    """

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def open(self) -> None:
        """There is nothing to open."""

    def read(self, ids: Sequence[str], /) -> list[Record | None]:
        return [self.records.get(id) for id in ids]

    def write(self, records: Sequence[Record], /) -> None:
        self.records.update((record.id, record) for record in records)

    def close(self) -> None:
        """What was written stays."""

    def __repr__(self) -> str:
        return f"<MemoryJournal of {len(self.records)} tasks>"
