"""The options of a task that leave the type of its result alone."""

from __future__ import annotations

import contextvars
import copy
import math
from collections.abc import Callable, Mapping
from typing import TypedDict, cast, get_args

from . import _checks
from ._policy import Backoff, RetryOn, check_backoff, check_retry_on
from ._runner import Runner, RunnerName


class TaskOptions(TypedDict, total=False):
    """Keywords of `job`, `add_task`, `run`, `get_task_data` and `map`.

    Keys:
        keepalive: Seconds without a ping after which an attempt is cut off. Default 5.
            `math.inf`: never; `0`: at the first wait, and in a thread, whose waits
            nobody sees, soon after its start.
        retries: Restarts after a raise or a silence: at most `retries + 1` attempts.
            Default 3. `math.inf`: for ever.
        runner: "auto" (the default: an async function in the Trio run, a plain one in a
            thread), "async", "inline", "thread", "process", or a
            `majordomo2.abc.Runner`.
        retry_on: Which raises are retried: an exception type, a tuple of them (`()`:
            none), or a plain function of the exception that returns True, False, or
            seconds to wait. A group matches if all its leaves do. Default: all.
        backoff: The `Backoff` before each restart. Default: none, as in the seed.
        attempt_timeout: Seconds that one attempt may take, pings or not. Default: no
            limit.
        total_timeout: Seconds from `add_task` to the end of the pipeline, all attempts,
            the queue and all waits in it. Default: no limit.
        priority: Larger is started first, equals in order of arrival. Default: 0.
        id: The task's name; a second task of that name is rejected while the first is
            queued or running. By it a journal knows the task again. Default: a fresh
            one, and the task is in no journal.
        context: The `contextvars.Context` whose copies the attempts run in. Default:
            the one in which the task is added.
    """

    keepalive: float
    retries: float
    retry_on: RetryOn
    backoff: Backoff
    attempt_timeout: float
    total_timeout: float
    priority: float
    runner: RunnerName | Runner
    id: str
    context: contextvars.Context


RUNNER_NAMES: tuple[RunnerName, ...] = get_args(RunnerName)


class Options:
    """`TaskOptions`, checked and with the defaults filled in. Nobody changes it.

    No dataclass: to make one takes a noticeable part of the whole import, and a frozen
    one three times as long to fill.

    Attributes:
        retry_on: A tuple of types, a function, or None for all.
        shortest: Seconds that an attempt has at the least.
    """

    __slots__ = (
        "attempt_timeout",
        "backoff",
        "context",
        "id",
        "keepalive",
        "priority",
        "retries",
        "retry_on",
        "runner",
        "shortest",
        "total_timeout",
    )

    def __init__(
        self,
        *,
        keepalive: float = 5.0,
        retries: float = 3,
        retry_on: object = None,
        backoff: Backoff | None = None,
        attempt_timeout: float = math.inf,
        total_timeout: float = math.inf,
        priority: float = 0,
        runner: RunnerName | Runner = "auto",
        id: str | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        self.keepalive = keepalive
        self.retries = retries
        self.retry_on = retry_on
        self.backoff = backoff
        self.attempt_timeout = attempt_timeout
        self.total_timeout = total_timeout
        self.priority = priority
        self.runner: RunnerName | Runner = runner
        self.id = id
        self.context = context
        self.shortest = min(keepalive, attempt_timeout)

    def within(self, context: contextvars.Context) -> Options:
        """The same for attempts in copies of another context."""
        other = copy.copy(self)
        other.context = context
        return other


DEFAULTS = Options()


def checked(caller: str, options: Mapping[str, object]) -> Options:
    """The options as a record.

    Raises:
        TypeError: An option is unknown, or of the wrong type.
        ValueError: One is out of range.
    """
    for name in options.keys() - _CHECKS.keys():
        raise TypeError(_unknown(caller, name))
    values = {name: _CHECKS[name](name, value) for name, value in options.items()}
    return cast("Callable[..., Options]", Options)(**values)


def check_runner(runner: RunnerName | Runner, action: Callable[..., object]) -> None:
    """Refuse an action that the runner can't run.

    Raises:
        TypeError: It can't.
    """
    if not isinstance(runner, str):
        runner.check(action)
    elif runner in ("inline", "thread"):
        _checks.plain(runner, action)


def _unknown(caller: str, name: str) -> str:
    import difflib  # noqa: PLC0415 - slow to import, and seldom wanted

    if caller == "map" and name == "parallel":
        return "map takes no parallel=: each item is a task of its own already"
    if caller == "map" and name == "unwrap":
        return "map takes no unwrap=: write map(lambda args: f(*args), source)"
    if name in ("parallel", "unwrap"):
        return (
            f"{caller} takes no {name}=, which changes the type of the result: "
            f"write {caller}(job(f, ..., {name}=True))"
        )
    if name in ("filter", "pre", "sort", "post", "salvage", "flatten_nested_tasks"):
        return (
            f"{caller} takes no {name}=: the pipeline is said by methods of a job; "
            f"write {caller}(job(f, ...).{name}(...))"
        )
    known = [*_CHECKS, *(("parallel", "unwrap") if caller == "job" else ())]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}=?" if near else "they are " + ", ".join(known)
    return (
        f"{caller} has no option {name}=; {hint} "
        f"(for keyword arguments of the action use functools.partial)"
    )


def _check_retries(name: str, value: object) -> float:
    return _checks.whole(name, value, least=0)


def _check_runner(name: str, value: object) -> object:
    if value in RUNNER_NAMES:
        return value
    if isinstance(value, Runner) and not isinstance(value, type):
        return value
    names = ", ".join(map(repr, RUNNER_NAMES))
    if not isinstance(value, str):
        raise TypeError(
            f"{name} must be one of {names} or a Runner, an object with the methods "
            f"check and run (majordomo2.abc.Runner), not {value!r}"
        )
    raise ValueError(f"{name} must be one of {names} or a Runner, not {value!r}")


def _check_context(name: str, value: object) -> contextvars.Context:
    if not isinstance(value, contextvars.Context):
        raise TypeError(
            f"{name} must be a contextvars.Context, not {value!r}: "
            f"give one such as contextvars.copy_context()"
        )
    return value


_CHECKS = {
    "keepalive": _checks.seconds,
    "retries": _check_retries,
    "retry_on": check_retry_on,
    "backoff": check_backoff,
    "attempt_timeout": _checks.seconds,
    "total_timeout": _checks.seconds,
    "priority": _checks.number,
    "runner": _check_runner,
    "id": _checks.name,
    "context": _check_context,
}
