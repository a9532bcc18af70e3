"""runner="inline": a plain function in the Trio run itself, which it blocks meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from trio.lowlevel import disable_ki_protection

from .._checks import plain
from .._runner import Attempt
from ._call import call


class InlineRunner:
    """Calls the function then and there. It can't be cut off: it has returned first."""

    def check(self, action: Callable[..., object], /) -> None:
        plain("inline", action)

    @disable_ki_protection
    async def run(self, attempt: Attempt, /) -> object:
        await attempt.ready()
        return call(attempt)
