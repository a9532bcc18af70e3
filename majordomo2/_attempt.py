"""One attempt: what it pinged, saved and declared, fenced off once it is over."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, TypeAlias

from ._errors import AttemptOver
from ._task import SAVED, UNSAVED, as_state

if TYPE_CHECKING:
    from ._channel import Entry
    from ._codec import Codec

Declared: TypeAlias = Literal["success", "failure"]


BLOCKING = (
    "checkpoint_sync() would block the Trio run: write await checkpoint(...), or give the "
    "function another runner"
)


class TaskEnded(BaseException):
    """The signal by which `success` and `failure` end an action.

    No `Exception`: neither the action's own handlers nor a nursery or thread in
    between should take it for an error.
    """

    def __init__(self, attempt: BaseAttempt) -> None:
        super().__init__(f"{attempt.id} declared its result")
        self.attempt = attempt


class Lender(Protocol):
    """Who has the slot of an attempt."""

    async def lend_while(
        self,
        attempt: LiveAttempt,
        entry: Entry,
        wait: Callable[[], Awaitable[None]],
        /,
    ) -> None: ...


class BaseAttempt:
    """What an action gives its signals to, in whichever process it runs.

    Attributes:
        saved: What `update_data` saved last.
        codec: How its states are encoded for a journal; None without one.
        declared: What `success` or `failure` was given.
        over: The engine has done with it.
        closed: It is over, or has declared its end: a further signal raises.
    """

    __slots__ = ("closed", "declared", "id", "number", "over", "saved")
    codec: Codec | None = None

    def __init__(self, id: str, number: int, saved: object) -> None:
        self.id = id
        self.number = number
        self.saved = saved
        self.declared: tuple[Declared, object] | None = None
        self.over = False
        self.closed = False

    @property
    def state(self) -> object:
        return as_state(self.saved)

    def keepalive(self) -> None:
        raise NotImplementedError

    def update_data(self, data: object, /) -> None:
        raise NotImplementedError

    async def durable(self) -> None:
        raise NotImplementedError

    async def checkpoint(self, data: object, /) -> None:
        self.update_data(data)
        await self.durable()

    def checkpoint_sync(self, data: object, /) -> None:
        raise NotImplementedError

    def success(self, data: object = UNSAVED, /) -> NoReturn:
        self._declare("success", data)

    def failure(self, data: object = UNSAVED, /) -> NoReturn:
        self._declare("failure", data)

    def _declare(self, status: Declared, data: object) -> NoReturn:
        if not self.closed:
            self.declared = status, (self.state if data is UNSAVED else data)
            self.closed = True
        self.refuse()

    def refuse(self) -> NoReturn:
        """Stop whoever gives a signal to an attempt that takes no more.

        Raises:
            AttemptOver: It is over.
            TaskEnded: It has declared its result, which stands.
        """
        if self.over:
            raise AttemptOver(f"attempt {self.number} of {self.id} is over")
        raise TaskEnded(self)

    def end(self) -> object:
        """The attempt is over: what it has saved."""
        self.over = self.closed = True
        return self.saved


_NO_WAITS: list[Entry | None] = []


class LiveAttempt(BaseAttempt):
    """The engine's `majordomo2.abc.Attempt`.

    What it saves stays here until the engine takes it over at the end: a leftover of an
    attempt that is over writes to an object that nobody reads. It knows nothing of the
    task's record: the traceback of a failure, which holds it, would keep the record
    alive, and with it the failure.

    Attributes:
        home: The instance.
        lender: Who has its slot, and lends it while it waits for another task.
        waits: The tasks that it, or a child of it, waits for; None for one of them whose
            wait is over, but not its pause.
        started: When its action started, in the run's seconds; `math.inf` before.
        look: Takes the signals that are on their way, if they can be.
        pinged: When it gave its last sign of life, in the run's seconds; `math.inf`
            before it started.
    """

    __slots__ = (
        "_now",
        "action",
        "args",
        "home",
        "keepalive_seconds",
        "lender",
        "look",
        "pinged",
        "started",
        "waits",
    )

    def __init__(self, entry: Entry, lender: Lender, now: Callable[[], float]) -> None:
        super().__init__(entry.name, entry.attempts, entry.state)
        self.home = entry.home
        self.lender = lender
        self.waits: list[Entry | None] = _NO_WAITS
        self.action = entry.action
        self.args = entry.args
        self.keepalive_seconds = entry.options.keepalive
        self.pinged = self.started = math.inf
        self.look: Callable[[], None] | None = None
        self._now = now

    async def ready(self) -> None:
        """Without a journal nothing is to be recorded first."""

    def start(self) -> None:
        self.pinged = self.started = self._now()
        if self.closed:
            self.refuse()

    def listen(self, look: Callable[[], None], /) -> None:
        self.look = look

    def leave_running(self) -> None:
        self.home.abandoned(self.id)

    def stopped_running(self) -> None:
        self.home.abandoned_ended()

    def keepalive(self) -> None:
        # First the effect, then the check: in a thread the attempt may end in between,
        # and then whoever signals must hear of it.
        self.pinged = self._now()
        if self.closed:
            self.refuse()

    def update_data(self, data: object, /) -> None:
        self.saved = data
        self.pinged = self._now()
        if self.closed:
            self.refuse()

    async def durable(self) -> None:
        import trio  # noqa: PLC0415 - a worker process has this module, and no Trio

        self.home.check_unjournaled(self.id)
        await trio.lowlevel.checkpoint()

    def checkpoint_sync(self, data: object, /) -> None:
        self.home.check_unjournaled(self.id)
        self.update_data(data)


class JournaledAttempt(LiveAttempt):
    """One whose states go to a journal.

    Attributes:
        final: What it had saved when it was over; a leftover of it may save more.
        recording: What the journal is told of the task.
    """

    __slots__ = ("_encode", "_what", "codec", "final", "recording")

    def __init__(self, entry: Entry, lender: Lender, now: Callable[[], float]) -> None:
        super().__init__(entry, lender, now)
        assert entry.recording is not None
        self.recording = entry.recording
        self.codec = entry.recording.codec
        self._encode = entry.recording.codec.encode
        self.final = self.saved
        self._what = f"the state of {self.id!r}"
        self.recording.attempt = self

    async def ready(self) -> None:
        await self.recording.started(self.number)

    def keepalive(self) -> None:
        super().keepalive()
        self.recording.heard(self.pinged)

    def update_data(self, data: object, /) -> None:
        self.saved = (SAVED, data, self._encode(data, self._what))
        self.pinged = self._now()
        if self.closed:
            self.refuse()
        if not self.recording.marked:
            self.recording.changed()

    async def durable(self) -> None:
        await self.recording.until_durable()

    def checkpoint_sync(self, data: object, /) -> None:
        self.update_data(data)
        self.recording.wait_until_durable()

    def end(self) -> object:
        # In this order: what is saved from now on is refused, and what was is final.
        self.closed = True
        self.final = self.saved
        self.over = True
        return self.final


class Observed(LiveAttempt):
    """One whose signals are told to observers."""

    __slots__ = ()

    def keepalive(self) -> None:
        super().keepalive()
        self.home.signalled("pinged", self.id)

    def update_data(self, data: object, /) -> None:
        super().update_data(data)
        self.home.signalled("state_saved", self.id, data)


class ObservedAttempt(Observed):
    """Without a journal."""

    __slots__ = ()


class ObservedJournaledAttempt(Observed, JournaledAttempt):
    """With both."""

    __slots__ = ()


def attempt_kind(*, observed: bool, journaled: bool) -> type[LiveAttempt]:
    """Which of them it takes."""
    if journaled:
        return ObservedJournaledAttempt if observed else JournaledAttempt
    return ObservedAttempt if observed else LiveAttempt
