"""The queue: who may start next."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count

from ._channel import Carrier, Entry, Reason

_Place = tuple[float, int, Entry]


class Admission(Carrier):
    """Tasks in order of arrival, larger priorities first.

    A deque as long as all priorities are 0, and a heap from the first other one on.
    Tasks that ended while they were queued are passed over when their turn comes.

    Attributes:
        queued: How many wait.
    """

    def __init__(self) -> None:
        self.queued = 0
        self._line: deque[Entry] = deque()
        self._heap: list[_Place] | None = None
        self._arrivals = count(1)

    def put(self, entry: Entry) -> None:
        self.queued += 1
        entry.carrier = self
        if self._heap is None:
            if entry.options.priority == 0:
                self._line.append(entry)
                return
            self._heap = [self._place(each) for each in self._line]
            self._line.clear()
            heapify(self._heap)
        heappush(self._heap, self._place(entry))

    def _place(self, entry: Entry) -> _Place:
        return -entry.options.priority, next(self._arrivals), entry

    def pop(self) -> Entry | None:
        while self._line or self._heap:
            entry = heappop(self._heap)[2] if self._heap else self._line.popleft()
            if entry.carrier is self:
                self.queued -= 1
                entry.carrier = None
                return entry
        self._heap = None
        return None

    def cut_off(self, entry: Entry, reason: Reason) -> None:
        """It ends where it stands, without a slot."""
        self.queued -= 1
        entry.carrier = None
        entry.end_without_worker(reason)

    def __bool__(self) -> bool:
        return self.queued > 0

    def all(self) -> list[Entry]:
        """Those that wait, to be ended."""
        places = [place[2] for place in self._heap or ()]
        return [entry for entry in (*self._line, *places) if entry.carrier is self]
