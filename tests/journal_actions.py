"""Actions and types of tests with a journal, which worker processes import too."""

from __future__ import annotations

import contextlib
import contextvars
import enum
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypedDict

import msgspec
import trio

from majordomo2 import (
    TaskState,
    checkpoint,
    checkpoint_sync,
    current_task,
    update_data,
)
from majordomo2.abc import Journal, Record, Successes
from majordomo2.journals import MemoryJournal, SQLiteJournal


@dataclass
class Progress:
    """How far an action has come."""

    done: int


@dataclass
class Counted:
    """The same, with a beginning of its own."""

    done: int = 0


progress = TaskState(lambda: Progress(0))


async def counts(upto: int) -> Progress:
    """Count, and save each number."""
    now = progress.get()
    while now.done < upto:
        now = Progress(now.done + 1)
        await progress.checkpoint(now)
    return now


def counts_in_place(upto: int) -> Progress:
    """The same as a plain function."""
    now = progress.get()
    while now.done < upto:
        now = Progress(now.done + 1)
        progress.checkpoint_sync(now)
    return now


def doubled(x: int) -> int:
    """A small result."""
    return 2 * x


async def doubled_async(x: int) -> int:
    """The same, async."""
    return 2 * x


def fails(x: int) -> int:
    """It raises, having said how often it was called."""
    update_data({"attempt": current_task().attempts})
    raise ValueError(f"no {x}")


def saves_what_can_not_be_said() -> None:
    """It raises where it saves."""
    update_data({"items": [{}, {"when": object()}]})


async def waits_for(x: object) -> None:
    """It saves, and waits for ever."""
    await checkpoint(x)
    await trio.sleep_forever()


def saves_in_place(x: object) -> None:
    """It saves, and returns."""
    checkpoint_sync(x)


def saves_from_two_threads(upto: int) -> int:
    """It counts, and every other number is waited for; one at a time saves."""
    turn = [threading.Semaphore(1), threading.Semaphore(0)]

    def save(first: int) -> None:
        for number in range(first, upto + 1, 2):
            turn[number % 2].acquire()
            if number % 2:
                update_data(number)
                turn[0].release()
            else:
                # The other goes on as soon as this one is on its way.
                waits = threading.Thread(
                    target=contextvars.copy_context().run,
                    args=(checkpoint_sync, number),
                )
                waits.start()
                waits.join(0.001)
                turn[1].release()
                waits.join()

    other = threading.Thread(target=contextvars.copy_context().run, args=(save, 1))
    other.start()
    save(0)
    other.join()
    return upto


class Colour(enum.Enum):
    """Something to be recorded."""

    RED = "red"


class Row(TypedDict):
    """Something to be recorded."""

    when: datetime
    path: Path


class Point(NamedTuple):
    """Something to be recorded."""

    x: int
    y: int


class Struct(msgspec.Struct):
    """Something to be recorded."""

    rows: list[Row]
    colour: Colour
    raw: bytes = b"\0\xff"


@dataclass
class Everything:
    """All of it."""

    struct: Struct
    points: list[Point] = field(default_factory=list["Point"])
    names: frozenset[str] = frozenset()
    maybe: int | None = None


class OwnJournal:
    """A journal that a user might write: a list of all that was ever written."""

    def __init__(self) -> None:
        self.written: list[Record] = []

    def open(self) -> None:
        """It is always open."""

    def read(self, ids: Sequence[str], /) -> list[Record | None]:
        latest = {record.id: record for record in self.written}
        return [latest.get(id) for id in ids]

    def successes(self, prefix: str, after: int, limit: int, /) -> Successes:
        latest = list({record.id: record for record in self.written}.values())
        found = [
            (number, record)
            for number, record in enumerate(latest, 1)
            if number > after
            and record.status == "success"
            and record.id.startswith(prefix)
        ][:limit]
        last = found[-1][0] if found else after
        columns = list(zip(*(record for _, record in found), strict=True))
        if not columns:
            return Successes(last, (), (), (), (), (), ())
        ids, actions, arguments, _, attempts, states, data, _ = columns
        return Successes(last, ids, actions, arguments, attempts, states, data)

    def write(self, records: Sequence[Record], /) -> None:
        self.written += records

    def close(self) -> None:
        """What was written stays."""


class Mortal:
    """A journal whose process dies: from then on nothing is written any more.

    Attributes:
        inner: The journal.
        wrote: Called with each batch, after it was written.
    """

    def __init__(self, inner: Journal) -> None:
        self.inner = inner
        self.batches: list[Sequence[Record]] = []
        self.reads: list[Sequence[str]] = []
        self.wrote: Callable[[Sequence[Record]], None] = lambda _: None
        self.before: Callable[[Sequence[Record]], None] = lambda _: None
        self._dead = False

    def die(self) -> None:
        self._dead = True

    def open(self) -> None:
        self.inner.open()

    def read(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        self.reads.append(ids)
        return self.inner.read(ids)

    def successes(self, prefix: str, after: int, limit: int, /) -> Successes:
        return self.inner.successes(prefix, after, limit)

    def write(self, records: Sequence[Record], /) -> None:
        self.before(records)
        if not self._dead:
            self.inner.write(records)
            self.batches.append(records)
            self.wrote(records)

    def close(self) -> None:
        self.inner.close()


@contextlib.contextmanager
def opened(path: str | Path) -> Generator[SQLiteJournal]:
    """The journal in a file, without an instance."""
    journal = SQLiteJournal(path)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


KINDS: dict[str, Callable[[Path], Journal]] = {
    "sqlite": lambda folder: SQLiteJournal(folder / "work.db"),
    "memory": lambda _: MemoryJournal(),
    "own": lambda _: OwnJournal(),
}

# A process that imports this module says so by the name that it has there.
HERE = sys.modules[__name__]
