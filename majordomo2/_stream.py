"""`map`: a task for each item of a source, read only as far as there is room."""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

import trio
from trio.lowlevel import Abort, RaiseCancelT, reschedule, wait_task_rescheduled

from . import _checks, _log as log
from ._adder import Adder
from ._attempt import LiveAttempt
from ._channel import Entry
from ._errors import MajordomoStopped
from ._instance import Instance
from ._signals import running
from ._task import Task

if TYPE_CHECKING:
    from ._past import Past

Source: TypeAlias = Iterable[object] | AsyncIterable[object]

# Results not yet taken, for each worker: what it works on, and what waits for it.
PER_WORKER = 2
# The same where the number of workers has no limit.
UNLIMITED = 100
# Items read in one turn of the event loop: with room for any number, a source that never
# ends would hold it up for ever.
AT_ONCE = 100


def check_source(source: object) -> Source:
    """An iterable or async iterable of arguments.

    Raises:
        TypeError: It is neither, or a string.
    """
    if isinstance(source, str | bytes | bytearray):
        raise TypeError(
            f"source must be an iterable of arguments, not the single "
            f"{type(source).__name__} {source!r}: write [{source!r}] for one argument"
        )
    if isinstance(source, Iterable | AsyncIterable):
        return cast("Source", source)
    if inspect.iscoroutine(source):
        source.close()
    raise TypeError(
        f"source must be an iterable or async iterable of arguments, not {source!r}: "
        f"write [{source!r}] for one argument"
    )


def check_key(key: object) -> Callable[[object], object] | None:
    """A plain function that names an item, or None.

    Raises:
        TypeError: It is something else.
    """
    if key is None:
        return None
    _checks.function("key", key, "map(f, source, id=..., key={})")
    function = cast("Callable[[object], object]", key)
    if _checks.is_async(function):
        raise TypeError(
            f"key must be a plain function, not the async function {key!r}: give one that "
            f"names an item without waiting"
        )
    return function


def default_room(max_workers: float) -> int:
    """How many results may be in flight, or not yet taken."""
    return UNLIMITED if math.isinf(max_workers) else PER_WORKER * int(max_workers)


class Ready:
    """A result that the journal had, in its place among the others."""

    __slots__ = ("ending",)

    def __init__(self, task: Task[object]) -> None:
        self.ending = task


class Stream(AsyncIterator[object]):
    """The results, as they are asked for.

    A plain source is read when the consumer asks for a result, and only then is a task
    added in the room that this makes: so a slow consumer holds the source back. An async
    source is read by a Trio task of its own, within the same room.
    """

    def __init__(
        self,
        instance: Instance,
        adder: Adder,
        source: Source,
        room: float,
        *,
        ordered: bool,
    ) -> None:
        self._instance = instance
        self._add, self._names = adder.add, adder.names
        self._past = adder.past
        self._room = room
        self._ordered = ordered
        # Started, or recalled, and not yet taken; in order.
        self._taken_from: dict[Entry | Ready, None] = {}
        self._ended: deque[Entry | Ready] = deque()
        self._ready: deque[Task[object] | None] = deque()  # recalled, before all others
        self._exhausted = False
        self._error: Exception | None = None
        self._consumer: trio.lowlevel.Task | None = None
        self._feeder: trio.lowlevel.Task | None = None
        self._feeding = trio.CancelScope()
        self._fed = trio.Event()
        self._busy = False
        self._attempt: LiveAttempt | None = None
        self._ended_by_itself = False  # the source
        self._closing = False
        self._close_error: Exception | None = (
            None  # raised by the source, when cancelled
        )
        self._plain: Iterator[object] | None = None
        self._source: object
        if isinstance(source, AsyncIterable):
            feed = aiter(source)
            self._source = feed
            instance.streams.add(self)
            instance.nursery.start_soon(self._feed, feed)
        else:
            self._source = self._plain = iter(source)
            self._fed.set()

    async def __anext__(self) -> object:
        if self._ready:
            return self._ready.popleft()
        if self._busy:
            raise trio.BusyResourceError("another Trio task goes through these results")
        self._busy = True
        attempt = running.get()
        self._attempt = attempt if isinstance(attempt, LiveAttempt) else None
        try:
            return await self._next()
        finally:
            self._busy = False

    async def _next(self) -> object:
        while True:
            past = self._past
            if past is not None and self._plain is not None and not self._taken_from:
                await self._recall(past, self._plain)
                if self._ready:
                    return self._ready.popleft()
                continue
            more = self._plain is not None and self._read(self._plain)
            entry = self._next_entry()
            if isinstance(entry, Ready):
                self._take(entry)
                return entry.ending
            if more and (entry is None or entry.ending is None):
                await self._wait(trio.lowlevel.checkpoint)
            elif entry is not None:
                task = await entry.receive_or(self._given_up)
                self._take(entry)
                return task
            elif self._exhausted and not self._taken_from:
                await trio.lowlevel.checkpoint()
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            else:
                await self._wait(self._until_news)

    def _next_entry(self) -> Entry | Ready | None:
        if self._ordered:
            return next(iter(self._taken_from), None)
        return self._ended[0] if self._ended else None

    def _take(self, entry: Entry | Ready) -> None:
        del self._taken_from[entry]
        if not self._ordered:
            self._ended.remove(entry)
        if self._feeder is not None:
            feeder, self._feeder = self._feeder, None
            reschedule(feeder)

    def _read(self, source: Iterator[object]) -> bool:
        """Start tasks while there is room; True: there may be more than one turn of the
        event loop should be held up for.
        """
        for _ in range(AT_ONCE):
            if not self._has_room():
                return False
            try:
                self._instance.check_open("map")
                item = self._next_item(source)
                if not self._exhausted:
                    self._instance.check_open("map")  # the source may have stopped it
                    if self._names is None:  # nearly all have none, and each is read
                        self._start(item, "")
                    else:
                        self._take_one(item)
            except Exception as error:
                self._exhausted = True
                self._error = _told(error)
        return self._has_room()

    def _has_room(self) -> bool:
        return not self._exhausted and len(self._taken_from) < self._room

    def _next_item(self, source: Iterator[object]) -> object:
        try:
            return next(source)
        except StopIteration:
            self._exhausted = self._ended_by_itself = True
            return None
        except BaseException:
            self._ended_by_itself = True
            raise

    async def _recall(self, past: Past, source: Iterator[object]) -> None:
        """Take what the journal has of the next items, and start the others."""
        if past.is_short:
            await self._wait(past.read_more)
        elif self._exhausted or past.is_over:
            self._past = None
        else:
            await trio.lowlevel.checkpoint()
            self._read_many(source)

    def _read_many(self, source: Iterator[object]) -> None:
        items: list[object] = []
        room = int(min(self._room, AT_ONCE))
        try:
            self._instance.check_open("map")
            try:
                items.extend(islice(source, room))
                self._exhausted = len(items) < room
            finally:  # what was read before the source raised
                self._ended_by_itself = len(items) < room
                if items:
                    self._instance.check_open("map")
                    self._take_in(items)
        except Exception as error:
            self._exhausted = True
            self._error = _told(error)

    def _take_one(self, item: object) -> None:
        """Take what the journal has of it, or start it."""
        if self._names is None:
            self._start(item, "")
            return
        (id,) = self._names([item])
        if self._past is not None:
            self._past.refill()
            number, found = self._found([id], [item])
            if number:
                self._put(found[0])
                return
        self._start(item, id)

    def _found(
        self, ids: list[str], items: list[object]
    ) -> tuple[int, list[Task[object] | None]]:
        """How many of them the journal has, and what."""
        if self._past is None or self._instance.names.has_any(ids):
            return 0, [None] * len(ids)
        number, found = self._past.found(ids, items)
        self._instance.recalled(number)
        if self._past.is_over:
            self._past = None
        return number, found

    def _put(self, task: Task[object] | None) -> None:
        """A result in its place among those that are still to come."""
        assert task is not None
        ready = Ready(task)
        self._taken_from[ready] = None
        if not self._ordered:
            self._ended.append(ready)

    def _take_in(self, items: list[object]) -> None:
        """Take what the journal has of them, and start the others."""
        assert self._names is not None  # those of a journal have names
        try:
            ids = self._names(items)
        except Exception:  # a key that raises: those before it are as good as ever
            for item in items:
                self._start(item, *self._names([item]))
            raise
        number, found = self._found(ids, items)
        if number == len(found):
            self._ready.extend(found)
            return
        for item, id, task in zip(items, ids, found, strict=True):
            if task is None:
                self._start(item, id)
            else:
                self._put(task)

    def _start(self, item: object, id: str) -> None:
        entry = self._add(item, id)
        self._taken_from[entry] = None
        if not self._ordered:
            if entry.ending is None:
                entry.parent = self
            else:  # rejected
                self._ended.append(entry)

    def part_finished(self, part: Entry, /) -> None:
        self._ended.append(part)
        self._wake_consumer()

    async def _feed(self, source: AsyncIterator[object]) -> None:
        try:
            with self._feeding:
                while True:
                    while len(self._taken_from) >= self._room:
                        await self._until_room()
                    while self._past is not None and self._past.is_short:
                        await self._past.read_more()
                    self._instance.check_open("map")
                    item = await anext(source)
                    if self._feeding.cancel_called:
                        return
                    self._take_one(item)
                    self._wake_consumer()
        except StopAsyncIteration:
            self._ended_by_itself = True
        except Exception as error:
            self._ended_by_itself = not isinstance(error, MajordomoStopped)
            if self._closing:
                self._close_error = error
            else:
                self._error = _told(error)
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._instance.fatal(error)
        finally:
            self._exhausted = True
            self._fed.set()
            self._wake_consumer()

    def refuse(self, why: Exception, /) -> None:
        """The instance takes no more: the source may be stuck for ever."""
        if not self._exhausted:
            self._error = self._error or why
            self._feeding.cancel()

    async def _until_room(self) -> None:
        self._feeder = trio.lowlevel.current_task()

        def abort(_: RaiseCancelT) -> Abort:
            self._feeder = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    async def _wait(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait without the slot, if it is an action of the instance that waits."""
        attempt = self._attempt
        entry = next(iter(self._taken_from), None)
        if (
            not isinstance(entry, Entry)
            or attempt is None
            or attempt.over
            or attempt.home is not entry.home
        ):
            await wait()
        else:
            await attempt.lender.lend_while(attempt, entry, wait)

    async def _until_news(self) -> None:
        """There is something to take, or nothing more to come."""
        self._consumer = trio.lowlevel.current_task()

        def abort(_: RaiseCancelT) -> Abort:
            self._consumer = None
            self._given_up()
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def _given_up(self) -> None:
        """The consumer waits no longer. If it is an action of the instance, it goes on
        only with its slot, which one of these may have for ever.
        """
        attempt = self._attempt
        if attempt is not None and attempt.home is self._instance:
            for entry in self._entries():
                entry.give_up()

    def _entries(self) -> list[Entry]:
        return [entry for entry in self._taken_from if isinstance(entry, Entry)]

    def _wake_consumer(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            reschedule(consumer)

    async def close(self) -> None:
        """Cancel what is in flight, and close the source."""
        self._exhausted = self._closing = True  # nothing is started from now on
        self._instance.streams.discard(self)
        self._feeding.cancel()
        for entry in self._entries():
            entry.cancel()
        with trio.CancelScope(shield=True):
            await self._fed.wait()
            for entry in self._entries():
                await entry.receive()
                if entry.ending is not None and entry.ending.status in (
                    "failure",
                    "timeout",
                ):
                    log.unreceived(entry.ending)
        self._wake_consumer()
        if not self._ended_by_itself:
            await self._close_source()
        if self._close_error is not None:
            raise self._close_error

    async def _close_source(self) -> None:
        aclose = getattr(self._source, "aclose", None)
        close = getattr(self._source, "close", None)
        if aclose is not None:
            await aclose()
        elif close is not None:
            close()


def _told(error: Exception) -> Exception:
    """The error as it is, but for what an async iterator can't raise as one."""
    if not isinstance(error, StopAsyncIteration):
        return error
    told = RuntimeError("the source raised StopAsyncIteration")
    told.__cause__ = error
    return told


class Mapping(AbstractAsyncContextManager[Stream, None]):
    """The `async with` block of a `map`."""

    def __init__(
        self, make: Callable[[], Stream], check_open: Callable[[str], None]
    ) -> None:
        self._make = make
        self._check_open = check_open

    def __aiter__(self) -> NoReturn:
        raise TypeError(
            "map() is a block: write async with jarvis.map(...) as results: async for "
            "task in results: ..."
        )

    async def __aenter__(self) -> Stream:
        if hasattr(self, "_stream"):
            raise RuntimeError(
                "this map() was entered before: each block needs a map() of its own"
            )
        self._check_open("map")
        self._stream = self._make()
        return self._stream

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stream.close()
