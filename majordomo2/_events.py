"""What happens to tasks, for those who watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import cast

from . import _log as log
from ._task import Task


class Observer:
    """Hears what happens in an instance. Every method is optional.

    They are called in the Trio run, at the moment it happens, and must not wait or take
    long. One that raises is dropped with all its methods, and logged; no task feels it.
    """

    def task_added(self, id: str, /) -> None:
        """A task was added, or a subtask."""

    def attempt_started(self, id: str, attempt: int, /) -> None:
        """An attempt has a worker; 1 is the first. Its action starts next."""

    def pinged(self, id: str, /) -> None:
        """The action gave a sign of life. From a thread: soon after."""

    def state_saved(self, id: str, state: object, /) -> None:
        """The action saved its state. From a thread: soon after."""

    def attempt_ended(self, id: str, attempt: int, why: object, /) -> None:
        """An attempt has ended: "success", "failure" or "cancelled", the exception that
        it raised, or a sentence that says which of its clocks ran out.
        """

    def restarting(self, id: str, seconds: float, /) -> None:
        """It will be started again, after so many seconds, the queue and budget apart."""

    def task_finished(self, task: Task[object], /) -> None:
        """A task has ended; this is its result."""

    def slot_lent(self, id: str, /) -> None:
        """The action waits for another task of the instance, and lends its slot."""

    def slot_taken_back(self, id: str, /) -> None:
        """It has its slot again."""

    def thread_abandoned(self, id: str, /) -> None:
        """The thread of an attempt that is over goes on running."""


EVENTS = tuple(name for name in vars(Observer) if not name.startswith("_"))


class Events:
    """Tells observers, each of what it overrides."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        # That of the block: the context in which it happens is an action's, whose
        # signals are not the observers' to give.
        self._context = copy_context()
        self._told: dict[str, list[Callable[..., object]]] = {
            name: [
                getattr(observer, name)
                for observer in observers
                if getattr(type(observer), name) is not getattr(Observer, name)
            ]
            for name in EVENTS
        }

    @property
    def of_signals(self) -> bool:
        """Does anybody want to hear of pings or states?"""
        return bool(self._told["pinged"] or self._told["state_saved"])

    def tell(self, event: str, *args: object) -> None:
        for told in tuple(self._told[event]):
            try:
                self._context.copy().run(told, *args)
            except Exception as error:
                self._drop(told, event, error)

    def _drop(self, told: Callable[..., object], event: str, error: Exception) -> None:
        observer = cast("object", getattr(told, "__self__", told))
        log.dropped(observer, event, error)
        for methods in self._told.values():
            methods[:] = [
                each
                for each in methods
                if getattr(each, "__self__", each) is not observer
            ]


def check_observers(value: object) -> Events | None:
    """`observers`: an iterable of `Observer`.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, Observer) or not isinstance(value, Iterable):
        raise TypeError(
            f"observers must be an iterable of Observer, not {value!r}: "
            f"write observers=[observer]"
        )
    observers = list(cast("Iterable[object]", value))
    for observer in observers:
        if not isinstance(observer, Observer):
            raise TypeError(
                f"observers must hold objects of a subclass of majordomo2.abc.Observer, "
                f"not {observer!r}: derive its class from it"
            )
    return Events(cast("list[Observer]", observers)) if observers else None
