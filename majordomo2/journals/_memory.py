"""A journal that outlives the instance, and not the process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from .._journal import Record, Successes


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

    def successes(self, prefix: str, after: int, limit: int, /) -> Successes:
        numbered = islice(enumerate(self.records.values(), 1), after, None)
        found = [
            (number, record)
            for number, record in numbered
            if record.status == "success" and record.id.startswith(prefix)
        ][:limit]
        return Successes(
            found[-1][0] if found else after,
            [record.id for _, record in found],
            [record.action for _, record in found],
            [record.arguments for _, record in found],
            [record.attempts for _, record in found],
            [record.state for _, record in found],
            [record.data for _, record in found],
        )

    def write(self, records: Sequence[Record], /) -> None:
        self.records.update((record.id, record) for record in records)

    def close(self) -> None:
        """What was written stays."""

    def __repr__(self) -> str:
        return f"<MemoryJournal of {len(self.records)} tasks>"
