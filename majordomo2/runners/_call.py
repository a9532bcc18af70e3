"""A plain function, called for its value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NoReturn, Protocol

from .._errors import Raised


class Callee(Protocol):
    """What a call needs of an attempt."""

    @property
    def action(self) -> Callable[..., object]: ...
    @property
    def args(self) -> tuple[object, ...]: ...
    def start(self) -> None: ...
    def failure(self, data: object = ..., /) -> NoReturn: ...


def call(attempt: Callee) -> object:
    """Start the attempt here and now, and return what its function returns."""
    attempt.start()
    try:
        value = attempt.action(*attempt.args)
    except StopIteration as error:
        raise Raised(error) from None
    if inspect.iscoroutine(value):
        value.close()
        # Final: the function would return a coroutine each time.
        attempt.failure(
            TypeError(
                f"{attempt.action!r} returned a coroutine, {value!r}, instead of its "
                f"value: write runner='async', or give the async function itself"
            )
        )
    return value
