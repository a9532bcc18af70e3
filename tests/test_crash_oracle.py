"""What judges a life of crash_program.py finds each broken promise (SPEC 10.2, 10.3)."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from crash_oracle import Kept, missing, read_journal, violations
from crash_program import Event, Kind, Plan
from majordomo2.abc import Record
from majordomo2.journals import SQLiteJournal

FRAGILE = {"a": Plan(3, retries=1, failures=(("WorkerDied", 2),))}


def started(run: int, attempt: int, done: int = 0) -> Event:
    return Event(run, "started", "a", attempt, done)


def durable(run: int, attempt: int, done: int) -> Event:
    return Event(run, "durable", "a", attempt, done)


def ended(
    run: int, kind: Kind, attempt: int, status: str = "success", data: object = 3
) -> Event:
    return Event(run, kind, "a", attempt, 0, status, data)


def kept(attempts: int, done: int, status: str = "unspecified", data: int = 3) -> Kept:
    state = json.dumps({"done": done, "total": done * (done + 1) // 2})
    said = str(data) if status == "success" else None
    return {"a": Record("a", "f", "[]", status, attempts, state, said, 0.0)}


SOUND = [
    started(1, 1),
    durable(1, 1, 2),
    started(2, 2, 2),
    ended(2, "received", 2),
    ended(3, "received", 2),
    ended(3, "delivered", 2),
]
SOUNDLY_KEPT: dict[int, Kept] = {
    1: kept(1, 2),
    2: kept(2, 2, "success"),
    3: kept(2, 2, "success"),
}


def test_nothing_is_wrong() -> None:
    """A life in which each promise is kept."""
    assert not violations(FRAGILE, SOUND, SOUNDLY_KEPT)
    assert not missing(FRAGILE, SOUND)


def test_a_failure_may_run_again() -> None:
    """With fresh retries, and from its last state (SPEC 10.2)."""
    log = [
        *[started(1, 1), started(2, 2, 1)],
        *[ended(3, "received", 2, "failure", "WorkerDied"), started(4, 1, 1)],
    ]
    journals = {1: kept(1, 1), 2: kept(2, 1), 3: kept(2, 1, "failure")}
    assert not violations(FRAGILE, log, journals)


@pytest.mark.parametrize(
    ("log", "journals", "said"),
    [
        (
            [*SOUND, started(3, 3, 2)],
            SOUNDLY_KEPT,
            "attempt 3 started, though its success was delivered",
        ),
        (
            [started(1, 1), started(2, 2)],
            {1: kept(1, 0, "success")},
            "attempt 2 started, though the journal has its end",
        ),
        (
            [started(1, 1), durable(1, 1, 2), started(2, 2)],
            {1: kept(1, 2)},
            "attempt 2 started from 0, though 2 was durable",
        ),
        (
            [started(1, 1), durable(1, 1, 2), started(1, 2)],
            {},
            "attempt 2 started from 0, though 2 was durable",
        ),
        (
            [started(1, 1), started(2, 2)],
            {1: kept(1, 2)},
            "attempt 2 started from 0, and the journal had 2",
        ),
        (
            [started(1, 1), durable(1, 1, 2)],
            {1: kept(1, 0)},
            "the journal is at 0, though 2 was durable",
        ),
        (
            [started(1, 1), durable(1, 1, 2), durable(1, 1, 2)],
            {},
            "2 was done again, though 2 was durable",
        ),
        (
            [started(1, 1), started(2, 2), started(3, 3)],
            {1: kept(1, 0), 2: kept(2, 0)},
            "attempt 3 started, with retries=1",
        ),
        (
            [started(1, 1), started(2, 1)],
            {1: kept(1, 0)},
            "attempt 1 started, where 2 was due",
        ),
        (
            [started(1, 2)],
            {},
            "attempt 2 started, where 1 was due",
        ),
        (
            [started(1, 1), started(1, 2), durable(1, 1, 1)],
            {},
            "attempt 1 went on, during attempt 2",
        ),
        (
            [started(1, 1)],
            {1: {}},
            "the journal has 0 attempts, and 1 were started",
        ),
        (
            [],
            {1: kept(3, 0)},
            "the journal has 3 attempts, with retries=1",
        ),
        (
            SOUND,
            {**SOUNDLY_KEPT, 2: kept(2, 2)},
            "the journal has it as unspecified, though its success was delivered",
        ),
        (
            [],
            {1: kept(1, 0, "success", 4)},
            "the journal has the data '4', and not 3",
        ),
        (
            [started(1, 1), ended(1, "received", 1, data=4)],
            {},
            "succeeded with 4, and not 3",
        ),
        (
            [started(1, 1), ended(1, "received", 2)],
            {},
            "succeeded in attempt 2, and not 1",
        ),
        (
            [started(1, 1), ended(1, "received", 1, "failure", "WorkerDied")],
            {},
            "failure with 'WorkerDied' after 1 attempts, with retries=1",
        ),
        (
            [started(1, 1), ended(1, "received", 1, "timeout", None)],
            {},
            "timeout with None after 1 attempts, with retries=1",
        ),
        (
            [*SOUND, ended(3, "received", 2, "failure", "WorkerDied")],
            SOUNDLY_KEPT,
            "failure, though its success was delivered",
        ),
        (
            [*SOUND, ended(3, "delivered", 2)],
            SOUNDLY_KEPT,
            "its result arrived again",
        ),
        (
            [started(1, 1), ended(1, "delivered", 1)],
            {},
            "what is noted is not what was received",
        ),
    ],
)
def test_a_broken_promise_is_found(
    log: list[Event], journals: dict[int, Kept], said: str
) -> None:
    """Whatever it is."""
    found = violations(FRAGILE, log, journals)
    assert any(said in violation for violation in found), found


def test_a_result_that_never_arrives_is_found() -> None:
    """Received is not delivered."""
    assert missing(FRAGILE, SOUND[:-1]) == ["a: its result never arrived"]


def test_a_success_of_a_parent_counts_for_its_subtasks() -> None:
    """They are not delivered one by one."""
    plan = {"p": Plan([1], parts=("p/0",)), "p/0": Plan(1)}
    log = [
        Event(1, "started", "p/0", 1),
        Event(1, "received", "p", 1, status="success", data=[1]),
        Event(1, "started", "p/0", 2),
    ]
    (found,) = violations(plan, log, {})
    assert "p/0: attempt 2 started, though its success was delivered" in found


def test_a_spoilt_journal_is_found(tmp_path: Path) -> None:
    """Whether it is sound is looked at after each run."""
    path = tmp_path / "work.db"
    journal = SQLiteJournal(path)
    journal.open()
    journal.write(
        [
            Record(f"task-{n}", "f", "[]", "success", 1, None, "1", 0.0)
            for n in range(500)
        ]
    )
    journal.close()
    assert len(read_journal(path, ["task-1"])) == 1
    spoilt = bytearray(path.read_bytes())
    spoilt[-4096:] = bytes(4096)
    path.write_bytes(spoilt)
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        read_journal(path, ["task-1"])
