"""The same guarantees, as somebody who knows Trio well would write them by hand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import trio

Result: TypeAlias = tuple[str, object]


def add(
    nursery: trio.Nursery,
    action: Callable[[], Awaitable[object]],
    *,
    keepalive: float = 5,
    retries: int = 3,
) -> trio.MemoryReceiveChannel[Result]:
    """Start a task that sends its result: retried, with a deadline for each attempt."""
    send, receive = trio.open_memory_channel[Result](1)
    nursery.start_soon(_manage, send, action, keepalive, retries)
    return receive


def add_limited(
    nursery: trio.Nursery,
    action: Callable[[], Awaitable[object]],
    limit: trio.Semaphore,
    *,
    keepalive: float = 5,
    retries: int = 3,
) -> trio.MemoryReceiveChannel[Result]:
    """The same, for so many at once as the semaphore lets in."""
    send, receive = trio.open_memory_channel[Result](1)
    nursery.start_soon(_manage_limited, limit, send, action, keepalive, retries)
    return receive


async def _manage_limited(
    limit: trio.Semaphore,
    send: trio.MemorySendChannel[Result],
    action: Callable[[], Awaitable[object]],
    keepalive: float,
    retries: int,
) -> None:
    async with limit:
        await _manage(send, action, keepalive, retries)


async def _manage(
    send: trio.MemorySendChannel[Result],
    action: Callable[[], Awaitable[object]],
    keepalive: float,
    retries: int,
) -> None:
    result: Result = "unspecified", None
    for attempt in range(retries + 1):
        if attempt:
            await trio.lowlevel.checkpoint()
        with trio.CancelScope(deadline=trio.current_time() + keepalive) as scope:
            try:
                result = "success", await action()
            except Exception as error:
                result = "failure", error
        if scope.cancelled_caught:
            result = "timeout", None
        if result[0] == "success":
            break
    await send.send(result)


class Records:
    """Rows of tasks in a file of SQLite, each written in a transaction of its own."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._file = sqlite3.connect(path, isolation_level=None)  # each commits at once
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute(f"PRAGMA synchronous = {synchronous}")
        self._file.execute(
            "CREATE TABLE tasks (id TEXT PRIMARY KEY, action TEXT, arguments TEXT, "
            "status TEXT, attempts INTEGER, state TEXT, data TEXT, pinged REAL)"
        )

    def started(self, id: str, action: str, attempts: int) -> None:
        self._file.execute(
            "INSERT INTO tasks VALUES (?, ?, '[]', 'unspecified', ?, NULL, NULL, ?) "
            "ON CONFLICT (id) DO UPDATE SET attempts = excluded.attempts, "
            "pinged = excluded.pinged",
            (id, action, attempts, time.time()),
        )

    def saved(self, id: str, state: object) -> None:
        self._file.execute(
            "UPDATE tasks SET state = ?, pinged = ? WHERE id = ?",
            (_json.encode(state).decode(), time.time(), id),
        )

    def ended(self, id: str, status: str, data: object) -> None:
        self._file.execute(
            "UPDATE tasks SET status = ?, data = ?, pinged = ? WHERE id = ?",
            (status, _json.encode(data).decode(), time.time(), id),
        )

    def close(self) -> None:
        self._file.close()


_json = msgspec.json.Encoder()


def add_recorded(
    nursery: trio.Nursery,
    records: Records,
    id: str,
    action: Callable[[], Awaitable[object]],
    *,
    keepalive: float = 5,
    retries: int = 3,
) -> trio.MemoryReceiveChannel[Result]:
    """The same as `add`, with a row for the task: of each start, and of the result."""
    send, receive = trio.open_memory_channel[Result](1)
    nursery.start_soon(_manage_recorded, send, records, id, action, keepalive, retries)
    return receive


async def _manage_recorded(
    send: trio.MemorySendChannel[Result],
    records: Records,
    id: str,
    action: Callable[[], Awaitable[object]],
    keepalive: float,
    retries: int,
) -> None:
    # The loop of `_manage`, which would take longer if it asked whether to record.
    result: Result = "unspecified", None
    for attempt in range(retries + 1):
        if attempt:
            await trio.lowlevel.checkpoint()
        records.started(id, _name_of(action), attempt + 1)
        with trio.CancelScope(deadline=trio.current_time() + keepalive) as scope:
            try:
                result = "success", await action()
            except Exception as error:
                result = "failure", error
        if scope.cancelled_caught:
            result = "timeout", None
        if result[0] == "success":
            break
    status, data = result
    records.ended(id, status, data if status == "success" else repr(data))
    await send.send(result)


def _name_of(action: Callable[[], Awaitable[object]]) -> str:
    return f"{action.__module__}.{action.__qualname__}"
