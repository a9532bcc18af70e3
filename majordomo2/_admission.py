"""The queue: who may start next."""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush
from itertools import chain

from ._channel import Carrier, Entry, Reason


class Admission(Carrier):
    """Tasks in order of arrival, larger priorities first.

    One line for each priority that is there, and a heap of these priorities: mostly it is
    one line. Tasks that ended while they were queued are passed over when their turn
    comes.

    Attributes:
        queued: How many wait.
    """

    def __init__(self) -> None:
        self.queued = 0
        self._lines: dict[float, deque[Entry]] = {}
        self._priorities: list[
            float
        ] = []  # the largest first, so with their sign turned

    def put(self, entry: Entry) -> None:
        self.queued += 1
        entry.carrier = self
        priority = entry.options.priority
        line = self._lines.get(priority)
        if line is None:
            line = self._lines[priority] = deque()
            heappush(self._priorities, -priority)
        line.append(entry)

    def top(self) -> float:
        """The largest priority that waits; minus infinity: none does."""
        while self._priorities:
            line = self._lines[-self._priorities[0]]
            while line and line[0].carrier is not self:
                line.popleft()
            if line:
                return -self._priorities[0]
            del self._lines[-heappop(self._priorities)]
        return -math.inf

    def pop(self) -> Entry | None:
        line = self._lines.get(self.top())
        if line is None:
            return None
        entry = line.popleft()
        self.queued -= 1
        entry.carrier = None
        return entry

    def cut_off(self, entry: Entry, reason: Reason) -> None:
        """It ends where it stands, without a slot."""
        self.queued -= 1
        entry.carrier = None
        entry.end_without_worker(reason)

    def __bool__(self) -> bool:
        return self.queued > 0

    def all(self) -> list[Entry]:
        """Those that wait, to be ended."""
        everyone = chain.from_iterable(self._lines.values())
        return [entry for entry in everyone if entry.carrier is self]
