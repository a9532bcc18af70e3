"""The thread of an instance that reads and writes its journal, and who waits for it."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

import trio
from trio.lowlevel import Abort, RaiseCancelT, reschedule, wait_task_rescheduled

from ._attempt import BLOCKING
from ._channel import Entry, Known, Reason
from ._codec import annotated, codec_for
from ._errors import JournalError
from ._journal import Journal, Journaling, Record

# So many records are read or written at once: more make no transaction cheaper, and
# hold up who waits for the first of them.
BATCH = 1000

Waiter: TypeAlias = Callable[[JournalError | None], None]


class Pool(Protocol):
    """What the journal asks of the pool of workers."""

    waiting: int

    def fatal(self, error: BaseException, /) -> None: ...


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
        self._asked: deque[Page] = deque()
        self._changed: deque[Page] = deque()
        self._waiting: deque[Waiter] = deque()
        self._unanswered: dict[Page, None] = {}
        self._taken: list[Waiter] = []
        self._kinds: WeakKeyDictionary[object, object] = WeakKeyDictionary()

    # In the Trio run

    async def keep(self) -> None:
        """Run the thread."""
        await trio.to_thread.run_sync(self._serve, limiter=trio.CapacityLimiter(1))

    def close(self) -> None:
        """No more is to come."""
        self._inbox.put(None)

    def ask(self, page: Page) -> None:
        """What does the journal have of it?"""
        self.pool.waiting += 1
        self._unanswered[page] = None
        if self.error is None:
            self._asked.append(page)
            self._inbox.put(True)
        else:
            page.cut_off(page.entry, "cancelled")

    def forget(self, page: Page) -> None:
        """It is not to hear what the journal has."""
        if page in self._unanswered:
            del self._unanswered[page]
            self.pool.waiting -= 1

    def stop(self) -> None:
        """Cancel those that wait to hear what the journal has of them."""
        for page in list(self._unanswered):
            page.cut_off(page.entry, "cancelled")

    def _answer(self, answers: Sequence[tuple[Page, Known]]) -> None:
        for page, known in answers:
            if page in self._unanswered:
                self.forget(page)
                page.answered(known)

    def _tell(self, waiters: Sequence[Waiter], error: JournalError | None) -> None:
        for waiter in waiters:
            waiter(error)

    def _fail(self, error: JournalError) -> None:
        self.error = error
        self.pool.fatal(error)
        self.stop()
        self._tell([*self._taken, *self._waiting], error)
        self._waiting.clear()

    def when_durable(self, waiter: Waiter) -> None:
        """Call it when all that was marked before is durable, or can't be."""
        if self.error is None:
            self._waiting.append(waiter)
            self._inbox.put(True)
        else:
            waiter(self.error)

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

    # In any thread

    def mark(self, page: Page) -> None:
        """It is to be written, soon."""
        if not page.marked:
            page.marked = True
            self._changed.append(page)
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
                self._read()
                self._write()
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
        return news is not None

    def _read(self) -> None:
        while self._asked:
            asked = [self._asked.popleft() for _ in range(min(BATCH, len(self._asked)))]
            records = self._journal.read([each.entry.name for each in asked])
            answers = [
                (each, each.known(record))
                for each, record in zip(asked, records, strict=True)
            ]
            self._token.run_sync_soon(self._answer, answers)

    def _write(self) -> None:
        # Who waits had marked before: so first those who wait are taken, then the marks.
        while self._waiting:
            self._taken.append(self._waiting.popleft())
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
