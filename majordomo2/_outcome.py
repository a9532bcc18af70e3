"""What an action raised: its failure, a cancellation, or what must leave the block."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias, cast

from ._attempt import BaseAttempt, TaskEnded
from ._errors import AttemptOver, Raised

_Group: TypeAlias = BaseExceptionGroup[BaseException]
Parts: TypeAlias = tuple[
    BaseException | None, BaseException | None, BaseException | None
]


def sort_out(error: BaseException, attempt: BaseAttempt | None) -> Parts:
    """The failure, the cancellation and the fatal part of what was raised.

    The signals of this attempt are left out. A nursery inside the action makes groups
    of all these; none of them may hide another.
    """
    if isinstance(error, Raised):
        return error.error, None, None
    if isinstance(error, Exception):  # the very object, also if it is a group
        return error, None, None

    def own_signal(leaf: BaseException) -> bool:
        return isinstance(leaf, TaskEnded) and leaf.attempt is attempt

    _, rest = _split(error, own_signal)
    cancelled, rest = _split(rest, _is_cancelled)
    failure, fatal = _split(rest, _is_failure)
    return failure, cancelled, fatal


def _is_cancelled(leaf: BaseException) -> bool:
    # A worker process may have no Trio: then it has no cancellation either.
    trio = sys.modules.get("trio")
    return trio is not None and isinstance(leaf, trio.Cancelled)


def _is_failure(leaf: BaseException) -> bool:
    # The signals of another attempt are this action's failure, if it lets them out.
    return isinstance(leaf, Exception | AttemptOver | TaskEnded)


def _split(
    error: BaseException | None, condition: Callable[[BaseException], bool]
) -> tuple[BaseException | None, BaseException | None]:
    def leaf_condition(leaf: BaseException) -> bool:  # `split` asks of the groups too
        return not isinstance(leaf, BaseExceptionGroup) and condition(leaf)

    if isinstance(error, BaseExceptionGroup):
        return cast("_Group", error).split(leaf_condition)
    if error is None or condition(error):
        return error, None
    return None, error


def add_note(error: BaseException, note: str) -> None:
    """Add it, but once."""
    if note not in getattr(error, "__notes__", ()):  # it may be raised at each attempt
        error.add_note(note)
