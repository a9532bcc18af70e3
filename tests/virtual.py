"""A Trio run on virtual time: what waits for an hour takes no time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

from majordomo2 import Majordomo, start_majordomo

T = TypeVar("T")


NEVER = 1e12  # seconds: the clock jumps there only when all wait for ever


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run it with a clock that jumps to the next deadline when all Trio tasks wait.

    Raises:
        trio.TooSlowError: They would wait for ever.
    """

    async def in_time() -> T:
        with trio.fail_after(NEVER):
            return await main()

    return trio.run(in_time, clock=trio.testing.MockClock(autojump_threshold=0))


def run_with(
    main: Callable[[Majordomo], Awaitable[T]], *, max_workers: float = float("inf")
) -> T:
    """Run it with an instance of its own."""

    async def with_instance() -> T:
        async with start_majordomo(max_workers=max_workers) as jarvis:
            return await main(jarvis)

    return run(with_instance)
