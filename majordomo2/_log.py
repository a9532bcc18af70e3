"""What is logged, through `logging.getLogger("majordomo2")`."""

from __future__ import annotations

import logging
import math
from typing import TypeAlias

from ._task import Task, TaskStatus

logger = logging.getLogger("majordomo2")

Cause: TypeAlias = BaseException | str


def _said(cause: object) -> str:
    return cause if isinstance(cause, str) else repr(cause)


def silent(seconds: float) -> str:
    """The cause of a timeout in words."""
    return f"no sign of life for {seconds:g} s"


def restarting(id: str, attempt: int, retries: float, cause: Cause) -> None:
    if logger.isEnabledFor(logging.INFO):
        most = "∞" if math.isinf(retries) else f"{retries + 1:g}"
        logger.info(
            "%s: attempt %d of %s failed, restarting: %s",
            *(id, attempt, most, _said(cause)),
            exc_info=cause if isinstance(cause, BaseException) else None,
        )


def ended(id: str, status: TaskStatus, attempt: int, cause: object) -> None:
    """A task ends as a failure or a timeout."""
    logger.warning(
        "%s ended as %s in attempt %d: %s",
        *(id, status, attempt, _said(cause)),
        exc_info=cause if isinstance(cause, BaseException) else None,
    )


def unreceived(task: Task[object]) -> None:
    error = task.data if isinstance(task.data, BaseException) else None
    logger.error(
        "the result of %s was never received: it ended as %s: %r",
        *(task.id, task.status, task.data),
        exc_info=error,
    )


def masked(id: str, what: str, error: BaseException) -> None:
    """An error that does not change how the task ends."""
    logger.error("%s: %s: %r", id, what, error, exc_info=error)
