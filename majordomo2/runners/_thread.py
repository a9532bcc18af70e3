"""runner="thread": a plain function in a thread, which is abandoned at its deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import trio

from .._checks import plain
from .._errors import AttemptOver
from .._runner import Attempt
from ._call import call

logger = logging.getLogger("majordomo2")


class _NoLimit:
    """A capacity limiter that limits nothing.

    Trio's own holds an abandoned thread's place until the thread has ended, so that hung
    ones would use up the places of the healthy; this runner counts them itself.
    """

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        pass

    def release_on_behalf_of(self, borrower: object) -> None:
        pass


_NO_LIMIT = cast("trio.CapacityLimiter", _NoLimit())


class ThreadRunner:
    """Calls the function in a thread of Trio's cache.

    A thread can't be killed. When it is cut off it is abandoned: it gives its place to
    another, nothing that it does counts any more, and it stops at its next signal.

    Args:
        places: How many threads at once, not counting abandoned ones.
    """

    def __init__(self, places: int) -> None:
        self._places = trio.Semaphore(places)

    def check(self, action: Callable[..., object], /) -> None:
        plain("thread", action)

    async def run(self, attempt: Attempt, /) -> object:
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._places.acquire()
        try:
            return await trio.to_thread.run_sync(
                _in_thread,
                attempt,
                thread_name=attempt.id,
                abandon_on_cancel=True,
                limiter=_NO_LIMIT,
            )
        finally:
            self._places.release()


def _in_thread(attempt: Attempt) -> object:
    try:
        return call(attempt)
    except AttemptOver:
        raise
    except BaseException as error:
        if attempt.over:  # nobody waits for it any more, but it must not vanish
            logger.warning(
                "an abandoned thread of %s raised: %r",
                *(attempt.id, error),
                exc_info=error,
            )
        raise
