"""Interleaved rounds in one process, medians, ratios."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from timeit import timeit
from typing import Literal, TypeAlias

import trio

Side: TypeAlias = Callable[[], Awaitable[float]]
Kind: TypeAlias = Literal["alternative", "itself", "none"]


@dataclass(frozen=True)
class Measured:
    """A line of the table, with the numbers behind it.

    Attributes:
        what: What is measured.
        against: What it is compared with.
        kind: "alternative" if that is another way to the same end, "itself" if it is
            majordomo2 with less to do, "none" if there is no other side.
        value: The ratio of the medians; with no other side, the median.
        most: What the value must not exceed.
        aim: Where it should get.
        curve: By size, the medians of the sides that the row measures for a plot.
    """

    what: str
    against: str
    kind: Kind
    value: float
    most: float
    aim: float
    curve: dict[int, float]

    @property
    def missed(self) -> bool:
        return self.value > self.most

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One comparison; attributes as those of `Measured`, and:

    Attributes:
        ours: Runs it once; returns seconds or bytes.
        theirs: The same for what it is compared with; None: the value is absolute.
        collect: Leave the garbage collector on.
        rounds: How often it is run at the most: seldom if it takes long.
        curve: By size, what is measured in the same rounds.
    """

    what: str
    against: str
    most: float
    aim: float
    ours: Side
    theirs: Side | None
    kind: Kind = "alternative"
    collect: bool = False
    rounds: int = 15
    curve: Mapping[int, Side] = field(default_factory=dict[int, Side])

    def measure(self, rounds: int | None) -> Measured:
        """So many rounds, but no more than the row's own."""
        sides = [self.ours, self.theirs or self.ours, *self.curve.values()]
        times = self.rounds if rounds is None else min(rounds, self.rounds)
        medians = _medians(sides, times, collect=self.collect)
        ours = medians[self.ours]
        return Measured(
            *(self.what, self.against, self.kind),
            ours if self.theirs is None else ours / medians[self.theirs],
            *(self.most, self.aim),
            {size: medians[side] for size, side in self.curve.items()},
        )


def _medians(sides: Iterable[Side], rounds: int, *, collect: bool) -> dict[Side, float]:
    """Of so many rounds, after one that is not counted."""
    runs: dict[Side, list[float]] = {side: [] for side in sides}
    for _ in range(rounds + 1):
        for side, results in runs.items():
            results.append(_once(side, collect=collect))
    return {side: median(results[1:]) for side, results in runs.items()}


def _once(side: Side, *, collect: bool) -> float:
    gc.collect()
    if collect:
        return trio.run(side)
    gc.disable()  # as timeit does: it would strike one side or the other by chance
    try:
        return trio.run(side)
    finally:
        gc.enable()


def seconds_of(f: Callable[[], object], times: int) -> float:
    """How long so many calls take, in a loop that has called nothing else before."""
    return float(timeit(f, number=times))
