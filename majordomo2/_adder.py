"""What `map` asks of the instance for each item of its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING

from . import _checks
from ._channel import Entry

if TYPE_CHECKING:
    from ._past import Past


class Adder:
    """Adds a task for each item of a `map`.

    Args:
        add: Adds one, of a name; "" for a fresh one.
        names: Names items; None if they have fresh names.
        past: What the journal may have of them.
    """

    __slots__ = ("add", "names", "past")

    def __init__(
        self,
        add: Callable[[object, str], Entry],
        names: Callable[[Sequence[object]], list[str]] | None,
        past: Past | None,
    ) -> None:
        self.add = add
        self.names = names
        self.past = past


def namer(
    id: str | None, key: Callable[[object], object] | None
) -> Callable[[Sequence[object]], list[str]] | None:
    """What names the items of a map."""
    if id is None:
        return None
    if key is not None:
        return lambda items: [f"{id}/{_checks.key(key(item))}" for item in items]
    numbers = count()
    return lambda items: [f"{id}/{number}" for number in islice(numbers, len(items))]
