"""What a task weighs, by tracemalloc; and what the import takes."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import trio
import trio.testing

from majordomo2 import job, start_majordomo

from . import by_hand
from .core import noop
from .measure import Row, Side
from .scale import same

TASKS = 10_000
MANY, FEW = 100_000, 1_000
WORKERS = 10
# Deadlines that tracing, which is slow, does not reach.
PATIENCE = 60  # seconds


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def queued() -> float:
    """Bytes for each task that waits behind another."""
    async with start_majordomo(max_workers=1) as jarvis:
        jarvis.add_task(trio.sleep_forever, keepalive=PATIENCE)
        tracemalloc.start()
        before = _traced()
        for _ in range(TASKS):
            jarvis.add_task(noop)
        weight = _traced() - before
        tracemalloc.stop()
        jarvis.stop()
    return weight / TASKS


async def running_ours() -> float:
    """Bytes for each task that waits for an event, with its receipt."""
    async with start_majordomo() as jarvis:
        tracemalloc.start()
        before = _traced()
        work = job(trio.Event().wait, keepalive=PATIENCE)
        channels = [jarvis.add_task(work) for _ in range(TASKS)]
        await trio.testing.wait_all_tasks_blocked()
        weight = _traced() - before
        tracemalloc.stop()
        assert jarvis.statistics().running == len(channels)
        jarvis.stop()
    return weight / TASKS


async def running_by_hand() -> float:
    async with trio.open_nursery() as nursery:
        tracemalloc.start()
        before = _traced()
        wait = trio.Event().wait
        channels = [
            by_hand.add(nursery, wait, keepalive=PATIENCE) for _ in range(TASKS)
        ]
        await trio.testing.wait_all_tasks_blocked()
        weight = _traced() - before
        tracemalloc.stop()
        assert len(nursery.child_tasks) == len(channels)
        nursery.cancel_scope.cancel()
    return weight / TASKS


def peak_of_map(items: int) -> Side:
    """Measures the most that was in use while a `map` ran, in bytes."""

    async def side() -> float:
        tracemalloc.start()
        async with (
            start_majordomo(max_workers=WORKERS) as jarvis,
            jarvis.map(same, range(items)) as results,
        ):
            async for _ in results:
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    return side


def import_of(module: str) -> Side:
    """Measures seconds for the import, in a fresh process."""
    code = (
        "from time import perf_counter; start = perf_counter(); "
        f"import {module}; print(perf_counter() - start)"
    )

    async def side() -> float:
        done = await trio.run_process(
            [sys.executable, "-I", "-c", code], capture_stdout=True
        )
        return float(done.stdout)

    return side


ROWS = [
    Row(
        "bytes per queued task",
        "nothing: the number itself",
        *(500, 250, queued, None),
        kind="none",
        rounds=1,
    ),
    Row(
        "bytes per running task",
        "the same guarantees by hand",
        *(0.85, 0.7, running_ours, running_by_hand),
        rounds=1,
    ),
    Row(
        f"peak memory of `map` over {MANY:,} items",
        f"the same over {FEW:,} items",
        *(1.2, 1.05, peak_of_map(MANY), peak_of_map(FEW)),
        kind="itself",
        collect=True,
        rounds=1,
    ),
    Row(
        "`import majordomo2`",
        "`import trio`",
        *(1.15, 1.03, import_of("majordomo2"), import_of("trio")),
        rounds=41,
    ),
]
