"""What several test files share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

import trio

from majordomo2 import Job, Majordomo, Task, TaskResult
from virtual import run_with

T = TypeVar("T")


def untyped(value: object) -> Any:
    """The value, out of the checkers' sight: for calls that are wrong on purpose."""
    return value


def run_job(work: Job[T]) -> TaskResult[T]:
    """The result of one job, in a Trio run and an instance of its own."""

    async def body(jarvis: Majordomo) -> TaskResult[T]:
        return await jarvis.run(work)

    return run_with(body)


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
