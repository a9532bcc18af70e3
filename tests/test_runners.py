"""Runners: where an action runs, and what it means there to be cut off."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Literal
from unittest.mock import AsyncMock

import pytest
import trio
import trio.lowlevel

from majordomo2 import (
    AttemptOver,
    Majordomo,
    current_task,
    current_task_data,
    failure,
    is_success,
    is_timeout,
    keepalive,
    start_majordomo,
    success,
    update_data,
)
from majordomo2.abc import Attempt, Runner
from virtual import run, run_with

PATIENCE = 30  # seconds of real time: only a bug makes a test wait so long


class Sulk(Exception):
    """Raised by actions."""


def thread_name() -> str:
    return threading.current_thread().name


async def async_thread_name() -> str:
    return threading.current_thread().name


async def shout(text: str) -> str:
    return text.upper()


class Callables:
    """All the things that can be called, async and plain."""

    async def method(self) -> str:
        return thread_name()

    @staticmethod
    async def static() -> str:
        return thread_name()

    async def __call__(self) -> str:
        return thread_name()


ASYNC: list[Callable[[], Coroutine[object, object, str]]] = [
    async_thread_name,
    functools.partial(async_thread_name),
    functools.partial(functools.partial(async_thread_name)),
    Callables().method,
    Callables.static,
    Callables(),
    functools.partial(Callables()),
]


@pytest.mark.parametrize("action", ASYNC)
def test_auto_runs_async_functions_in_the_trio_run(
    action: Callable[[], Coroutine[object, object, str]],
) -> None:
    """SPEC 9.1: functions, partials, methods and callable objects."""

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(action)).data == thread_name()

    run_with(main)


def test_auto_runs_what_is_marked_as_async() -> None:
    """SPEC 9.1: whatever `inspect.iscoroutinefunction` takes for one."""
    mock: Callable[[], Awaitable[int]] = AsyncMock(return_value=3)

    async def main(jarvis: Majordomo) -> None:
        assert await jarvis.get_task_data(mock) == 3

    run_with(main)


def test_auto_runs_plain_functions_in_a_thread() -> None:
    """SPEC 9.1: the thread bears the task's id."""

    async def main() -> None:
        async with start_majordomo() as jarvis:
            assert (await jarvis.run(thread_name, id="x")).data == "x"
            assert (await jarvis.run(thread_name, id="y")).data == "y"

    trio.run(main)


def test_inline_runs_in_the_trio_run() -> None:
    """SPEC 9.1: then and there, with signals and retries."""

    def action() -> str:
        if current_task_data() == {}:
            update_data("again")
            raise Sulk
        keepalive()
        success(f"{current_task_data()} in {thread_name()}")

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, runner="inline", keepalive=0)
        assert (task.data, task.attempts) == (f"again in {thread_name()}", 2)

    run_with(main)


def test_async_runner_awaits_what_a_plain_function_returns() -> None:
    """SPEC 9.1: such as a lambda."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(lambda: shout("x"), runner="async")
        assert task.data == "X"

    run_with(main)


def test_async_runner_refuses_a_plain_value() -> None:
    """SPEC 9.1: a runner that doesn't fit fails with a TypeError, at once."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(thread_name, runner="async")
        assert (task.status, task.attempts) == ("failure", 1)
        assert isinstance(task.data, TypeError)
        assert "can't be awaited" in str(task.data)

    run_with(main)


def test_an_async_function_that_forgot_to_await() -> None:
    """SPEC 9.1: a coroutine is no value; without a retry, and nothing is unawaited."""

    async def forgetful() -> object:
        return shout("x")

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(forgetful)
        assert (task.status, task.attempts) == ("failure", 1)
        assert isinstance(task.data, TypeError)
        assert "await it inside the function" in str(task.data)

    run_with(main)


RUNNERS: list[Literal["thread", "inline"]] = ["thread", "inline"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_plain_function_that_returns_a_coroutine(
    runner: Literal["thread", "inline"],
) -> None:
    """SPEC 9.1: fails with a TypeError; without a retry, and nothing is unawaited."""

    async def main() -> None:
        async with start_majordomo() as jarvis:
            task = await jarvis.run(lambda: shout("x"), runner=runner)
            assert (task.status, task.attempts) == ("failure", 1)
            assert isinstance(task.data, TypeError)
            assert "write runner='async'" in str(task.data)

    trio.run(main)


# Threads


def test_signals_work_in_a_thread() -> None:
    """SPEC 4.7, 9.2: state goes from attempt to attempt."""

    def action() -> None:
        number = current_task().attempts
        if number == 1:
            update_data(["one"])
            raise Sulk
        state = current_task_data()
        keepalive()
        failure((state, current_task().id))

    async def main() -> None:
        async with start_majordomo() as jarvis:
            task = await jarvis.run(action, id="x", keepalive=PATIENCE)
            assert (task.status, task.data) == ("failure", (["one"], "x"))
            assert task.attempts == 2

    trio.run(main)


def test_a_thread_is_abandoned_and_fenced_off() -> None:
    """SPEC 9.2, 4.8: nothing of attempt 1 can touch attempt 2; it stops at a signal."""
    release, stopped = threading.Event(), threading.Event()
    refused: list[str] = []

    def action() -> object:
        if current_task().attempts == 2:
            return current_task_data()
        update_data("first")
        release.wait(PATIENCE)
        try:
            update_data("stale")
        except AttemptOver as error:
            refused.append(str(error))
            raise
        finally:
            stopped.set()
        return "not reached"

    async def main() -> None:
        async with start_majordomo(max_workers=1) as jarvis:
            task = await jarvis.run(action, keepalive=0.05, retries=1, id="x")
            assert (task.status, task.data, task.attempts) == ("success", "first", 2)
            release.set()
            assert await trio.to_thread.run_sync(stopped.wait, PATIENCE)

    trio.run(main)
    assert refused == ["attempt 1 of x is over"]


def test_hung_threads_leave_their_places_to_others() -> None:
    """SPEC 9.2: any number of them."""
    release = threading.Event()

    def hang() -> None:
        release.wait(PATIENCE)

    async def main() -> None:
        async with start_majordomo(max_workers=2) as jarvis:
            hung = [jarvis.add_task(hang, keepalive=0.02, retries=1) for _ in range(5)]
            assert [(await channel.receive()).status for channel in hung] == (
                ["timeout"] * 5
            )
            tasks = [await jarvis.run(thread_name) for _ in range(3)]
            assert all(is_success(task) for task in tasks)
            release.set()

    trio.run(main)


def test_what_an_abandoned_thread_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SPEC 9.2: nobody waits for it, but it does not vanish."""
    release = threading.Event()

    def action() -> None:
        release.wait(PATIENCE)
        raise Sulk("late")

    async def main() -> None:
        logged = trio.Event()
        handler = logging.Handler()
        handler.emit = lambda record: logged.set()  # type: ignore[method-assign]
        async with start_majordomo() as jarvis:
            task = await jarvis.run(action, keepalive=0.02, retries=0, id="x")
            assert is_timeout(task)
            logging.getLogger("majordomo2").addHandler(handler)
            release.set()
            with trio.fail_after(PATIENCE):
                await logged.wait()
            logging.getLogger("majordomo2").removeHandler(handler)

    trio.run(main)
    assert caplog.messages[-1] == "an abandoned thread of x raised: Sulk('late')"


def test_a_thread_that_outlives_the_run() -> None:
    """SPEC 9.2: leaving the block does not wait for an abandoned thread."""
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def action() -> None:
        begun.set()
        release.wait(PATIENCE)
        ended.set()

    async def main() -> None:
        async with start_majordomo() as jarvis:
            channel = jarvis.add_task(action, keepalive=PATIENCE)
            assert await trio.to_thread.run_sync(begun.wait, PATIENCE)
            jarvis.stop()
            assert (await channel.receive()).status == "cancelled"

    trio.run(main)
    release.set()
    assert ended.wait(PATIENCE)


def test_cancelled_from_outside_abandons_threads() -> None:
    """SPEC 4.9, 9.2: running and idle ones."""
    release, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(PATIENCE)

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with start_majordomo() as jarvis:
                jarvis.add_task(hang)
                await jarvis.run(thread_name)
                await trio.to_thread.run_sync(begun.wait, PATIENCE)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main)
    release.set()


def test_a_thread_that_has_ended_is_not_cut_off() -> None:
    """SPEC 4.5, 4.11: it has returned, though the blocked event loop hears of it late."""
    runs: list[int] = []
    begun, blocked, ended = threading.Event(), threading.Event(), threading.Event()

    def action() -> str:
        runs.append(1)
        begun.set()
        blocked.wait(PATIENCE)
        ended.set()
        return "returned"

    def block() -> None:
        """Holds up the event loop until the thread has ended and its period is over."""
        blocked.set()
        assert ended.wait(PATIENCE)
        threading.Event().wait(1.1)

    async def main() -> None:
        async with start_majordomo() as jarvis:
            channel = jarvis.add_task(action, keepalive=1)
            assert await trio.to_thread.run_sync(begun.wait, PATIENCE)
            await jarvis.run(block, runner="inline")
            task = await channel.receive()
            assert (task.status, task.data, task.attempts) == ("success", "returned", 1)

    trio.run(main)
    assert runs == [1]


def test_pings_from_a_thread_move_the_deadline() -> None:
    """SPEC 4.5, 9.2: it would be over three times without them."""
    tick = threading.Event()

    def action() -> str:
        for _ in range(8):
            tick.wait(0.1)
            keepalive()
        return "alive"

    async def main() -> None:
        async with start_majordomo() as jarvis:
            task = await jarvis.run(action, keepalive=0.6, retries=0)
            assert task.data == "alive"

    trio.run(main)


def test_the_wait_for_a_thread_does_not_count() -> None:
    """SPEC 4.3: more calls than places, each nearly as long as its period."""
    tick = threading.Event()
    most, now = 0, 0
    lock = threading.Lock()

    def action() -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        tick.wait(0.02)
        with lock:
            now -= 1

    async def main() -> None:
        async with start_majordomo() as jarvis:
            channels = [jarvis.add_task(action, keepalive=1) for _ in range(200)]
            tasks = [await channel.receive() for channel in channels]
            assert {(task.status, task.attempts) for task in tasks} == {("success", 1)}

    trio.run(main)
    assert 2 <= most <= 40


def test_from_thread_works_in_a_task() -> None:
    """SPEC 7.4: a task in a thread adds tasks through `trio.from_thread`."""

    def action(jarvis: Majordomo) -> object:
        channel = trio.from_thread.run_sync(jarvis.add_task, async_thread_name)
        return trio.from_thread.run(channel.result)

    async def main() -> None:
        async with start_majordomo() as jarvis:
            task = await jarvis.run(action, jarvis, keepalive=PATIENCE)
            assert task.data == thread_name()

    trio.run(main)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("in a thread")])
def test_what_is_no_exception_leaves_a_thread_too(error: BaseException) -> None:
    """SPEC 4.9: and the block."""

    def action() -> None:
        raise error

    async def main() -> None:
        async with start_majordomo() as jarvis:
            jarvis.add_task(action)
            await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        trio.run(main)
    assert caught.value is error


def test_an_idle_thread_holds_nothing() -> None:
    """A finished call is not kept alive by the thread that ran it."""

    class Held:
        pass

    async def main() -> None:
        async with start_majordomo() as jarvis:
            held, gone = Held(), threading.Event()
            weakref.finalize(held, gone.set)
            assert is_success(await jarvis.run(repr, held))
            del held
            assert await trio.to_thread.run_sync(gone.wait, PATIENCE)

    trio.run(main)


# Runners of one's own


class Narrator:
    """A runner that knows nothing but the public protocol."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def check(self, action: Callable[..., object], /) -> None:
        if inspect.isclass(action):
            raise TypeError(f"action must not be a class, not {action!r}: give f")

    async def run(self, attempt: Attempt, /) -> object:
        self.story.append(f"{attempt.id} attempt {attempt.number} of {attempt.args}")
        await trio.sleep(100)  # waiting for a place: does not count
        attempt.start()
        value = attempt.action(*attempt.args)
        await trio.sleep(0.5)
        attempt.keepalive()
        self.story.append(f"over: {attempt.over}, state: {attempt.state}")
        await trio.sleep(0.9)
        return value


def test_a_runner_of_ones_own() -> None:
    """SPEC 9.1, 4.3: one small protocol; the period runs from `start`."""
    narrator = Narrator()

    def action(number: int) -> int:
        update_data(number)
        return number * 2

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, 3, runner=narrator, keepalive=1, id="x")
        assert (task.status, task.data, task.state) == ("success", 6, 3)
        with pytest.raises(TypeError, match="must not be a class"):
            jarvis.add_task(Sulk, runner=narrator)

    run_with(main)
    assert isinstance(narrator, Runner)
    assert narrator.story == ["x attempt 1 of (3,)", "over: False, state: 3"]


class Declaring:
    """Ends each attempt by a signal, as a runner of processes does for its worker."""

    def __init__(self, *signals: str) -> None:
        self.signals = list(signals)

    def check(self, action: Callable[..., object], /) -> None: ...

    async def run(self, attempt: Attempt, /) -> object:
        attempt.start()
        attempt.update_data("told")
        match self.signals.pop(0):
            case "success":
                attempt.success()
            case "failure":
                attempt.failure("said")
            case _:
                await trio.sleep_forever()


@pytest.mark.parametrize(
    ("signals", "end"),
    [
        (["success"], ("success", "told", 1)),
        (["failure"], ("failure", "said", 1)),
        (["silence", "success"], ("success", "told", 2)),
        (["silence", "silence"], ("timeout", "told", 2)),
    ],
)
def test_a_runner_may_signal(signals: list[str], end: tuple[object, ...]) -> None:
    """SPEC 9.1: as the action would."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(thread_name, runner=Declaring(*signals), retries=1)
        assert (task.status, task.data, task.attempts) == end

    run_with(main)


def test_a_runner_that_never_starts() -> None:
    """SPEC 4.3: the period does not run; it can be cancelled all the same."""

    class Waiting(Declaring):
        async def run(self, attempt: Attempt, /) -> object:
            await trio.sleep_forever()

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(thread_name, runner=Waiting(), keepalive=0.5)
        with trio.move_on_after(100):
            await channel.receive()
        assert not channel.done
        channel.cancel()
        assert (await channel.receive()).status == "cancelled"

    run_with(main)


def test_nothing_is_logged_for_a_success(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 11.1: only restarts, failures and timeouts are."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(async_thread_name, keepalive=math.inf)

    with caplog.at_level(logging.DEBUG, "majordomo2"):
        run_with(main)
        run(trio.lowlevel.checkpoint)
    assert caplog.messages == []
