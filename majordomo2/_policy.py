"""When a task starts again: which errors, after how long, and how many at a time."""

from __future__ import annotations

import inspect
import math
import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from . import _checks

Answer: TypeAlias = bool | float
RetryOn: TypeAlias = (
    type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], Answer]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a restart: exponential, with a random part.

    Before restart k it is `min(maximum, initial * factor ** (k - 1) + random)` seconds,
    `random` being between 0 and `jitter`. No worker is held meanwhile.

    Args:
        initial: Seconds before the first restart, without the random part.
        factor: By how much each is longer than the one before; 1 for a constant wait.
        maximum: Seconds that none exceeds.
        jitter: Seconds that chance may add, so that tasks which failed together don't
            come back together. 0 for none.

    Raises:
        TypeError: One is no number.
        ValueError: One is out of range: negative, infinite, a factor below 1, or an
            `initial` above `maximum`.
    """

    initial: float = 0.1
    factor: float = 2
    maximum: float = 45
    jitter: float = 1

    def __post_init__(self) -> None:
        for name in ("initial", "maximum", "jitter"):
            _finite(
                name, _checks.number(name, getattr(self, name)), "a number of seconds"
            )
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be 0 seconds or more, not {getattr(self, name)!r}: "
                    f"give one such as {name}=1"
                )
        factor = _finite("factor", _checks.number("factor", self.factor), "a number")
        if factor < 1:
            raise ValueError(
                f"factor must be 1 or more, not {factor!r}: the waits would shrink"
            )
        if self.initial > self.maximum:
            raise ValueError(
                f"initial must be at most maximum, {self.maximum!r} seconds, not "
                f"{self.initial!r}: give a larger maximum="
            )

    def seconds(self, restart: int) -> float:
        """How long to wait before this restart, 1 being the first, in seconds."""
        regular = 0.0
        if self.initial:  # 0 stays 0, however large the factor grows
            try:
                regular = self.initial * float(self.factor) ** (restart - 1)
            except OverflowError:
                return self.maximum
        return min(self.maximum, regular + random.uniform(0, self.jitter))  # noqa: S311 - no secret


def _finite(name: str, value: float, what: str) -> float:
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} must be finite, not {value!r}: give {what}")
    return value


def check_retry_on(name: str, value: object) -> object:
    """Exception types, or a plain function of the exception.

    Raises:
        TypeError: It is something else.
    """
    remedy = (
        "give an exception type, a tuple of them (() for no retry after a raise), or a "
        "plain function of the exception that returns True, False or seconds to wait"
    )
    if isinstance(value, type | tuple):
        kinds = cast(
            "tuple[object, ...]", value if isinstance(value, tuple) else (value,)
        )
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise TypeError(
                    f"{name} must hold subclasses of Exception, not {kind!r}: {remedy}"
                )
        return kinds
    if not callable(value) or _checks.is_async(value):
        raise TypeError(f"{name} must be a function or types, not {value!r}: {remedy}")
    return value


def check_backoff(name: str, value: object) -> Backoff:
    """A `Backoff`.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, Backoff):
        raise TypeError(f"{name} must be a Backoff, not {value!r}: give Backoff(...)")
    return value


def answer(retry_on: object, error: BaseException) -> Answer:
    """May it be retried, or after how many seconds?

    Raises:
        Exception: The function raised, or gave something else.
    """
    if retry_on is None:
        return True
    if isinstance(retry_on, tuple):
        return _matches(error, cast("tuple[type[Exception], ...]", retry_on))
    said = cast("Callable[[BaseException], object]", retry_on)(error)
    if isinstance(said, bool):
        return said
    if isinstance(said, int | float) and 0 <= said <= sys.float_info.max:
        return float(said)
    if inspect.iscoroutine(said):
        said.close()
    raise TypeError(
        f"retry_on must return True, False or seconds to wait (0 or more), not {said!r}"
    )


def _matches(error: BaseException, kinds: tuple[type[Exception], ...]) -> bool:
    if isinstance(error, kinds):
        return True
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(_matches(leaf, kinds) for leaf in group.exceptions)
    return False


class Budget:
    """At most so many restarts in any window of so many seconds."""

    def __init__(self, number: int, seconds: float) -> None:
        self._number = number
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=number)

    def free_at(self) -> float:
        """The earliest moment of the next restart, in the run's seconds."""
        if len(self._times) < self._number:
            return -math.inf
        return self._times[0] + self._seconds

    def spend(self, now: float) -> None:
        self._times.append(now)


def check_limit(value: object) -> Budget | None:
    """`restart_limit`: restarts, and the seconds of the window.

    Raises:
        TypeError: It is no pair of numbers.
        ValueError: One is out of range.
    """
    if value is None:
        return None
    if not (isinstance(value, tuple) and len(cast("tuple[object, ...]", value)) == 2):
        raise TypeError(
            f"restart_limit must be a pair (restarts, seconds), not {value!r}: "
            f"give one such as restart_limit=(10, 60)"
        )
    number, window = cast("tuple[object, object]", value)
    remedy = "give 1 or more, or leave it out for no limit"
    if isinstance(number, bool) or not isinstance(number, int):
        infinite = isinstance(number, float) and not math.isfinite(number)
        raise (ValueError if infinite else TypeError)(
            f"the restarts of restart_limit must be a whole number, not {number!r}: "
            f"{remedy}"
        )
    if number < 1:
        raise ValueError(
            f"the restarts of restart_limit must be 1 or more, not {number!r}: "
            f"for none, give retries=0 to the tasks"
        )
    name = "the seconds of restart_limit"
    seconds = _finite(name, _checks.number(name, window), "a number of seconds")
    if seconds < 0:
        raise ValueError(
            f"{name} must be 0 or more, not {window!r}: give the length of the window"
        )
    return Budget(min(number, sys.maxsize), seconds)
