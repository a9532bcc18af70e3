"""Who fell silent? One Trio task for all of an instance, asleep until it matters.

A ping only stores a time. Each of the watched has at most one valid entry in a heap, at a
moment before which it cannot have expired; only then is it asked, and mostly gets a
later entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

import trio
from trio.lowlevel import Abort, RaiseCancelT, wait_task_rescheduled


class Watched(Protocol):
    """What can expire.

    Attributes:
        check_at: When it is asked next, in the run's seconds; kept by the watchdog.
    """

    check_at: float

    def due(self, now: float, /) -> float:
        """When it expires, as far as is known now; `math.inf`: not at all."""
        ...

    def expire(self) -> None:
        """Its time has come. Must not raise."""
        ...


class Watchdog:
    """Asks each of the watched when its time may have come."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[tuple[float, int, Watched]] = []
        self._order = count()
        self._valid = 0  # valid entries
        self._sleep = trio.CancelScope()
        self._life = trio.CancelScope()

    async def run(self) -> None:
        """Watch until `stop`."""
        with self._life:
            while True:
                earliest = self._heap[0][0] if self._heap else math.inf
                with trio.CancelScope(deadline=earliest) as self._sleep:
                    # The judging is done while Trio expires its deadlines, before any
                    # Trio task runs: so who still waits when its time has come is cut
                    # off, even if the wait ends in this very instant.
                    await wait_task_rescheduled(self._judge)

    def stop(self) -> None:
        self._life.cancel()

    def watch(self, watched: Watched, check_at: float) -> None:
        """Ask it at this time, unless it is asked earlier anyway."""
        if check_at >= watched.check_at:
            return
        self._valid += math.isinf(watched.check_at)
        self._push(watched, check_at)
        if check_at < self._sleep.deadline:  # noqa: PLR1730 - to set it is expensive
            self._sleep.deadline = check_at

    def forget(self, watched: Watched) -> None:
        """Do not ask it any more."""
        if not math.isinf(watched.check_at):
            watched.check_at = math.inf
            self._valid -= 1

    def _push(self, watched: Watched, check_at: float) -> None:
        watched.check_at = check_at
        heappush(self._heap, (check_at, next(self._order), watched))
        if len(self._heap) > 2 * self._valid + 1000:
            self._heap = [
                entry for entry in self._heap if entry[2].check_at == entry[0]
            ]
            heapify(self._heap)

    def _judge(self, _raise_cancel: RaiseCancelT) -> Abort:
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            check_at, _, watched = heappop(self._heap)
            if check_at == watched.check_at:
                self._ask(watched, now)
        return Abort.SUCCEEDED

    def _ask(self, watched: Watched, now: float) -> None:
        due = watched.due(now)
        if now < due < math.inf:
            self._push(watched, due)
            return
        watched.check_at = math.inf
        self._valid -= 1
        if due <= now:
            watched.expire()
