"""Actions for worker processes, which import them by name."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import dataclasses
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, cast

import numpy as np
import trio
from numpy.typing import NDArray

from majordomo2 import (
    current_task,
    current_task_data,
    failure,
    keepalive,
    success,
    update_data,
)


class Odd(Exception):
    """Takes other arguments than it stores."""

    def __init__(self, number: int, *, colour: str) -> None:
        super().__init__(f"{number} {colour}")
        self.number = number


class Closed(Exception):
    """Can't be pickled."""

    def __init__(self) -> None:
        super().__init__("no way")
        self.lock = threading.Lock()


class Trap:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return spring, ()


def spring() -> None:
    raise LookupError("sprung")


def pid(_item: object = None) -> int:
    return os.getpid()


def same(item: object) -> object:
    return item


def hang(folder: Path | None = None) -> None:
    """Blocks the signals that can be blocked; has a child, whose number it saves."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    update_data((os.getpid(), child.pid))
    if folder is not None:
        (folder / f"{os.getpid()}").touch()
    while True:
        time.sleep(600)


# How a worker may come to its end, each in its first attempt


def exits() -> None:
    os._exit(3)


def segfaults() -> None:
    ctypes.string_at(0)


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def closes_its_pipes() -> None:
    os.closerange(3, 1000)
    time.sleep(600)


def writes_garbage_to_its_pipes() -> None:
    for pipe in range(3, 1000):
        with contextlib.suppress(OSError):
            os.write(pipe, b"\xff" * 100)
    time.sleep(600)


def forks_and_exits() -> None:
    if os.fork():
        os._exit(5)
    time.sleep(600)


def is_forked_in_c_and_exits() -> None:
    """The child keeps the pipes, as no Python code hears of the fork."""
    if ctypes.PyDLL(None).fork():
        os._exit(6)
    os.setsid()  # and leaves the group
    time.sleep(3)
    os._exit(0)


DEATHS = {
    exits: "exited with 3",
    segfaults: "ended by SIGSEGV",
    is_killed: "ended by SIGKILL",
    closes_its_pipes: "had closed its pipe",
    writes_garbage_to_its_pipes: "wrote into its pipe",
    forks_and_exits: "exited with 5",
    is_forked_in_c_and_exits: "exited with 6",
}


def dies_once(name: str) -> tuple[object, int]:
    """Saves a state, dies in its first attempt, and tells what the second found."""
    found = current_task_data()
    if current_task().attempts == 1:
        update_data(f"before {name}")
        {death.__name__: death for death in DEATHS}[name]()
    return found, os.getpid()


def spins_in_c() -> None:
    """Holds the interpreter, so that no thread or signal handler here can run."""
    update_data(os.getpid())
    re.fullmatch("(a+)+", "a" * 60 + "b")


def runs_out_of_memory() -> int:
    here = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, here[1]))
    return len(bytes(8 << 30))


def prints(text: str) -> str:
    sys.stdout.write(text)
    os.write(1, b"\x04raw\n")
    return text


def forks_a_child_that_returns() -> int:
    """Both come to the end of the action; one of them is no worker."""
    child = os.fork()
    if not child:
        with contextlib.suppress(RuntimeError):
            keepalive()
            os._exit(99)
        return -1
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def forks_a_child_that_leaves(code: int) -> int:
    child = os.fork()
    if not child:
        raise SystemExit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


# What can't be sent


def returns_a_lock() -> object:
    return threading.Lock()


def returns_a_trap() -> object:
    return Trap()


def declares_a_lock() -> None:
    success(threading.Lock())


def saves_a_lock() -> str:
    try:
        update_data(threading.Lock())
    except TypeError as error:
        return str(error)
    return "saved"


def saves_a_trap() -> None:
    update_data(Trap())
    time.sleep(600)


def raises_odd() -> None:
    raise Odd(3, colour="blue")


def raises_closed() -> None:
    raise Closed


def raises_here() -> None:
    raise ValueError("here")


def raises_exit() -> None:
    raise SystemExit(7)


def fails_with_odd() -> None:
    failure(Odd(4, colour="red"))


def swallows_then_raises() -> None:
    with contextlib.suppress(BaseException):
        success("declared")
    raise ValueError("too late")


def swallows_then_returns() -> str:
    with contextlib.suppress(BaseException):
        success("declared")
    return "returned"


# Others


async def waits_in_a_loop_of_its_own(seconds: float) -> int:
    keepalive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, seconds)
        nursery.start_soon(save_in_a_thread)
    return os.getpid()


async def save_in_a_thread() -> None:
    await trio.to_thread.run_sync(update_data, "in a thread")


async def waits_for_ever() -> None:
    update_data(os.getpid())
    await trio.sleep_forever()


def doubled(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array *= 2  # what came is ours to change
    return array


def logs(level: int) -> None:
    logging.getLogger("majordomo2.tests").log(level, "from %s", os.getpid())


def pings(times: int) -> int:
    for number in range(times):
        keepalive()
        if not number % 100:
            update_data(number)
    return times


def leaves_a_thread(seconds: float) -> str:
    """A leftover whose signals come too late."""
    started = threading.Event()

    def leftover() -> None:
        started.set()
        with contextlib.suppress(BaseException):
            while True:
                keepalive()
                update_data("leftover")
                time.sleep(seconds)

    threading.Thread(target=leftover, daemon=True).start()
    started.wait()
    return "left"


def has_no_socket() -> socket.socket:
    return socket.socket()


# What a review found


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Takes no assignment."""

    code: int


class Slow:
    """Takes its time to be unpickled, more than nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __reduce__(self) -> tuple[object, ...]:
        return slowly, (self.seconds, bytes(100_000))


def slowly(seconds: float, _large: bytes) -> int:
    time.sleep(seconds)
    return 1


def raises_frozen() -> None:
    raise Frozen(3)


def _only_here(text: str) -> type[Any]:
    module = types.ModuleType("only_here")
    sys.modules["only_here"] = module
    exec(text, module.__dict__)  # noqa: S102 - a class of a module that has no file
    return cast("type[Any]", module.__dict__["Here"])


def raises_what_is_only_here() -> None:
    raise _only_here("class Here(Exception): pass")("the real reason")


def saves_what_is_only_here(folder: Path) -> None:
    """And then goes on saving."""
    update_data(_only_here("class Here: pass")())
    (folder / "saved").touch()
    while True:
        time.sleep(0.05)
        update_data("of the cancelled task")


def floods() -> None:
    number = 0
    while True:
        update_data(number)
        number += 1


def pings_for(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        keepalive()
        time.sleep(0.01)
    return "fine"


def is_touched_by_threads() -> list[str]:
    """The first to touch the package, at once."""
    barrier, errors = threading.Barrier(4), list[str]()

    def touch() -> None:
        barrier.wait()
        try:
            sys.modules["majordomo2"].keepalive()
        except Exception as error:
            errors.append(repr(error))

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(touch,))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def logs_badly(what: str) -> str:
    if what == "format":
        logging.getLogger("majordomo2.tests").warning("%d", "x")
    else:
        logging.getLogger("majordomo2.tests").warning(
            "x", extra={"o": threading.Lock()}
        )
    return what


def array_of(size: int) -> NDArray[np.float64]:
    return np.zeros(size)


def can_be_changed(array: NDArray[np.float64]) -> tuple[bool, bool]:
    return array.flags.writeable, array.flags.aligned


def leaves_a_thread_that_stays() -> int:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return os.getpid()
