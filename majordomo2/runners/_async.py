"""runner="async": in the Trio run, cancelled at its next checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from trio.lowlevel import disable_ki_protection

from .._runner import Attempt

NOT_AWAITABLE = (
    "which can't be awaited: give an async function, or leave runner='async' out"
)
NOT_AWAITED = "instead of its value: await it inside the function"


class AsyncRunner:
    """Awaits what the action returns."""

    def check(self, action: Callable[..., object], /) -> None:
        """Any function may answer with something to await."""

    @disable_ki_protection
    async def run(self, attempt: Attempt, /) -> object:
        if attempt.codec is not None:  # else there is no journal to wait for
            await attempt.ready()
        attempt.start()
        value = attempt.action(*attempt.args)
        if not inspect.isawaitable(value):
            return attempt.failure(_wrong(attempt, value, NOT_AWAITABLE))
        result = await value
        if inspect.iscoroutine(result):
            result.close()
            return attempt.failure(_wrong(attempt, result, NOT_AWAITED))
        return result


def _wrong(attempt: Attempt, value: object, what: str) -> TypeError:
    return TypeError(f"{attempt.action!r} returned {value!r}, {what}")
