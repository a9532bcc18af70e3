"""Attempts: raises, silences, pings, signals, fences."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import pytest
import trio

from majordomo2 import (
    AttemptOver,
    Job,
    Majordomo,
    NoCurrentTask,
    ResultChannel,
    Task,
    TaskFailed,
    TaskResult,
    TaskState,
    current_task,
    current_task_data,
    failure,
    is_failure,
    is_success,
    is_timeout,
    job,
    keepalive,
    start_majordomo,
    success,
    update_data,
)
from virtual import run, run_with


async def value(data: Any) -> Any:
    return data


class Sulk(Exception):
    """Raised by actions."""


@pytest.mark.parametrize("data", [3, None, [], Sulk("as a value")])
def test_what_it_returns_is_the_data(data: object) -> None:
    """SPEC 4.1: any value, None too, is the data of a success."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(value, data)
        assert (task.status, task.data, task.attempts) == ("success", data, 1)

    run_with(main)


def test_what_it_returns_replaces_the_state() -> None:
    """SPEC 4.1, 3.3: the data is what was returned; the state stays in `state`."""

    async def action() -> None:
        update_data("half way")

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action)
        assert (task.data, task.state) == (None, "half way")

    run_with(main)


def test_restarts_with_the_same_arguments_and_the_latest_state() -> None:
    """SPEC 4.2: what attempt n saved is what attempt n + 1 sees."""
    seen: list[object] = []

    async def action(step: int) -> str:
        seen.append((step, current_task_data()))
        update_data(len(seen))
        if len(seen) < 4:
            raise Sulk
        return "done"

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, 10)
        assert (task.status, task.data, task.attempts) == ("success", "done", 4)

    run_with(main)
    assert seen == [(10, {}), (10, 1), (10, 2), (10, 3)]


def test_no_retries_left_is_a_failure() -> None:
    """SPEC 4.2, 3.3: data is the exception, and the state is kept beside it."""

    async def action() -> None:
        update_data("saved")
        raise Sulk

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, retries=1)
        assert is_failure(task)
        assert isinstance(task.data, Sulk)
        assert (task.attempts, task.state) == (2, "saved")

    run_with(main)


def test_silence_is_a_timeout_with_the_state() -> None:
    """SPEC 4.3: each attempt has the full period, and the end is the state."""
    times: list[float] = []

    async def action() -> None:
        times.append(trio.current_time())
        update_data(len(times))
        await trio.sleep_forever()

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        task = await jarvis.run(action, keepalive=2.5, retries=2)
        assert (task.status, task.data, task.state) == ("timeout", 3, 3)
        assert [time - start for time in times] == [0, 2.5, 5.0]
        assert trio.current_time() - start == 7.5

    run_with(main)


def test_the_state_is_an_empty_dict_at_first() -> None:
    """SPEC 4.3, 4.7: a task that saved nothing ends with {}."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(trio.sleep_forever, retries=0)
        assert (task.data, task.state) == ({}, {})

    run_with(main)


def test_the_default_period_is_five_seconds_and_three_retries() -> None:
    """SPEC 2: the seed's defaults."""

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        task = await jarvis.run(trio.sleep_forever)
        assert (task.status, task.attempts) == ("timeout", 4)
        assert trio.current_time() - start == 20

    run_with(main)


@pytest.mark.parametrize("ping", [keepalive, lambda: update_data(1)])
def test_a_ping_moves_the_deadline(ping: Callable[[], None]) -> None:
    """SPEC 4.5: `keepalive` and `update_data` are pings."""

    async def action() -> str:
        for _ in range(10):
            await trio.sleep(0.9)
            ping()
        return "alive"

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(action, keepalive=1, retries=0)).data == "alive"

    run_with(main)


def test_the_deadline_is_exact() -> None:
    """SPEC 4.3: from the last ping, to the moment."""

    async def action() -> None:
        await trio.sleep(0.25)
        keepalive()
        await trio.sleep_forever()

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        await jarvis.run(action, keepalive=0.5, retries=0)
        assert trio.current_time() - start == 0.75

    run_with(main)


def test_a_short_period_behind_a_long_one() -> None:
    """SPEC 4.3: a worker that was watched for a long period is so for a short one."""

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        assert (await jarvis.run(value, 1, keepalive=100)).data == 1
        task = await jarvis.run(trio.sleep_forever, keepalive=2, retries=0)
        assert is_timeout(task)
        assert trio.current_time() - start == 2

    run_with(main, max_workers=1)


def test_zero_keepalive() -> None:
    """SPEC 4.3: with 0, who never waits succeeds, and any wait times out."""

    async def pings() -> str:
        keepalive()
        return "quick"

    async def pings_and_waits() -> None:
        keepalive()
        await trio.lowlevel.checkpoint()

    async def main(jarvis: Majordomo) -> None:
        for _ in range(3):
            assert (await jarvis.run(pings, keepalive=0)).data == "quick"
            for waits in (pings_and_waits, trio.sleep_forever):
                task = await jarvis.run(waits, keepalive=0, retries=1)
                assert (task.status, task.attempts) == ("timeout", 2)

    run_with(main, max_workers=1)


def test_infinite_keepalive() -> None:
    """SPEC 4.3: with infinity nobody is cut off."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(trio.sleep, 1e9, keepalive=math.inf)
        assert is_success(task)

    run_with(main)


def test_the_wait_for_a_slot_does_not_count() -> None:
    """SPEC 4.3: the deadline runs from the moment that the action really starts."""

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(trio.sleep, 0.9, keepalive=1) for _ in range(5)]
        assert [(await channel.receive()).attempts for channel in channels] == [1] * 5

    run_with(main, max_workers=1)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_retries_counts_restarts(retries: int) -> None:
    """SPEC 4.4: at most retries + 1 attempts."""

    async def action() -> NoReturn:
        raise Sulk

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(action, retries=retries)).attempts == retries + 1

    run_with(main)


def test_infinite_retries_starve_nobody() -> None:
    """SPEC 4.10: an action that fails at once gives the event loop a turn each time."""

    async def action() -> NoReturn:
        raise Sulk

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(action, retries=math.inf)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        channel.cancel()
        task = await channel.receive()
        assert task.status == "cancelled"
        assert 10 < task.attempts < 100

    run_with(main)


def test_a_group_is_the_very_object_that_was_raised() -> None:
    """SPEC 4.2: the data is the exception, also if it is a group of a class of its own."""

    class Trouble(ExceptionGroup[Exception]):
        pass

    error = Trouble("two things", [Sulk(), ValueError()])

    async def action() -> NoReturn:
        raise error

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(action, retries=0)).data is error

    run_with(main)


def test_a_broken_repr_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC 4.2, 11.1: an exception that can't be shown is data all the same."""

    class Broken(Exception):
        def __repr__(self) -> str:
            raise Sulk("in repr")

    async def action(number: int) -> NoReturn:
        raise Broken(number)

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, 1)
        assert isinstance(task.data, Broken)
        assert task.attempts == 4

    run_with(main)
    assert "Sulk: in repr" in capsys.readouterr().err


@pytest.mark.parametrize("runner", ["inline", "thread"])
def test_stop_iteration_is_an_exception_like_any_other(
    runner: Literal["inline", "thread"],
) -> None:
    """SPEC 4.2, 5.3: Python would make another of it on its way through coroutines."""

    def first(items: list[int]) -> int:
        return next(iter(items))

    async def main() -> None:
        async with start_majordomo() as jarvis:
            none: list[int] = []
            ran = await jarvis.run(first, none, runner=runner, retries=0)
            assert type(ran.data) is StopIteration
            works: list[Job[object]] = [
                job(value, none).post(first),
                job(value, [none]).filter(first),
                job(value, [none, none]).sort(key=first),
            ]
            for work in works:
                task = await jarvis.run(work)
                assert type(task.data) is StopIteration
                assert "raised by ." in task.data.__notes__[0]

    trio.run(main)


def test_a_note_is_added_once() -> None:
    """SPEC 4.3: also to an exception that each attempt raises again."""
    error = Sulk("the same")

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(action)).attempts == 4
        assert len(error.__notes__) == 1

    run_with(main)


# Signals


def raises_inside(signal: Callable[[], object]) -> object:
    try:
        signal()
    except Exception:
        return "seen by an ordinary handler"
    finally:
        current_task()
    return "went on"


SIGNALS = [
    (lambda: success(3), ("success", 3)),
    (lambda: failure("why"), ("failure", "why")),
    (success, ("success", "state")),
    (failure, ("failure", "state")),
]


@pytest.mark.parametrize(("signal", "end"), SIGNALS)
def test_success_and_failure_end_the_action(
    signal: Callable[[], object], end: tuple[str, object]
) -> None:
    """SPEC 4.6: there and then, without a retry; by default the data is the state."""

    async def action() -> object:
        update_data("state")
        return raises_inside(signal)

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action)
        assert (task.status, task.data, task.attempts) == (*end, 1)

    run_with(main)


@pytest.mark.parametrize(("signal", "end"), SIGNALS)
def test_signals_pass_nurseries_and_threads(
    signal: Callable[[], object], end: tuple[str, object]
) -> None:
    """SPEC 4.6, 4.7: raised in a Trio task or thread of the action, they end it."""

    async def child() -> None:
        await trio.to_thread.run_sync(signal)

    async def action() -> None:
        update_data("state")
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(child)

    async def main() -> None:
        async with start_majordomo() as jarvis:
            task = await jarvis.run(action, keepalive=60)
            assert (task.status, task.data, task.attempts) == (*end, 1)

    trio.run(main)  # real time: virtual time would not wait for the thread


def test_what_was_declared_stands() -> None:
    """SPEC 4.6: an action that swallows the signal cannot take it back."""
    again: list[str] = []

    async def action() -> str:
        try:
            success("declared")
        except BaseException:
            again.append("swallowed")
        for signal in (keepalive, lambda: update_data(2), success, failure):
            try:
                signal()
            except BaseException as error:
                again.append(type(error).__name__)
        return "returned"

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action)
        assert (task.status, task.data) == ("success", "declared")

    run_with(main)
    assert again == ["swallowed"] + ["TaskEnded"] * 4


def test_what_was_declared_stands_after_silence() -> None:
    """SPEC 4.6: so does it if the action then hangs."""

    async def action() -> None:
        try:
            failure("declared")
        except BaseException:
            await trio.sleep_forever()

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action)
        assert (task.status, task.data, task.attempts) == ("failure", "declared", 1)

    run_with(main)


def test_a_later_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 4.6: an error after the declaration changes nothing, and does not vanish."""

    async def action() -> None:
        try:
            success("declared")
        finally:
            raise Sulk("late")

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(action)).data == "declared"

    run_with(main)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "late" in record.getMessage()


def test_current_task() -> None:
    """SPEC 4.7: its id, "unspecified", and the state as data; also in children."""
    seen: list[Task[object]] = []

    async def action() -> None:
        update_data("state")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        assert await trio.to_thread.run_sync(current_task) == current_task()

    async def child() -> None:
        seen.append(current_task())

    async def main() -> None:
        async with start_majordomo() as jarvis:
            assert is_success(await jarvis.run(action, id="x", keepalive=60))

    trio.run(main)
    assert seen == [Task("state", id="x", status="unspecified")]


@pytest.mark.parametrize(
    "signal",
    [
        keepalive,
        success,
        failure,
        current_task,
        current_task_data,
        lambda: update_data(1),
        TaskState(int).get,
        lambda: TaskState(int).update(1),
    ],
)
def test_outside_an_action(signal: Callable[[], object]) -> None:
    """SPEC 4.7: there is no current task outside an action."""
    with pytest.raises(NoCurrentTask, match="inside an action"):
        signal()


# Fences


def test_a_leftover_of_an_attempt_is_stopped() -> None:
    """SPEC 4.8: it raises in its caller, and changes nothing."""
    refused: list[str] = []

    async def leftover(go: trio.Event) -> None:
        await go.wait()
        for signal in (
            keepalive,
            lambda: update_data("stale"),
            lambda: success("stale"),
            lambda: failure("stale"),
            current_task,
        ):
            try:
                signal()
            except AttemptOver as error:
                refused.append(str(error))

    async def main(jarvis: Majordomo) -> None:
        async with trio.open_nursery() as nursery:
            go = trio.Event()

            async def action() -> object:
                if current_task().attempts == 1:
                    update_data("first")
                    nursery.start_soon(leftover, go)
                    raise Sulk
                go.set()
                await trio.sleep(1)
                return current_task_data()

            task = await jarvis.run(action, id="x")
            assert (task.data, task.attempts) == ("first", 2)

    run_with(main)
    assert refused == ["attempt 1 of x is over"] * 5


def test_cleanup_may_save_and_a_ping_revives_nothing() -> None:
    """SPEC 4.8: until the worker has ended, `update_data` saves."""

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            keepalive()
            update_data("saved in cleanup")
            await trio.lowlevel.checkpoint()
            update_data("not reached")

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, retries=0)
        assert (task.status, task.data) == ("timeout", "saved in cleanup")

    run_with(main)


# Cancelled is no failure


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_leaves_the_block(fatal: type[BaseException]) -> None:
    """SPEC 4.9: it is not retried and not made into data; what runs is cancelled."""
    channels: list[ResultChannel[None]] = []
    attempts: list[str] = []

    async def action() -> None:
        attempts.append("started")
        await trio.lowlevel.checkpoint()
        raise fatal("now")

    async def main(jarvis: Majordomo) -> None:
        channels.append(jarvis.add_task(trio.sleep_forever))
        channels.append(jarvis.add_task(action))
        await trio.sleep_forever()

    with pytest.raises(fatal, match="now"):
        run_with(main)
    assert attempts == ["started"]

    async def look() -> list[str]:
        return [(await channel.receive()).status for channel in channels]

    assert run(look) == ["cancelled", "cancelled"]


def test_several_of_them_come_in_a_group() -> None:
    """SPEC 4.9: none of them is lost."""

    async def action(fatal: BaseException) -> None:
        try:
            await trio.sleep(1)
        finally:
            raise fatal

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(action, KeyboardInterrupt())
        jarvis.add_task(action, SystemExit(3))

    with pytest.raises(BaseExceptionGroup) as caught:
        run_with(main)
    kinds = {type(error) for error in caught.value.exceptions}
    assert kinds == {KeyboardInterrupt, SystemExit}


def test_a_failure_beside_a_fatal_one_in_a_nursery() -> None:
    """SPEC 4.9: the fatal part of a group leaves the block."""

    async def raise_it(error: BaseException) -> None:
        raise error

    async def action() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_it, Sulk())
            nursery.start_soon(raise_it, SystemExit(3))

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(action)

    with pytest.raises(BaseExceptionGroup) as caught:
        run_with(main)
    assert caught.group_contains(SystemExit, match="3")


def test_a_failure_beside_a_fatal_one_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SPEC 4.9: it can't be the result of a task that ends as cancelled."""

    async def raise_it(error: BaseException) -> None:
        raise error

    async def action() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_it, Sulk("beside"))
            nursery.start_soon(raise_it, KeyboardInterrupt())

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(action)

    with pytest.raises(BaseExceptionGroup):
        run_with(main)
    assert "Sulk('beside')" in caplog.messages[-1]


def test_cancelled_from_outside_is_not_swallowed() -> None:
    """SPEC 4.9, 7.1: it goes on to the scope that asked for it."""
    ends: list[str] = []

    async def action(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(name)

    async def main() -> list[str]:
        channels: list[ResultChannel[None]] = []
        with trio.move_on_after(1) as scope:
            async with start_majordomo() as jarvis:
                channels += [jarvis.add_task(action, name) for name in "ab"]
        assert scope.cancelled_caught
        return [(await channel.receive()).status for channel in channels]

    assert run(main) == ["cancelled", "cancelled"]
    assert sorted(ends) == ["a", "b"]


def test_a_failure_and_a_cancellation_at_once() -> None:
    """SPEC 4.9: the failure is the result, and the cancellation goes on."""

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Sulk

    async def action() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            await trio.lowlevel.checkpoint()

    async def main() -> TaskResult[None]:
        channels: list[ResultChannel[None]] = []
        with trio.move_on_after(1) as scope:
            async with start_majordomo() as jarvis:
                channels.append(jarvis.add_task(action))
        assert scope.cancelled_caught
        return await channels[0].receive()

    task = run(main)
    assert task.status == "failure"
    assert task.attempts == 1
    with pytest.raises(TaskFailed) as caught:
        task.result()
    cause: object = caught.value.__cause__
    assert repr(cause) == "ExceptionGroup('Exceptions from Trio nursery', [Sulk()])"


def test_an_error_while_it_is_cut_off_is_a_raise() -> None:
    """SPEC 4.2, 4.3: it is not masked by the timeout, and it says when it was raised."""

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Sulk("in cleanup")

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, retries=1)
        assert (task.status, task.attempts) == ("failure", 2)
        assert isinstance(task.data, Sulk)
        note = "raised while it was cut off: no sign of life for 5 s"
        assert task.data.__notes__ == [note]

    run_with(main)


def test_who_still_waits_is_cut_off() -> None:
    """SPEC 4.11: even if the wait would have ended in the instant of the deadline."""

    async def action() -> str:
        await trio.sleep(1)
        return "just in time"

    async def main(jarvis: Majordomo) -> None:
        for _ in range(20):  # whatever order Trio runs its tasks in
            task = await jarvis.run(action, keepalive=1, retries=0)
            assert is_timeout(task)

    run_with(main)


def test_who_returns_has_returned() -> None:
    """SPEC 4.11: although it was cancelled."""

    async def action() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return "returned"

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action, keepalive=1, retries=0)
        assert (task.status, task.data) == ("success", "returned")
        assert (await jarvis.run(value, 1)).data == 1  # with the same worker

    run_with(main, max_workers=1)


# Typed state, and contexts


def test_task_state() -> None:
    """SPEC 4.12: `initial()` on a first attempt, then what was saved."""
    progress = TaskState(list[int])

    async def action() -> list[int]:
        progress.update([*progress.get(), len(progress.get())])
        if len(progress.get()) < 3:
            raise Sulk
        return progress.get()

    async def saves_nothing() -> None: ...

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(action)
        assert task.data == progress.of(task) == [0, 1, 2]
        assert progress.of(await jarvis.run(saves_nothing)) is None
        assert repr(progress) == "TaskState(list)"

    run_with(main)


variable = contextvars.ContextVar("variable", default="default")


def test_the_context_is_that_of_add_task() -> None:
    """SPEC 7.4: for all attempts, queued or not; each has a fresh copy."""
    seen: list[str] = []

    async def action() -> None:
        seen.append(variable.get())
        variable.set("changed by an attempt")
        raise Sulk

    async def main(jarvis: Majordomo) -> None:
        variable.set("at add_task")
        first = jarvis.add_task(trio.sleep, 1)
        queued = jarvis.add_task(action, retries=2)
        variable.set("later")
        await first.receive()
        await queued.receive()
        assert variable.get() == "later"

    run_with(main, max_workers=1)
    assert seen == ["at add_task"] * 3


def test_a_context_of_ones_own() -> None:
    """SPEC 2: the option `context=`."""
    context = contextvars.copy_context()
    context.run(variable.set, "given")

    async def action() -> str:
        return variable.get()

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(action, context=context)
        context.run(variable.set, "too late")
        assert await channel.result() == "given"

    run_with(main)
