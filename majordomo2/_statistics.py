"""How much there is to do, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ._task import TaskStatus

ENDINGS: tuple[TaskStatus, ...] = (
    "success",
    "failure",
    "timeout",
    "mixed",
    "rejected",
    "cancelled",
)


class Statistics(NamedTuple):
    """The tasks of an instance at one moment; a subtask is a task too.

    `queued + running + waiting + sum(finished.values())` is how many were added.

    Attributes:
        queued: Tasks that wait for a worker.
        running: Tasks in their action, or in their pipeline.
        waiting: Tasks that wait for the moment of their restart, or to be looked up or
            recorded in the journal, and parallel ones that
            wait for their subtasks.
        finished: How many ended with each status.
        restarts: Attempts that were started, beyond the first ones.
        abandoned_threads: Threads of attempts that are over which still run.
    """

    queued: int
    running: int
    waiting: int
    finished: Mapping[TaskStatus, int]
    restarts: int
    abandoned_threads: int
