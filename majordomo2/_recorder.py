"""The thread of an instance that reads and writes its journal, and who waits for it."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

import trio
from trio.lowlevel import Abort, RaiseCancelT, reschedule, wait_task_rescheduled

from ._annotations import annotated
from ._attempt import BLOCKING
from ._channel import Entry, Known, Reason
from ._codec import codec_for
from ._errors import JournalError
from ._journal import Journal, Journaling, Record
from ._task import UNSAVED

# So many records are read or written at once: more make no transaction cheaper, and
# hold up who waits for the first of them.
BATCH = 1000

# Of a task that can't be looked up any more.
LOST = Known(ending=("cancelled", UNSAVED), recorded=True)

Waiter: TypeAlias = Callable[[JournalError | None], None]


class Pool(Protocol):
    """What the journal asks of the pool of workers."""

    waiting: int

    @property
    def limits_restarts(self) -> bool: ...
    def fatal(self, error: BaseException, /) -> None: ...
    def reserve(self) -> bool: ...
    def reserved_no_more(self) -> None: ...
    def fill(self) -> None: ...


class Page(Protocol):
    """What is recorded of one task, as the thread sees it.

    Attributes:
        entry: The task.
        marked: It is to be written.
    """

    entry: Entry
    marked: bool

    def known(self, record: Record | None, /) -> Known: ...
    def answered(self, known: Known, /) -> None: ...
    def record(self) -> Record: ...
    def cut_off(self, entry: Entry, reason: Reason, /) -> None: ...


class Recorder:
    """Reads and writes the journal in a thread of its own.

    What changes is only marked: the thread then takes the record as it stands, once,
    however often it had changed. Whoever waits is told when a transaction that began
    after the mark is done.

    Attributes:
        error: Why the journal can't be used any more, if it can't.
    """

    def __init__(self, journal: Journal, options: Journaling, pool: Pool) -> None:
        self.options = options
        self.codec = codec_for(pickled=options.pickle)
        self.pool = pool
        self.error: JournalError | None = None
        self._journal = journal
        self._token = trio.lowlevel.current_trio_token()
        # True: somebody waits. False: it has time. None: there will be no more.
        self._inbox: queue.SimpleQueue[bool | None] = queue.SimpleQueue()
        self._called = False  # it has been told, and has not looked yet
        self._asked: deque[Page] = deque()
        self._changed: deque[Page] = deque()
        self._waiting: deque[Waiter] = deque()
        self._jobs: deque[Callable[[Journal], None]] = deque()
        self._unanswered: dict[Page, None] = {}
        self._taken: list[Waiter] = []
        self._kinds: WeakKeyDictionary[object, object] = WeakKeyDictionary()

    # In the Trio run

    async def keep(self) -> None:
        """Run the thread."""
        await trio.to_thread.run_sync(self._serve, limiter=trio.CapacityLimiter(1))
        if self.error is None:  # there may be an abandoned thread that waits
            self._give_up(JournalError("the journal is closed: its instance has ended"))

    def close(self) -> None:
        """No more is to come."""
        self._inbox.put(None)

    def ask(self, page: Page) -> None:
        """What does the journal have of it?"""
        self.pool.waiting += 1
        self._unanswered[page] = None
        self._asked.append(page)
        self._call()
        if self.error is not None:
            self._give_up(self.error)

    def stop(self) -> None:
        """Cancel those that wait to hear what the journal has of them."""
        for page in list(self._unanswered):
            page.cut_off(page.entry, "cancelled")

    def _answer(self, answers: Sequence[tuple[Page, Known]]) -> None:
        for page, known in answers:
            if page in self._unanswered:
                del self._unanswered[page]
                self.pool.waiting -= 1
                page.answered(known)

    def _tell(self, waiters: Iterable[Waiter], error: JournalError | None) -> None:
        for waiter in waiters:
            waiter(error)

    def _fail(self, error: JournalError) -> None:
        self.pool.fatal(error)
        self._give_up(error)

    def _give_up(self, error: JournalError) -> None:
        """Nobody is to wait for the journal any more."""
        self.error = error
        self._answer([(page, LOST) for page in self._unanswered])
        waiting = [*self._taken, *self._waiting]
        self._waiting.clear()
        self._tell(waiting, error)

    def when_durable(self, waiter: Waiter) -> None:
        """Call it when all that was marked before is durable, or can't be."""
        if self.error is None:
            self._waiting.append(waiter)
            self._call()
        else:
            waiter(self.error)

    def _call(self) -> None:
        # To wake the thread anew for each would take longer than what it is woken for.
        if not self._called:
            self._called = True
            self._inbox.put(True)

    async def until_durable(self) -> None:
        """Wait for it.

        Raises:
            JournalError: It can't be.
        """
        task = trio.lowlevel.current_task()
        waits = True
        failed = self.error

        def durable(error: JournalError | None) -> None:
            nonlocal failed
            failed = error
            if waits:
                reschedule(task)

        def abort(_: RaiseCancelT) -> Abort:
            nonlocal waits
            waits = False
            return Abort.SUCCEEDED

        if failed is None:
            self.when_durable(durable)
            await wait_task_rescheduled(abort)
        if failed is not None:
            raise failed

    def do(self, job: Callable[[Journal], None]) -> None:
        """Call it in the thread of the journal, before who waits from now on is told."""
        self._jobs.append(job)
        self._call()

    # In any thread

    def mark(self, page: Page) -> None:
        """It is to be written, soon."""
        if not page.marked:
            page.marked = True
            self._changed.append(page)
            if not self._called:
                self._inbox.put(False)

    def wait_until_durable(self) -> None:
        """Block until all that was marked before is durable.

        Raises:
            RuntimeError: Called in the Trio run.
            JournalError: It can't be.
        """
        if trio.lowlevel.in_trio_run():
            raise RuntimeError(BLOCKING)
        answer: queue.SimpleQueue[JournalError | None] = queue.SimpleQueue()
        self._token.run_sync_soon(self.when_durable, answer.put)
        error = answer.get()
        if error is not None:
            raise error

    def annotated(self, action: Callable[..., object]) -> object:
        """The type that an action is annotated to return; asked once for each."""
        try:
            kind = self._kinds.get(action)
        except TypeError:  # it has no weak references
            return annotated(action)
        if kind is None:
            kind = self._kinds[action] = annotated(action)
        return kind

    # In the thread of the journal

    def _serve(self) -> None:
        try:
            more = True
            while more:
                more = self._until_news()
                answers = self._read()
                self._write()  # what is told to start is durable first
                if answers:
                    self._token.run_sync_soon(self._answer, answers)
        except BaseException as error:
            self._token.run_sync_soon(self._fail, _told(error))

    def _until_news(self) -> bool:
        """Wait for something to do, and a little longer if nobody waits for it."""
        news = self._inbox.get()
        if news is False and self.options.delay:
            late = time.monotonic() + self.options.delay
            while news is False:
                try:
                    news = self._inbox.get(timeout=max(0.0, late - time.monotonic()))
                except queue.Empty:
                    break
        while news is not None and not self._inbox.empty():
            news = self._inbox.get()
        self._called = False  # from here on, who comes may have come too late
        return news is not None

    def _read(self) -> list[tuple[Page, Known]]:
        asked = [self._asked.popleft() for _ in range(min(BATCH, len(self._asked)))]
        if not asked:
            return []
        if self._asked:  # the rest in the next turn
            self._inbox.put(True)
        records = self._journal.read([page.entry.name for page in asked])
        return [
            (page, page.known(record))
            for page, record in zip(asked, records, strict=True)
        ]

    def _write(self) -> None:
        # Who waits had marked, or asked for a job, before: so first those who wait are
        # taken, then the jobs and the marks.
        while self._waiting:
            self._taken.append(self._waiting.popleft())
        while self._jobs:
            self._jobs.popleft()(self._journal)
        records: list[Record] = []
        while self._changed:
            page = self._changed.popleft()
            page.marked = False
            records.append(page.record())
        for first in range(0, len(records), BATCH):
            self._journal.write(records[first : first + BATCH])
        if self._taken:
            taken, self._taken = self._taken, []
            self._token.run_sync_soon(self._tell, taken, None)


def _told(error: BaseException) -> JournalError:
    if isinstance(error, JournalError):
        return error
    told = JournalError(f"the journal failed, and with it the instance: {error!r}")
    told.__cause__ = error
    return told
