"""Calls in worker processes, pings from them, kills, and what is large."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from time import perf_counter
from typing import cast

import trio
import trio_parallel

from majordomo2 import TaskOptions, keepalive, start_majordomo, update_data

from .calls import noop, same, sleep
from .measure import Row, seconds_of

CALLS = 1_000
MANY = 10_000
PROCESSES = 2
PINGS = 50_000
LARGE = bytes(100_000_000)
NEIGHBOURS = 1_000
LIMIT = 0.5  # seconds of an attempt that is killed
STEP = 0.01  # seconds
STARTED = 0.1  # seconds after which a call on a warm process is sure to run
IN_PROCESS: TaskOptions = {"runner": "process", "keepalive": 60, "retries": 0}


def says_when() -> None:
    update_data((os.getpid(), time.monotonic()))
    time.sleep(600)


async def _in_turn(call: Callable[[], Awaitable[object]]) -> float:
    await call()
    start = perf_counter()
    for _ in range(CALLS):
        await call()
    return perf_counter() - start


async def turns_ours() -> float:
    async with start_majordomo() as jarvis:
        return await _in_turn(lambda: jarvis.run(noop, **IN_PROCESS))


async def turns_trio_parallel() -> float:
    return await _in_turn(lambda: trio_parallel.run_sync(noop))


async def many_ours() -> float:
    async with start_majordomo(max_workers=PROCESSES) as jarvis:
        for channel in [jarvis.add_task(noop, **IN_PROCESS) for _ in range(PROCESSES)]:
            await channel.receive()
        start = perf_counter()
        async with jarvis.map(same, range(MANY), **IN_PROCESS) as results:
            async for _ in results:
                pass
        return perf_counter() - start


async def many_executor() -> float:
    with ProcessPoolExecutor(PROCESSES) as executor:
        list(executor.map(same, range(PROCESSES)))
        start = perf_counter()
        for _ in executor.map(same, range(MANY), chunksize=1):
            pass
        return perf_counter() - start


def time_pings() -> float:
    return seconds_of(keepalive, PINGS)


def time_writes() -> float:
    """Of the same byte, into a pipe that another process reads."""
    with subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as reader:
        assert reader.stdin is not None
        pipe = reader.stdin.fileno()
        return seconds_of(lambda: os.write(pipe, b"\0"), PINGS)


async def pings_ours() -> float:
    async with start_majordomo() as jarvis:
        return await jarvis.get_task_data(time_pings, **IN_PROCESS)


async def pings_written() -> float:
    async with start_majordomo() as jarvis:
        return await jarvis.get_task_data(time_writes, **IN_PROCESS)


async def kill_ours() -> float:
    async with start_majordomo() as jarvis:
        await jarvis.run(noop, **IN_PROCESS)
        channel = jarvis.add_task(sleep, **IN_PROCESS)
        await trio.sleep(STARTED)
        start = perf_counter()
        channel.cancel()
        await channel.receive()
        assert (await jarvis.run(noop, **IN_PROCESS)).data == 1
        return perf_counter() - start


async def kill_trio_parallel() -> float:
    async with trio_parallel.open_worker_context() as context:
        await context.run_sync(noop)
        start = 0.0
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                await context.run_sync(sleep, kill_on_cancel=True)

            nursery.start_soon(call)
            await trio.sleep(STARTED)
            start = perf_counter()
            nursery.cancel_scope.cancel()
        await context.run_sync(noop)
        return perf_counter() - start


async def large_ours() -> float:
    async with start_majordomo() as jarvis:
        await jarvis.run(same, 1, **IN_PROCESS)
        start = perf_counter()
        task = await jarvis.run(same, LARGE, **IN_PROCESS)
        seconds = perf_counter() - start
        assert task.data == LARGE
        return seconds


def echo(connection: Connection) -> None:
    while data := connection.recv_bytes():
        connection.send_bytes(data)


async def large_pipe() -> float:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=echo, args=(theirs,))
    process.start()
    ours.send_bytes(b"ready")
    ours.recv_bytes()
    start = perf_counter()
    ours.send_bytes(LARGE)
    data = ours.recv_bytes()
    seconds = perf_counter() - start
    assert data == LARGE
    ours.send_bytes(b"")
    process.join()
    return seconds


async def _is_busy(seconds: float) -> None:
    for _ in range(int(seconds / STEP)):
        await trio.sleep(STEP)


async def late_kill() -> float:
    """Seconds from the deadline of an attempt until its process is gone."""
    async with start_majordomo() as jarvis:
        await jarvis.run(noop, **IN_PROCESS)
        for _ in range(NEIGHBOURS):
            jarvis.add_task(_is_busy, 2 * LIMIT)
        limited: TaskOptions = {**IN_PROCESS, "attempt_timeout": LIMIT}
        task = await jarvis.run(says_when, **limited)
        gone = time.monotonic()
        assert task.status == "timeout"
        pid, started = cast("tuple[int, float]", task.state)
        assert not is_there(pid)
        return gone - (started + LIMIT)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


ROWS = [
    Row(
        "a no-op call in a warm process, in turn",
        "`trio_parallel.run_sync`",
        *(1.0, 0.45, turns_ours, turns_trio_parallel),
    ),
    Row(
        f"`map` over {MANY:,} short calls, {PROCESSES} processes",
        "`ProcessPoolExecutor.map`, chunksize 1",
        *(1.2, 0.7, many_ours, many_executor),
        rounds=9,
    ),
    Row(
        "`keepalive()` in a process",
        "one `os.write` of the same byte",
        *(4, 2, pings_ours, pings_written),
    ),
    Row(
        "a call is killed, and the next one answered by a fresh process",
        "trio-parallel after `kill_on_cancel`",
        *(1.2, 0.8, kill_ours, kill_trio_parallel),
    ),
    Row(
        "100 MB as argument and as result",
        "a bare `multiprocessing.Pipe`",
        *(2, 1.2, large_ours, large_pipe),
        rounds=9,
    ),
    Row(
        f"seconds from a deadline to the end of the process, beside {NEIGHBOURS:,} tasks",
        "nothing: the number itself",
        *(0.2, 0.05, late_kill, None),
        kind="none",
        rounds=9,
    ),
]
