"""The contract between the engine and what runs an action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NoReturn, Protocol, TypeAlias, runtime_checkable

RunnerName: TypeAlias = Literal["auto", "async", "inline", "thread", "process"]


class Attempt(Protocol):
    """One attempt of one task, as its runner sees it.

    All of it may be called from any thread. Once the attempt is over, the signals and
    `start` raise `AttemptOver` and change nothing.
    """

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def number(self) -> int:
        """1 for the first attempt, 2 for the first restart, …"""
        ...

    @property
    def action(self) -> Callable[..., object]:
        """The function to call."""
        ...

    @property
    def args(self) -> tuple[object, ...]:
        """The arguments to call it with."""
        ...

    @property
    def state(self) -> object:
        """What was saved last, by this attempt or the one before; {} if nothing."""
        ...

    @property
    def saved(self) -> object:
        """What `state` is taken from, for an attempt in another process. It pickles."""
        ...

    @property
    def codec(self) -> object:
        """How the journal encodes a state, if the task has one; else None. It pickles.

        What can't be encoded is refused where `update_data` was called: a runner that
        calls the function in another process gives this along.
        """
        ...

    @property
    def over(self) -> bool:
        """Has the engine done with this attempt?"""
        ...

    async def ready(self) -> None:
        """There is a place for the action, and it is to start next.

        A runner awaits it just before: with a journal it returns when it is durable there
        that the attempt counts. A runner that doesn't is one whose last attempt before a
        crash may not count.
        """
        ...

    def start(self) -> None:
        """The action starts now: from here on the keepalive period runs.

        A runner calls it just before the action really starts, and not while it waits
        for a place, a thread or a process. Without it the attempt never falls silent.
        """
        ...

    def keepalive(self) -> None:
        """A ping: the action is alive."""
        ...

    def update_data(self, data: object, /) -> None:
        """A ping that saves the state."""
        ...

    async def durable(self) -> None:
        """Return when all that was saved before is durable in the journal."""
        ...

    def listen(self, look: Callable[[], None], /) -> None:
        """Before the action is thought to be silent, this is called.

        It takes the signals that are on their way, from another process or machine,
        which a Trio run that was held up could not take before.
        """
        ...

    def leave_running(self) -> None:
        """The runner was cut off, and abandons an action that goes on running."""
        ...

    def stopped_running(self) -> None:
        """An action that was left running has ended. Called in the Trio run."""
        ...

    def success(self, data: object = ..., /) -> NoReturn:
        """The action declared success; raises the signal that ends it."""
        ...

    def failure(self, data: object = ..., /) -> NoReturn:
        """The action declared a final failure; raises the signal that ends it."""
        ...


@runtime_checkable
class Runner(Protocol):
    """Where an action runs. The built-in runners use nothing more than this."""

    def check(self, action: Callable[..., object], /) -> None:
        """Refuse an action that this runner can't run; called by `add_task` and `job`.

        Raises:
            TypeError: It can't run it. The message says which runner can.
        """
        ...

    async def run(self, attempt: Attempt, /) -> object:
        """Await `attempt.ready()`, call `attempt.start()`, then the action, and return
        what that returns.

        Runs in a Trio task whose context is the attempt's own, so that signals find it:
        an action that runs elsewhere, as in a thread of your own, must run in a copy of
        this context. At the deadline, or when the task is cancelled, it gets `trio.Cancelled`: it
        stops the action if it can be stopped, abandons it if not, and lets `Cancelled`
        out.

        The Trio task is protected from KeyboardInterrupt: decorate this method with
        `trio.lowlevel.disable_ki_protection` if Ctrl-C may hit the action.

        Raises:
            Exception: What the action raised.
        """
        ...
