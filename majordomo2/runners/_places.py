"""How many may run at once, in a runner that counts for itself."""

from __future__ import annotations

import trio
from trio.lowlevel import checkpoint_if_cancelled


async def take_place(places: trio.Semaphore) -> None:
    """Acquire one; without giving others a turn if it is to be had at once."""
    await checkpoint_if_cancelled()
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await places.acquire()
