"""What majordomo2 raises, but for the errors of a task, which are beside it."""

from __future__ import annotations


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


class WorkerDied(Exception):
    """The worker process of an attempt has died, or had to be killed as it went astray.

    Attributes:
        exitcode: What it exited with; None if a signal ended it.
        signal: The name of the signal that ended it, such as "SIGSEGV", or None.
    """

    def __init__(
        self, why: str, exitcode: int | None = None, signal: str | None = None
    ) -> None:
        super().__init__(why)
        self.exitcode: int | None = exitcode
        self.signal: str | None = signal


class JournalError(RuntimeError):
    """A journal can't be used, or what it has of a task can't."""


class JournalConflict(JournalError):
    """A task of this id is in the journal, with another action or other arguments.

    Attributes:
        id: The task's name.
        recorded: The call that the journal has.
        given: The call that was added.
    """

    def __init__(self, id: str, recorded: str, given: str) -> None:
        super().__init__(
            f"{id!r} is another task in the journal: recorded is {recorded}, given was "
            f"{given}: if it is the same, change the name or the arguments back, "
            f"else give it another id="
        )
        self.id: str = id
        self.recorded: str = recorded
        self.given: str = given

    def __reduce__(self) -> tuple[object, ...]:
        return JournalConflict, (self.id, self.recorded, self.given)


class Raised(Exception):
    """A StopIteration on its way through coroutines, which would turn it into another."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error
