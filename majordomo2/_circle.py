"""Waits that could never end."""

from __future__ import annotations

from ._channel import Entry


def check_no_circle(waiting: Entry, target: Entry) -> None:
    """Refuse a wait that could never end.

    Raises:
        RuntimeError: The target is the waiting task, or waits for it.
    """
    seen: set[int] = set()
    ahead = [target]
    while ahead:
        entry = ahead.pop()
        if entry is waiting:
            raise RuntimeError(
                f"{waiting.name} would wait for itself, "
                f"{'directly' if target is waiting else f'through {target.name}'}: "
                f"receive the result elsewhere, or add the task without waiting for it"
            )
        if id(entry) not in seen:
            seen.add(id(entry))
            ahead += () if entry.carrier is None else entry.carrier.waits_for()
