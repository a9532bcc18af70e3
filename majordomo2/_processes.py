"""What an instance does with its worker processes."""

from __future__ import annotations

import math

from . import _checks


class Processes:
    """Options for `runner="process"`, given to `start_majordomo`.

    Args:
        idle_timeout: Seconds after which a worker process that has nothing to do ends.
        max_tasks_per_child: Calls after which a process is replaced by a new one, for
            functions that leak. Default: no limit.
        forward_logs: Send the log records of the processes, from the level of the
            parent's root logger on, to the parent's loggers of the same names. Each has
            the task's id as its attribute `task_id`.

    Raises:
        TypeError: One is of the wrong type.
        ValueError: One is out of range.
    """

    __slots__ = ("forward_logs", "idle_timeout", "max_tasks_per_child")

    def __init__(
        self,
        *,
        idle_timeout: float = 60,
        max_tasks_per_child: float = math.inf,
        forward_logs: bool = False,
    ) -> None:
        self.idle_timeout: float = _checks.seconds("idle_timeout", idle_timeout)
        self.max_tasks_per_child: float = _checks.whole(
            "max_tasks_per_child", max_tasks_per_child, least=1
        )
        self.forward_logs: bool = _checks.flag("forward_logs", forward_logs)

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Processes({', '.join(values)})"


def check_processes(value: object) -> Processes:
    """`processes`: the options, or None for the defaults.

    Raises:
        TypeError: It is something else.
    """
    if value is None:
        return Processes()
    if not isinstance(value, Processes):
        raise TypeError(
            f"processes must be a Processes, not {value!r}: give Processes(...); how "
            f"many there may be at once is said by max_workers="
        )
    return value
