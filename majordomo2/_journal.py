"""What the engine asks of a journal, and how it is to be kept."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from . import _checks

# A text of JSON, or a pickle.
Encoded: TypeAlias = str | bytes


class Record(NamedTuple):
    """What a journal knows of a task.

    Attributes:
        id: The task's name: what one record is told from another by.
        action: The qualified name of the function.
        arguments: Its arguments, encoded.
        status: One of `TaskStatus`; "unspecified" until the task has ended.
        attempts: How many attempts were started.
        state: What `update_data` saved last, encoded; None if nothing.
        data: The data of a success, encoded; of a failure a text that says why; else
            None.
        pinged: When it was last heard of, in seconds since 1970-01-01 UTC, within a
            second.
    """

    id: str
    action: str
    arguments: Encoded
    status: str
    attempts: int
    state: Encoded | None
    data: Encoded | None
    pinged: float


class Successes(NamedTuple):
    """Records of tasks that have succeeded: a sequence for each of their fields.

    Of a million records, to make them one by one would take most of the time.

    Attributes:
        last: Where the next ones are asked for.
    """

    last: int
    ids: Sequence[str]
    actions: Sequence[str]
    arguments: Sequence[Encoded]
    attempts: Sequence[int]
    states: Sequence[Encoded | None]
    data: Sequence[Encoded | None]


@runtime_checkable
class Journal(Protocol):
    """Where the records of tasks outlive the process.

    All methods may block: they are called away from the Trio run, never two at a time.
    Whatever they raise ends the instance, as tasks must not go on without their journal.
    """

    def open(self) -> None:
        """Get ready; called when the block of the instance is entered.

        Raises:
            JournalError: It can't be used.
        """
        ...

    def read(self, ids: Sequence[str], /) -> Sequence[Record | None]:
        """The record of each id, as it was written last, or None; in the same order."""
        ...

    def successes(self, prefix: str, after: int, limit: int, /) -> Successes:
        """Those whose ids begin so, in the order in which they were first written.

        Args:
            prefix: The name of a `map`, and a slash.
            after: Where to begin: 0, or the `last` of those before.
            limit: How many at most. They may be fewer, as what is large comes a few at
                a time; none mean that there are no more.
        """
        ...

    def write(self, records: Sequence[Record], /) -> None:
        """Write them all, or none, each in place of what its id had before.

        Durable when it returns. The action and the arguments of an id never change.
        """
        ...

    def close(self) -> None:
        """The block of the instance is left."""
        ...


class Journaling:
    """How an instance keeps its journal, given to `start_majordomo`.

    Args:
        delay: Seconds that a saved state may wait for others, to be written with them in
            one transaction. What somebody waits for is written at once, with all that
            has come by then. Default: 5 ms, of which a crash may cost the last ones.
        forgive: Don't count the last attempt that the journal has of a task that had not
            ended: a restart of the machine or a deploy is not the task's fault. Also one
            that had raised and waited for its restart. Default: it counts, so
            that a task which crashes its process does not do so for ever.
        afresh: Start a task from nothing if what the journal has of it no longer fits
            today's types. Default: it fails, with a `JournalError` that says where.
        pickle: Encode by pickle, which takes more than JSON does. Loading a pickle runs
            whatever its writer wanted to run: use it for files of your own alone.
            Default: JSON, by msgspec.

    Raises:
        TypeError: One is of the wrong type.
        ValueError: One is out of range.
    """

    __slots__ = ("afresh", "delay", "forgive", "pickle")

    def __init__(
        self,
        *,
        delay: float = 0.005,
        forgive: bool = False,
        afresh: bool = False,
        pickle: bool = False,
    ) -> None:
        self.delay: float = _check_delay(delay)
        self.forgive: bool = _checks.flag("forgive", forgive)
        self.afresh: bool = _checks.flag("afresh", afresh)
        self.pickle: bool = _checks.flag("pickle", pickle)
        if pickle:
            warnings.warn(
                "pickle=True: loading a pickle runs whatever code its writer put into "
                "it: open only journals that nobody else can write to",
                stacklevel=2,
            )

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in sorted(self.__slots__))
        return f"Journaling({', '.join(values)})"


LONGEST = 60  # seconds: who waits longer wants no journal


def _check_delay(value: object) -> float:
    seconds = _checks.seconds("delay", value)
    if seconds > LONGEST:
        raise ValueError(
            f"delay must be {LONGEST} seconds at the most, not {value!r}: such as 0.005"
        )
    return seconds


def check_journal(
    journal: object, journaling: object
) -> tuple[Journal, Journaling] | None:
    """`journal`: a `Journal`, or None; `journaling`: its options, or None.

    Raises:
        TypeError: One is something else.
    """
    if journaling is not None and not isinstance(journaling, Journaling):
        raise TypeError(
            f"journaling must be a Journaling, not {journaling!r}: give Journaling(...)"
        )
    if journal is None:
        if journaling is not None:
            raise TypeError(
                "journaling says how a journal is kept, and there is none: give journal= "
                "too, such as journal=SQLiteJournal('work.db')"
            )
        return None
    if isinstance(journal, type) or not isinstance(journal, Journal):
        raise TypeError(
            f"journal must be a Journal, an object with the methods open, read, "
            f"successes, write and close (majordomo2.abc.Journal), not {journal!r}: give one such as "
            f"SQLiteJournal('work.db') of majordomo2.journals"
        )
    return journal, Journaling() if journaling is None else journaling
