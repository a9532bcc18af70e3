"""What is wrong with a life of crash_program.py: judged by its log and its journal.

A life is all that happens in one folder, in many runs of the program, of which all but the
last are cut off. Between two runs nobody writes to the journal: so what the next run does
follows exactly from what the journal holds then.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from crash_program import Event, Plan
from majordomo2.abc import Record
from majordomo2.journals import SQLiteJournal

# What the journal holds after a run, by id.
Kept = Mapping[str, Record]


def read_journal(path: Path, ids: Iterable[str]) -> dict[str, Record]:
    """What a journal holds that nobody has open; of a copy, as reading it changes it.

    Raises:
        AssertionError: It is no sound database.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        for suffix in ("", "-wal", "-journal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copy(part, copy.with_name(copy.name + suffix))
        check_integrity(copy)
        journal = SQLiteJournal(copy)
        journal.open()
        try:
            found = journal.read(list(ids))
        finally:
            journal.close()
    return {record.id: record for record in found if record is not None}


def check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        answer = file.execute("PRAGMA integrity_check").fetchall()
    assert answer == [("ok",)], answer


def violations(
    plan: Mapping[str, Plan], log: Iterable[Event], kept: Mapping[int, Kept]
) -> list[str]:
    """Each broken promise.

    Args:
        plan: What is to become of each task.
        log: All events, in order.
        kept: What the journal held after each run.
    """
    tasks = {id: Watched(id, planned) for id, planned in plan.items()}
    events: defaultdict[int, list[Event]] = defaultdict(list)
    for event in log:
        events[event.run].append(event)
    found: list[str] = []
    for run in sorted({*events, *kept}):
        for event in events[run]:
            found += [f"run {run}: {said}" for said in tasks[event.id].sees(event)]
            if event.kind == "received" and event.status == "success":
                for part in plan[event.id].parts:
                    tasks[part].has_succeeded = True
        if run in kept:
            for id, task in tasks.items():
                wrong = task.is_kept(kept[run].get(id))
                found += [f"after run {run}: {said}" for said in wrong]
    return found


def missing(plan: Mapping[str, Plan], log: Iterable[Event]) -> list[str]:
    """Each task whose result was to arrive and has not."""
    delivered = {event.id for event in log if event.kind == "delivered"}
    parts = {part for planned in plan.values() for part in planned.parts}
    return [f"{id}: its result never arrived" for id in plan.keys() - parts - delivered]


class Watched:
    """A task, and what is known of it at this point of the log.

    Attributes:
        has_succeeded: A result that says so was received.
    """

    def __init__(self, id: str, plan: Plan) -> None:
        self.has_succeeded = False
        self._id = id
        self._plan = plan
        self._attempts = 0  # as counted so far
        self._done = 0  # that no later state may fall short of
        self._recalled: int | None = 0  # the state that the next start must have
        self._is_final = False  # by the journal, it may not start
        self._was_received: dict[object, None] = {}
        self._was_delivered = 0

    def sees(self, event: Event) -> Iterator[str]:
        judges = {
            "started": self._started,
            "durable": self._durable,
            "received": self._received,
            "delivered": self._delivered,
        }
        for said in judges[event.kind](event):
            yield f"{self._id}: {said}"

    def _started(self, event: Event) -> Iterator[str]:
        attempt, done = event.attempt, event.done
        if self.has_succeeded:
            yield f"attempt {attempt} started, though its success was delivered"
        if self._is_final:
            yield f"attempt {attempt} started, though the journal has its end"
        counted = self._attempts + 1
        if attempt < counted or (attempt > counted and self._plan.is_counted):
            yield f"attempt {attempt} started, where {counted} was due"
        if attempt > self._plan.retries + 1:
            yield f"attempt {attempt} started, with retries={self._plan.retries}"
        if done < self._done:
            yield f"attempt {attempt} started from {done}, though {self._done} was durable"
        if self._recalled not in (None, done):
            yield (
                f"attempt {attempt} started from {done}, and the journal had "
                f"{self._recalled}"
            )
        self._attempts = attempt
        self._done = max(done, self._done)
        self._recalled = None

    def _durable(self, event: Event) -> Iterator[str]:
        if event.attempt != self._attempts:
            yield f"attempt {event.attempt} went on, during attempt {self._attempts}"
        if event.done <= self._done:
            yield f"{event.done} was done again, though {self._done} was durable"
        self._done = max(event.done, self._done)

    def _received(self, event: Event) -> Iterator[str]:
        if event.status == "success":
            if event.data != self._plan.data:
                yield f"succeeded with {event.data!r}, and not {self._plan.data!r}"
            if event.attempt != self._attempts and not self._plan.parts:
                yield f"succeeded in attempt {event.attempt}, and not {self._attempts}"
            self.has_succeeded = True
        else:
            if self.has_succeeded:
                yield f"{event.status}, though its success was delivered"
            yield from self._failed(event)
            self._is_final = True  # in this run
        self._was_received[_result(event)] = None

    def _failed(self, event: Event) -> Iterator[str]:
        allowed = dict(self._plan.failures)
        least = allowed.get(str(event.data), math.inf)
        if event.status != "failure" or self._attempts < least:
            yield (
                f"{event.status} with {event.data!r} after {self._attempts} attempts, "
                f"with retries={self._plan.retries}"
            )

    def _delivered(self, event: Event) -> Iterator[str]:
        self._was_delivered += 1
        if self._was_delivered > 1:
            yield "its result arrived again"
        if _result(event) not in self._was_received:
            yield "what is noted is not what was received"

    # Between two runs

    def is_kept(self, record: Record | None) -> Iterator[str]:
        """Does the journal hold what it must? The next run goes by what it holds."""
        for said in self._judged(record):
            yield f"{self._id}: the journal {said}"
        self._is_final = record is not None and record.status == "success"
        goes_on = record is not None and record.status in ("unspecified", "success")
        self._attempts = record.attempts if record is not None and goes_on else 0
        self._recalled = _done(record)
        self._done = max(self._done, self._recalled)

    def _judged(self, record: Record | None) -> Iterator[str]:
        status = "unspecified" if record is None else record.status
        attempts = 0 if record is None else record.attempts
        data = None if record is None else record.data
        if _done(record) < self._done:
            yield f"is at {_done(record)}, though {self._done} was durable"
        if self.has_succeeded and status != "success":
            yield f"has it as {status}, though its success was delivered"
        if self._plan.parts:
            return
        if attempts < self._attempts:
            yield f"has {attempts} attempts, and {self._attempts} were started"
        if attempts > self._plan.retries + 1:
            yield f"has {attempts} attempts, with retries={self._plan.retries}"
        if status == "success" and (
            data is None or json.loads(data) != self._plan.data
        ):
            yield f"has the data {data!r}, and not {self._plan.data!r}"


def _result(event: Event) -> tuple[str, str]:
    return event.status, json.dumps(event.data)


def _done(record: Record | None) -> int:
    if record is None or record.state is None:
        return 0
    state = json.loads(record.state)
    assert state["total"] == state["done"] * (state["done"] + 1) // 2, state
    return int(state["done"])
