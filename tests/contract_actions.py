"""What `test_contract.py` runs: actions that a worker process finds by their names.

Each is written once. One that waits is a generator function: it yields how many seconds,
and `Plain` waits so long in a thread or a process of its own, `Async` in a Trio run.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import os
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias, cast

import trio
import trio.lowlevel

from majordomo2 import (
    TaskState,
    current_task,
    current_task_data,
    failure,
    keepalive,
    success,
    update_data,
)

Steps: TypeAlias = Generator[float, None, object]

PATIENCE = 30.0  # seconds of real time: only a bug makes a test wait so long
RELEASE = threading.Event()  # set at the end of each test: nothing waits on, here


@dataclass(frozen=True)
class Plain:
    """An action as a plain function."""

    action: Callable[..., object]

    def __call__(self, *args: object) -> object:
        value = self.action(*args)
        if not isinstance(value, Generator):
            return value
        steps = cast("Steps", value)
        while True:
            try:
                seconds = next(steps)
            except StopIteration as end:
                return end.value
            RELEASE.wait(min(seconds, PATIENCE))


@dataclass(frozen=True)
class Async:
    """The same as an async function."""

    action: Callable[..., object]

    async def __call__(self, *args: object) -> object:
        await trio.lowlevel.checkpoint()
        value = self.action(*args)
        if not isinstance(value, Generator):
            return value
        steps = cast("Steps", value)
        with contextlib.closing(steps):
            while True:
                try:
                    seconds = next(steps)
                except StopIteration as end:
                    return end.value
                await trio.sleep(seconds)


class Sulk(Exception):
    """What cannot be made anew from its `args`, and has more to it than they say."""

    def __init__(self, number: int, *, mood: str = "sour") -> None:
        super().__init__(f"sulked {number} times")
        self.number = number
        self.mood = mood


class Huff(Exception):
    """Another one."""


@dataclass(frozen=True)
class Progress:
    """A state of a type of its own."""

    steps: int = 0


progress = TaskState(Progress)
voice: contextvars.ContextVar[str] = contextvars.ContextVar("voice", default="none")


# Values


def echo(value: object) -> object:
    return value


def minus(a: int, b: int, c: int) -> int:
    return a - b - c


def square(number: int) -> int:
    """Not of a negative one."""
    if number < 0:
        raise Sulk(number)
    return number * number


def replace_state(value: object) -> object:
    update_data("half way")
    return value


def who() -> tuple[str, str, int, object]:
    task = current_task()
    return task.id, task.status, task.attempts, task.data


def speak() -> str:
    return voice.get()


def pid() -> int:
    return os.getpid()


# Raises


def remember(last: int) -> object:
    """Keeps in its state what it saw of it; raises until attempt number `last`."""
    seen = current_task_data()
    update_data((current_task().attempts, seen))
    if current_task().attempts < last:
        raise Sulk(current_task().attempts)
    return current_task_data()


def sulk(mood: str) -> NoReturn:
    update_data("saved")
    error = Sulk(current_task().attempts, mood=mood)
    error.add_note("a note of its own")
    raise error


def huff() -> NoReturn:
    raise Huff


def sulk_twice_at_once() -> NoReturn:
    raise ExceptionGroup("both", [Sulk(1), Sulk(2)])


def first(items: list[int]) -> int:
    return next(iter(items))


def leave(code: int) -> NoReturn:
    raise SystemExit(code)


def advance(last: int) -> Progress:
    now = progress.get()
    progress.update(Progress(now.steps + 1))
    if now.steps + 1 < last:
        raise Sulk(now.steps)
    return progress.get()


# Signals


def declare(status: str, *data: object) -> NoReturn:
    update_data("the state")
    end = success if status == "success" else failure
    with contextlib.suppress(Exception):  # a signal is none
        end(*data)
    raise Huff


def declare_in_finally() -> object:
    try:
        raise Sulk(1)
    finally:
        success("said in finally")


def swallow(then: str) -> str:
    """Goes on after its end."""
    with contextlib.suppress(BaseException):
        success("declared")
    match then:
        case "return":
            return "ignored"
        case "ping":
            keepalive()
        case "save":
            update_data("ignored")
        case "declare":
            failure("ignored")
        case _:
            raise Sulk(1)
    raise Huff


# Silence


def hang(state: object) -> Steps:
    update_data(state)
    yield math.inf
    return "released"


def hang_once() -> Steps:
    if current_task().attempts == 1:
        update_data("first")
        yield math.inf
    return current_task_data(), current_task().attempts


def ping(times: int, seconds: float, state: object) -> Steps:
    update_data(state)
    for _ in range(times):
        yield seconds
        keepalive()
    return "alive"


def linger(seconds: float, value: object) -> Steps:
    update_data(value)
    yield seconds
    return value


def note_down(path: Path, what: str) -> None:
    with path.open("a") as file:
        file.write(f"{what}\n")


def stubborn(path: Path) -> Steps:
    """Notes down how far it gets, wherever it runs, in whatever way it is cut off."""
    note_down(path, "begun")
    update_data(os.getpid())
    try:
        yield math.inf
        note_down(path, "went on")
        update_data("stale")
        note_down(path, "was not stopped")
        return "released"
    finally:
        note_down(path, "finally")
