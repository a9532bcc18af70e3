"""What supervision costs: a task, a sign of life, a thread, a storm of restarts."""

from __future__ import annotations

from functools import partial
from statistics import median
from time import perf_counter
from typing import NoReturn

import trio

from majordomo2 import current_task, keepalive, start_majordomo
from majordomo2._events import Events

from . import by_hand
from .measure import Row, seconds_of

TASKS = 5_000
CALLS = 400
PINGS = 100_000
STEP = 0.001  # seconds
RESTARTS = 10_000
EVENTS_OF_A_TASK = ("task_added", "attempt_started", "attempt_ended", "task_finished")


async def noop() -> int:
    return 1


def plain_noop() -> int:
    return 1


async def tasks_ours() -> float:
    async with start_majordomo() as jarvis:
        start = perf_counter()
        channels = [jarvis.add_task(noop) for _ in range(TASKS)]
        for channel in channels:
            await channel.receive()
        return perf_counter() - start


async def tasks_by_hand() -> float:
    async with trio.open_nursery() as nursery:
        start = perf_counter()
        channels = [by_hand.add(nursery, noop) for _ in range(TASKS)]
        for channel in channels:
            await channel.receive()
        return perf_counter() - start


async def turns_ours() -> float:
    async with start_majordomo() as jarvis:
        start = perf_counter()
        for _ in range(TASKS):
            await jarvis.run(noop)
        return perf_counter() - start


async def turns_by_hand() -> float:
    async with trio.open_nursery() as nursery:
        start = perf_counter()
        for _ in range(TASKS):
            await by_hand.add(nursery, noop).receive()
        return perf_counter() - start


async def pings_ours() -> float:
    async def action() -> float:
        return seconds_of(keepalive, PINGS)

    async with start_majordomo() as jarvis:
        return await jarvis.get_task_data(action)


async def pings_theirs() -> float:
    return seconds_of(trio.current_time, PINGS)


async def threads_ours() -> float:
    async with start_majordomo() as jarvis:
        start = perf_counter()
        for _ in range(CALLS):
            await jarvis.run(plain_noop)
        return perf_counter() - start


async def threads_theirs() -> float:
    start = perf_counter()
    for _ in range(CALLS):
        await trio.to_thread.run_sync(plain_noop)
    return perf_counter() - start


async def many_threads_ours() -> float:
    # As many at once as Trio's own limit allows.
    workers = trio.to_thread.current_default_thread_limiter().total_tokens
    async with start_majordomo(max_workers=workers) as jarvis:
        start = perf_counter()
        channels = [jarvis.add_task(plain_noop) for _ in range(CALLS)]
        for channel in channels:
            await channel.receive()
        return perf_counter() - start


async def many_threads_theirs() -> float:
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(CALLS):
            nursery.start_soon(trio.to_thread.run_sync, plain_noop)
    return perf_counter() - start


async def thread_pings_ours() -> float:
    async with start_majordomo() as jarvis:
        return await jarvis.get_task_data(seconds_of, keepalive, CALLS)


async def thread_pings_theirs() -> float:
    enter = partial(trio.from_thread.run_sync, plain_noop)
    return await trio.to_thread.run_sync(seconds_of, enter, CALLS)


async def fails_at_once() -> NoReturn:
    raise ValueError(current_task().attempts)


async def _step_of_a_sleeper(over: trio.Event) -> float:
    """The median length of the sleeper's steps, until the event is set."""
    steps: list[float] = []
    while not (over.is_set() and steps):
        start = perf_counter()
        await trio.sleep(STEP)
        steps.append(perf_counter() - start)
    return median(steps)


async def sleeper_beside_restarts() -> float:
    over = trio.Event()
    step = 0.0

    async def sleeper() -> None:
        nonlocal step
        step = await _step_of_a_sleeper(over)

    async with trio.open_nursery() as nursery, start_majordomo() as jarvis:
        nursery.start_soon(sleeper)
        task = await jarvis.run(fails_at_once, retries=RESTARTS)
        assert task.attempts == RESTARTS + 1
        over.set()
    return step


async def sleeper_alone() -> float:
    over = trio.Event()
    step = 0.0

    async def sleeper() -> None:
        nonlocal step
        step = await _step_of_a_sleeper(over)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        await trio.sleep(100 * STEP)
        over.set()
    return step


class _Unwatched:
    """Has no observers, as a pool of workers that nobody watches."""

    events: Events | None = None


async def looks_for_observers() -> float:
    """What an event costs where nobody hears of it, for each of a no-op task's."""
    pool = _Unwatched()
    start = perf_counter()
    for _ in range(TASKS):
        for event in EVENTS_OF_A_TASK:
            if pool.events is not None:
                pool.events.tell(event)
    return perf_counter() - start


ROWS = [
    Row(
        f"a no-op task, {TASKS:,} added, then received",
        "the same guarantees by hand",
        *(0.6, 0.35, tasks_ours, tasks_by_hand),
    ),
    Row(
        "`await jarvis.run(noop)` in turn",
        "the same guarantees by hand",
        *(0.6, 0.35, turns_ours, turns_by_hand),
    ),
    Row(
        "the events of a no-op task, which nobody observes",
        "the task",
        *(0.02, 0.01, looks_for_observers, tasks_ours),
        kind="itself",
    ),
    Row(
        "`keepalive()` in an async action",
        "`trio.current_time()`",
        *(2, 1, pings_ours, pings_theirs),
    ),
    Row(
        "a call in a thread, in turn",
        "`trio.to_thread.run_sync`",
        *(1.2, 0.9, threads_ours, threads_theirs),
    ),
    Row(
        f"a call in a thread, {CALLS} added, as many at once as Trio's limit",
        "`trio.to_thread.run_sync` in a nursery",
        *(1.2, 0.9, many_threads_ours, many_threads_theirs),
    ),
    Row(
        "`keepalive()` in a thread",
        "`trio.from_thread.run_sync` of a no-op",
        *(0.05, 0.005, thread_pings_ours, thread_pings_theirs),
    ),
    Row(
        f"a step of a sleeper beside {RESTARTS:,} restarts at once",
        "the sleeper alone",
        *(1.2, 1, sleeper_beside_restarts, sleeper_alone),
    ),
]
