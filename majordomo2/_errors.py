"""What majordomo2 raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._task import Task


class MajordomoStopped(RuntimeError):
    """The instance takes no more tasks: it was stopped, drained, or its block was left."""


class NoCurrentTask(RuntimeError):
    """A signal was given, or the current task asked for, outside an action."""


class PipelineOrderError(TypeError):
    """The stages of a job were not called as flatten, filter, pre, sort, post."""


class AttemptOver(BaseException):
    """A signal came from an attempt that is over, such as an abandoned thread.

    It is no `Exception`, so that what is left of the attempt stops there instead of
    handling it as one more failure.
    """


class TaskFailed(Exception):
    """`Task.result` was asked of a task that did not succeed.

    Attributes:
        task: The task, with its `status`, `data`, `state` and `subtasks`.

    `__cause__` is the action's own exception where there is one.
    """

    def __init__(self, task: Task[object], /) -> None:
        from ._task import check_task  # noqa: PLC0415 - a task raises these errors

        super().__init__(check_task(task))
        self.task = task

    def __str__(self) -> str:
        task = self.task
        if task.status == "unspecified":
            return f"{task.id} has not been run: its status is 'unspecified'"
        attempts = "1 attempt" if task.attempts == 1 else f"{task.attempts} attempts"
        said = f": {task.data!r}" if task.status == "failure" else ""
        return f"{task.id} ended as {task.status!r} after {attempts}{said}"


class TaskTimedOut(TaskFailed):
    """The task fell silent for too long; what it had saved is in `task.state`."""


class TaskRejected(TaskFailed):
    """A task of the same `id=` was queued or running already."""


class TaskCancelled(TaskFailed):
    """The task was cancelled, by `ResultChannel.cancel`, by `stop`, or from outside."""
