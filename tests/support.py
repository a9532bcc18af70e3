"""What several test files share."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard, TypeVar

import trio
from trio.testing import MockClock

from majordomo2 import Job, Majordomo, Task, TaskResult, start_majordomo

T = TypeVar("T")


def untyped(value: object) -> Any:
    """The value, out of the checkers' sight: for calls that are wrong on purpose."""
    return value


def with_majordomo(
    body: Callable[[Majordomo], Awaitable[T]], *, max_workers: float = math.inf
) -> T:
    """Run `body(jarvis)` in a Trio run whose clock jumps when everybody waits."""

    async def main() -> T:
        async with start_majordomo(max_workers=max_workers) as jarvis:
            return await body(jarvis)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def run_job(work: Job[T]) -> TaskResult[T]:
    """The result of one job, in a Trio run and an instance of its own."""

    async def body(jarvis: Majordomo) -> TaskResult[T]:
        return await jarvis.run(work)

    return with_majordomo(body)


def is_task(value: object) -> TypeGuard[Task[object]]:
    return isinstance(value, Task)


def is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


FLAVOURS = ("plain", "async", "plain of async")


def flavoured(f: Callable[..., object], flavour: str) -> Any:
    """The function as it is, or async, or as a plain one that answers a coroutine."""

    async def as_async(*args: object) -> object:
        await trio.lowlevel.checkpoint()
        return f(*args)

    def plain_of_async(*args: object) -> object:
        return as_async(*args)

    return {"plain": f, "async": as_async, "plain of async": plain_of_async}[flavour]
