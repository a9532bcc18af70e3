"""Runs functions that may fail, hang or be cut off; brings back one typed result.

The layout, from the bottom; imports go one way:

    values      _errors _task _checks _pipeline _policy _runner _options _job _log _events
                _statistics _processes _remote _journal _annotations _codec
    mechanisms  _attempt _outcome _signals _channel _circle _watchdog _tidying
                runners/ journals/
    engine      _admission _waiting _worker _pool _parallel _recorder _recording
                _past _adder _names _selection _misplaced _instance _stream
                _majordomo
    face        __init__ abc
    edges       _cli __main__
"""

from ._channel import ResultChannel
from ._errors import (
    AttemptOver,
    JournalConflict,
    JournalError,
    MajordomoStopped,
    NoCurrentTask,
    PipelineOrderError,
    WorkerDied,
)
from ._job import Job, flatten_nested_tasks, job
from ._journal import Journaling
from ._majordomo import Majordomo, start_majordomo, task_return_value
from ._options import TaskOptions
from ._policy import Backoff
from ._processes import Processes
from ._signals import (
    TaskState,
    checkpoint,
    checkpoint_sync,
    current_task,
    current_task_data,
    failure,
    keepalive,
    success,
    update_data,
)
from ._statistics import Statistics
from ._task import (
    Task,
    TaskCancelled,
    TaskFailed,
    TaskRejected,
    TaskResult,
    TaskStatus,
    TaskTimedOut,
    is_cancelled,
    is_failure,
    is_mixed,
    is_not_success,
    is_rejected,
    is_success,
    is_timeout,
    is_unspecified_status,
)

__all__ = [
    "AttemptOver",
    "Backoff",
    "Job",
    "JournalConflict",
    "JournalError",
    "Journaling",
    "Majordomo",
    "MajordomoStopped",
    "NoCurrentTask",
    "PipelineOrderError",
    "Processes",
    "ResultChannel",
    "Statistics",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskOptions",
    "TaskRejected",
    "TaskResult",
    "TaskState",
    "TaskStatus",
    "TaskTimedOut",
    "WorkerDied",
    "checkpoint",
    "checkpoint_sync",
    "current_task",
    "current_task_data",
    "failure",
    "flatten_nested_tasks",
    "is_cancelled",
    "is_failure",
    "is_mixed",
    "is_not_success",
    "is_rejected",
    "is_success",
    "is_timeout",
    "is_unspecified_status",
    "job",
    "keepalive",
    "start_majordomo",
    "success",
    "task_return_value",
    "update_data",
]


def _rename() -> None:
    """Errors and reprs name what a user imports, not the module that holds it."""
    for name in __all__:
        if getattr(globals()[name], "__module__", "").startswith(f"{__name__}._"):
            globals()[name].__module__ = __name__


_rename()
