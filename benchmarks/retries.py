"""A task that fails twice, then succeeds: what its restarts cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeAlias

import stamina
import tenacity
import trio
from stamina.instrumentation import set_on_retry_hooks

from majordomo2 import start_majordomo

from . import by_hand
from .measure import Row

TASKS = 1_000
ATTEMPTS = 4  # at most; as with retries=3, the default

Action: TypeAlias = Callable[[], Awaitable[int]]


def fails_twice() -> Action:
    failures = 2

    async def action() -> int:
        nonlocal failures
        if failures:
            failures -= 1
            raise ValueError(failures)
        return 1

    return action


async def ours() -> float:
    actions = [fails_twice() for _ in range(TASKS)]
    async with start_majordomo() as jarvis:
        start = perf_counter()
        channels = [jarvis.add_task(action) for action in actions]
        for channel in channels:
            assert (await channel.receive()).data == 1
        return perf_counter() - start


async def theirs_by_hand() -> float:
    actions = [fails_twice() for _ in range(TASKS)]
    async with trio.open_nursery() as nursery:
        start = perf_counter()
        channels = [by_hand.add(nursery, action) for action in actions]
        for channel in channels:
            assert (await channel.receive())[1] == 1
        return perf_counter() - start


async def theirs_tenacity() -> float:
    async def manage(action: Action) -> None:
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_none(),
            sleep=trio.sleep,
            reraise=True,
        )
        results.append(await retrying(action))

    results: list[int] = []
    return await _seconds(manage, results)


async def theirs_stamina() -> float:
    retrying = stamina.AsyncRetryingCaller(
        attempts=ATTEMPTS, timeout=None, wait_initial=0, wait_max=0, wait_jitter=0
    )

    async def manage(action: Action) -> None:
        results.append(await retrying(Exception, action))

    results: list[int] = []
    set_on_retry_hooks([])  # it would log, which is switched off on our side as well
    return await _seconds(manage, results)


async def _seconds(
    manage: Callable[[Action], Awaitable[None]], results: list[int]
) -> float:
    """All tasks in a nursery: with no deadline, and no channel for the results."""
    actions = [fails_twice() for _ in range(TASKS)]
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for action in actions:
            nursery.start_soon(manage, action)
    assert results == [1] * TASKS
    return perf_counter() - start


WHAT = f"fails twice, then succeeds; {TASKS:,} added, then received"
ROWS = [
    Row(WHAT, "the same guarantees by hand", 0.6, 0.35, ours, theirs_by_hand),
    Row(WHAT, "tenacity in a nursery", 0.3, 0.18, ours, theirs_tenacity),
    Row(WHAT, "stamina in a nursery", 0.25, 0.13, ours, theirs_stamina),
]
