"""Many tasks: what one costs in a long queue, in a crowd, in a `map`."""

from __future__ import annotations

from time import perf_counter

import aiometer
import trio

from majordomo2 import job, start_majordomo

from . import by_hand
from .core import noop
from .measure import Row, Side

TASKS = 20_000
WORKERS = 10
MAP_WORKERS = 100
CROWD = 100_000
PATIENCE = 60  # seconds; the crowd may take longer than the default of 5 to assemble
SHORT, LONG = 10_000, 1_000_000
LENGTHS = (1_000, 3_000, SHORT, 30_000, 100_000, 300_000, LONG)
# Queues are filled so often that each measurement is of as many tasks as this, or more.
ENOUGH = 50_000
PRIORITIES = 10


async def limited_ours() -> float:
    async with start_majordomo(max_workers=WORKERS) as jarvis:
        start = perf_counter()
        channels = [jarvis.add_task(noop) for _ in range(TASKS)]
        for channel in channels:
            await channel.receive()
        return perf_counter() - start


async def limited_by_hand() -> float:
    limit = trio.Semaphore(WORKERS)
    async with trio.open_nursery() as nursery:
        start = perf_counter()
        channels = [by_hand.add_limited(nursery, noop, limit) for _ in range(TASKS)]
        for channel in channels:
            await channel.receive()
        return perf_counter() - start


def queue(length: int) -> Side:
    """Measures seconds for each task of a queue that long, added and worked off."""

    async def side() -> float:
        times = max(1, ENOUGH // length)
        start = perf_counter()
        for _ in range(times):
            async with start_majordomo(max_workers=WORKERS) as jarvis:
                for _ in range(length):
                    jarvis.add_task(noop)
        return (perf_counter() - start) / (times * length)

    return side


async def priorities_on() -> float:
    start = perf_counter()
    async with start_majordomo(max_workers=WORKERS) as jarvis:
        for number in range(CROWD):
            jarvis.add_task(noop, priority=number % PRIORITIES)
    return perf_counter() - start


async def priorities_off() -> float:
    start = perf_counter()
    async with start_majordomo(max_workers=WORKERS) as jarvis:
        for _ in range(CROWD):
            jarvis.add_task(noop)
    return perf_counter() - start


class Crowd:
    """Actions that wait until all of them wait."""

    def __init__(self, size: int) -> None:
        self._missing = size
        self._complete = trio.Event()

    async def join(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


async def crowd_ours() -> float:
    work = job(Crowd(CROWD).join, keepalive=PATIENCE)
    start = perf_counter()
    async with start_majordomo() as jarvis:
        channels = [jarvis.add_task(work) for _ in range(CROWD)]
    seconds = perf_counter() - start
    assert all(channel.done for channel in channels)
    assert jarvis.statistics().restarts == 0
    return seconds


async def crowd_by_hand() -> float:
    join = Crowd(CROWD).join
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        channels = [
            by_hand.add(nursery, join, keepalive=PATIENCE) for _ in range(CROWD)
        ]
    seconds = perf_counter() - start
    assert all(channel.receive_nowait() for channel in channels)
    return seconds


async def same(item: int) -> int:
    return item


async def map_ours() -> float:
    async with start_majordomo(max_workers=MAP_WORKERS) as jarvis:
        start = perf_counter()
        async with jarvis.map(same, range(TASKS), ordered=False) as results:
            async for task in results:
                assert task.status == "success"
        return perf_counter() - start


async def map_aiometer() -> float:
    start = perf_counter()
    async with aiometer.amap(same, range(TASKS), max_at_once=MAP_WORKERS) as results:
        async for _ in results:
            pass
    return perf_counter() - start


def _queue_row(collector: str, most: float, aim: float, *, collect: bool) -> Row:
    curve = {length: queue(length) for length in LENGTHS}
    return Row(
        f"time per task, {LONG:,} queued, collector {collector}",
        f"the same, {SHORT:,} queued",
        *(most, aim, curve[LONG], curve[SHORT]),
        kind="itself",
        collect=collect,
        rounds=3,
        curve=curve,
    )


ROWS = [
    Row(
        f"{TASKS:,} tasks, `max_workers={WORKERS}`",
        "the same guarantees by hand, with a semaphore",
        *(0.4, 0.2, limited_ours, limited_by_hand),
        rounds=7,
    ),
    Row(
        f"`map` over {TASKS:,} no-ops, {MAP_WORKERS} workers, as they end",
        "aiometer's `amap`",
        *(0.5, 0.28, map_ours, map_aiometer),
        rounds=7,
    ),
    Row(
        f"{CROWD:,} running tasks that wait for an event, block entered and left",
        "the same guarantees by hand",
        *(1.0, 0.75, crowd_ours, crowd_by_hand),
        rounds=3,
    ),
    Row(
        f"{CROWD:,} queued with a `priority=`, {PRIORITIES} different ones",
        "no priority",
        *(1.5, 1.2, priorities_on, priorities_off),
        kind="itself",
        rounds=5,
    ),
    _queue_row("off", 1.2, 1.05, collect=False),
    _queue_row("on", 1.8, 1.3, collect=True),
]
