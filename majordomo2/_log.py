"""What is logged, through `logging.getLogger("majordomo2")`.

Whatever an action left behind goes to the log as it is: only the handlers ask for its
repr, so that a broken one harms nobody else.
"""

from __future__ import annotations

import logging
import math
import sys
from types import TracebackType
from typing import TypeAlias

from ._errors import WorkerDied
from ._remote import is_remote, users_part
from ._task import Task, TaskStatus

logger = logging.getLogger("majordomo2")

Cause: TypeAlias = BaseException | str


def silent(seconds: float) -> str:
    """The cause of a timeout in words."""
    return f"no sign of life for {seconds:g} s"


def too_long(seconds: float) -> str:
    return f"the attempt took longer than its attempt_timeout of {seconds:g} s"


def expired(seconds: float) -> str:
    return f"the total_timeout of {seconds:g} s ran out"


def restarting(label: str, attempt: int, retries: float, cause: Cause) -> None:
    if logger.isEnabledFor(logging.INFO):
        most = "∞" if math.isinf(retries) else f"{retries + 1:g}"
        text = f"%s: attempt %d of %s failed, restarting: {_form(cause)}"
        _write(logging.INFO, text, label, attempt, most, cause)


def ended(label: str, status: TaskStatus, attempt: int, cause: object) -> None:
    """A task ends as a failure or a timeout."""
    text = f"%s ended as %s in attempt %d: {_form(cause)}"
    _write(logging.WARNING, text, label, status, attempt, cause, error=cause)


def parent_ended(label: str, status: TaskStatus, parts: int, failed: int) -> None:
    """A parallel task ends as a failure or a timeout; its subtasks said why."""
    text = "%s ended as %s: %d of %d subtasks did not succeed"
    _write(logging.WARNING, text, label, status, failed, parts)


def unreceived(task: Task[object]) -> None:
    text = "the result of %s was never received: it ended as %s: %r"
    _write(logging.ERROR, text, task.id, task.status, task.data, error=task.data)


def masked(label: str, what: str, error: BaseException) -> None:
    """An error that does not change how the task ends."""
    _write(logging.ERROR, "%s: %s: %r", label, what, error, error=error)


def dropped(observer: object, event: str, error: BaseException) -> None:
    text = "%r: dropped, its %s raised: %r"
    _write(logging.ERROR, text, observer, event, error, error=error)


def abandoned(id: str, error: BaseException) -> None:
    """What an abandoned thread raised: nobody waits for it, but it must not vanish."""
    text = "an abandoned thread of %s raised: %r"
    _write(logging.WARNING, text, id, error, error=error)


def _write(level: int, text: str, *args: object, error: object = None) -> None:
    try:
        logger.log(level, text, *args, exc_info=_traceback(error))
    except Exception as problem:
        # A handler that raises is no reason to lose a task.
        sys.excepthook(type(problem), problem, problem.__traceback__)


def _form(cause: object) -> str:
    return "%s" if isinstance(cause, str) else "%r"


Shown: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


def _traceback(cause: object) -> Shown | None:
    """The exception, and its traceback from where the user's code begins."""
    if not isinstance(cause, BaseException):
        return None
    shown = users_part(cause.__traceback__)
    elsewhere = isinstance(cause, WorkerDied) or is_remote(cause)
    return type(cause), cause, shown if elsewhere else shown or cause.__traceback__
