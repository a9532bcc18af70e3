"""The same guarantees, as somebody who knows Trio well would write them by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

Result: TypeAlias = tuple[str, object]


def add(
    nursery: trio.Nursery,
    action: Callable[[], Awaitable[object]],
    *,
    keepalive: float = 5,
    retries: int = 3,
) -> trio.MemoryReceiveChannel[Result]:
    """Start a task that sends its result: retried, with a deadline for each attempt."""
    send, receive = trio.open_memory_channel[Result](1)
    nursery.start_soon(_manage, send, action, keepalive, retries)
    return receive


def add_limited(
    nursery: trio.Nursery,
    action: Callable[[], Awaitable[object]],
    limit: trio.Semaphore,
    *,
    keepalive: float = 5,
    retries: int = 3,
) -> trio.MemoryReceiveChannel[Result]:
    """The same, for so many at once as the semaphore lets in."""
    send, receive = trio.open_memory_channel[Result](1)
    nursery.start_soon(_manage_limited, limit, send, action, keepalive, retries)
    return receive


async def _manage_limited(
    limit: trio.Semaphore,
    send: trio.MemorySendChannel[Result],
    action: Callable[[], Awaitable[object]],
    keepalive: float,
    retries: int,
) -> None:
    async with limit:
        await _manage(send, action, keepalive, retries)


async def _manage(
    send: trio.MemorySendChannel[Result],
    action: Callable[[], Awaitable[object]],
    keepalive: float,
    retries: int,
) -> None:
    result: Result = "unspecified", None
    for attempt in range(retries + 1):
        if attempt:
            await trio.lowlevel.checkpoint()
        with trio.CancelScope(deadline=trio.current_time() + keepalive) as scope:
            try:
                result = "success", await action()
            except Exception as error:
                result = "failure", error
        if scope.cancelled_caught:
            result = "timeout", None
        if result[0] == "success":
            break
    await send.send(result)
