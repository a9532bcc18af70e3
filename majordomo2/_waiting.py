"""Tasks that wait for a moment, and not for a worker."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from ._channel import Carrier, Entry, Reason
from ._policy import Budget

if TYPE_CHECKING:
    from ._pool import WorkerPool


class Later(Carrier):
    """A restart after a wait."""

    __slots__ = ("_at", "_entry", "_pool", "check_at")

    def __init__(self, pool: WorkerPool, entry: Entry, at: float) -> None:
        self._pool, self._entry, self._at = pool, entry, at
        self.check_at = math.inf
        entry.carrier = self
        pool.waiting += 1
        pool.watchdog.watch(self, at)

    def due(self, _now: float, /) -> float:
        return self._at if self._entry.carrier is self else math.inf

    def expire(self) -> None:
        self._pool.waiting -= 1
        self._pool.ready(self._entry)

    def cut_off(self, entry: Entry, reason: Reason) -> None:
        self._pool.waiting -= 1
        self._pool.watchdog.forget(self)
        self._pool.forget(entry)
        entry.carrier = None
        entry.end_without_worker(reason)


class Held(Carrier):
    """Restarts that wait for the budget of the instance, first come, first served."""

    def __init__(self, pool: WorkerPool, budget: Budget) -> None:
        self._pool, self._budget = pool, budget
        self._line: deque[Entry] = deque()
        self.check_at = math.inf

    def pop(self, priority: float) -> Entry | None:
        """The next restart that the budget allows now, if nobody else goes first.

        Args:
            priority: The largest that is queued.
        """
        while self._line and self._line[0].carrier is not self:
            self._line.popleft()
        now = self._pool.now()
        if not self._line or self._budget.free_at() > now:
            return None
        if self._line[0].options.priority < priority:
            return None
        entry = self._line.popleft()
        entry.carrier = None
        self._pool.waiting -= 1
        self._spend(now)
        return entry

    def allows(self, entry: Entry) -> bool:
        """May it start now? If not, it is held."""
        now = self._pool.now()
        if not self._line and self._budget.free_at() <= now:
            self._spend(now)
            return True
        self._line.append(entry)
        entry.carrier = self
        self._pool.waiting += 1
        self._pool.watchdog.watch(self, self._budget.free_at())
        return False

    def _spend(self, now: float) -> None:
        self._budget.spend(now)
        if self._line:
            self._pool.watchdog.watch(self, self._budget.free_at())

    def due(self, _now: float, /) -> float:
        return self._budget.free_at() if self._line else math.inf

    def expire(self) -> None:
        self._pool.fill()

    def cut_off(self, entry: Entry, reason: Reason) -> None:
        self._pool.waiting -= 1
        entry.carrier = None
        entry.end_without_worker(reason)

    def all(self) -> list[Entry]:
        """Those that wait, to be ended."""
        return [entry for entry in self._line if entry.carrier is self]


class TotalClock:
    """The `total_timeout` of a task, wherever it is."""

    __slots__ = ("_entry", "check_at")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.check_at = math.inf

    def due(self, _now: float, /) -> float:
        return self._entry.expires

    def expire(self) -> None:
        assert self._entry.carrier is not None
        self._entry.carrier.cut_off(self._entry, "expired")
