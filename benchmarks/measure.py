"""Interleaved rounds in one process, medians, ratios."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from timeit import timeit
from typing import TypeAlias

import trio

Side: TypeAlias = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: What is measured.
        against: What it is compared with.
        most: The ratio that it must not exceed.
        aim: The ratio that is aimed for.
        ours: Runs it once; returns seconds.
        theirs: The same for what it is compared with.
    """

    what: str
    against: str
    most: float
    aim: float
    ours: Side
    theirs: Side

    def ratio(self, rounds: int) -> float:
        """The ratio of the medians, after a round that is not counted."""
        pairs = [(_once(self.ours), _once(self.theirs)) for _ in range(rounds + 1)][1:]
        return median(ours for ours, _ in pairs) / median(theirs for _, theirs in pairs)


def _once(side: Side) -> float:
    gc.collect()
    gc.disable()  # as timeit does: it would strike one side or the other by chance
    try:
        return trio.run(side)
    finally:
        gc.enable()


def seconds_of(f: Callable[[], object], times: int) -> float:
    """How long so many calls take, in a loop that has called nothing else before."""
    return float(timeit(f, number=times))
