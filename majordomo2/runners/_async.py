"""runner="async": in the Trio run, cancelled at its next checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from trio.lowlevel import disable_ki_protection

from .._runner import Attempt


class AsyncRunner:
    """Awaits what the action returns."""

    def check(self, action: Callable[..., object], /) -> None:
        """Any function may answer with something to await."""

    @disable_ki_protection
    async def run(self, attempt: Attempt, /) -> object:
        attempt.start()
        value = attempt.action(*attempt.args)
        if inspect.isawaitable(value):
            return await value
        return attempt.failure(
            TypeError(
                f"{attempt.action!r} returned {value!r}, which can't be awaited: give "
                f"an async function, or leave runner='async' out"
            )
        )
