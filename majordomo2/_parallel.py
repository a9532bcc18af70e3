"""The parent of subtasks: no worker and no Trio task, a count of those still running."""

from __future__ import annotations

from collections.abc import Sequence

from . import _log as log
from ._channel import Carrier, Entry, Reason
from ._pool import WorkerPool
from ._task import Task, TaskStatus


class Parallel(Carrier):
    """Waits for the subtasks of a parallel task and sums them up.

    Args:
        pool: Of the instance.
        parent: The parallel task.
        parts: Its subtasks.
        recorded: How it had ended, if a journal has that.
    """

    def __init__(
        self,
        pool: WorkerPool,
        parent: Entry,
        parts: list[Entry],
        recorded: tuple[TaskStatus, object] | None,
    ) -> None:
        self._recorded = recorded
        self._pool = pool
        self._parent = parent
        self._parts = parts
        self._left = len(parts)
        parent.carrier = self
        pool.waiting += 1
        for part in parts:
            part.parent = self
        if not parts:
            self._sum_up()

    def waits_for(self) -> Sequence[Entry]:
        return self._parts

    def cut_off(self, _entry: Entry, reason: Reason, /) -> None:
        if reason == "cancelled":  # the clocks of the subtasks run out by themselves
            for part in self._parts:
                part.cancel()

    def part_finished(self, _part: Entry, /) -> None:
        self._left -= 1
        if not self._left:
            self._sum_up()

    def _sum_up(self) -> None:
        parent = self._parent
        self._pool.waiting -= 1
        subtasks = tuple(part.ending for part in self._parts if part.ending is not None)
        status, data = summed_up(subtasks)
        parent.attempts = sum(task.attempts for task in subtasks)
        parent.subtasks = subtasks
        if status not in ("success", "mixed"):
            parent.state = data
        label = parent.label
        if self._recorded is not None:  # that is how it had ended, and stays so
            _, recorded = self._recorded
            all_there = status == "success" and parent.stages
            parent.conclude(status, recorded if all_there else data)
            return
        if status in ("success", "mixed") and parent.stages and self._is_over():
            parent.state = [task.data for task in subtasks]
            parent.home.expired(parent)
        elif (
            parent.stages if status in ("success", "mixed") else self._salvages(status)
        ):
            self._pool.tidy(parent, status, data)
        else:
            parent.finish(status, data)
        if status in ("failure", "timeout"):
            failed = sum(task.status != "success" for task in subtasks)
            log.parent_ended(label, status, len(subtasks), failed)

    def _is_over(self) -> bool:
        """Is no time left for the pipeline?"""
        return self._parent.expires <= self._pool.now()

    def _salvages(self, status: TaskStatus) -> bool:
        return status == "timeout" and bool(self._parent.salvage)


def summed_up(subtasks: tuple[Task[object], ...]) -> tuple[TaskStatus, list[object]]:
    """The status of a parallel task, and the list of its subtasks' data."""
    statuses = {task.status for task in subtasks}
    everything = [task.data for task in subtasks]
    if statuses <= {"success"}:
        return "success", everything
    if "cancelled" in statuses:
        return "cancelled", everything
    if "success" in statuses:
        return "mixed", [task.data for task in subtasks if task.status == "success"]
    return "timeout" if statuses == {"timeout"} else "failure", everything
