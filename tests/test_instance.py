"""Instances, their channels, and how they end."""

from __future__ import annotations

import gc
import logging
import math
import traceback
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from majordomo2 import (
    Majordomo,
    MajordomoStopped,
    ResultChannel,
    TaskCancelled,
    TaskRejected,
    TaskResult,
    current_task_data,
    is_success,
    job,
    start_majordomo,
    success,
    task_return_value,
    update_data,
)
from virtual import run, run_with


class Sulk(Exception):
    """Raised by actions and bodies."""


async def value(data: str) -> str:
    return data


async def fails() -> None:
    raise Sulk


async def saves_and_sleeps() -> None:
    update_data("saved")
    await trio.sleep(3600)


# 7.1 The block


def test_leaving_the_block_waits() -> None:
    """SPEC 7.1: for all tasks, as a nursery does; also for those added meanwhile."""
    ends: list[str] = []

    async def later(name: str) -> None:
        await trio.sleep(4)
        ends.append(name)

    async def adds(jarvis: Majordomo) -> None:
        await trio.sleep(1)
        jarvis.add_task(later, "b")

    async def main() -> None:
        async with start_majordomo(max_workers=2) as jarvis:
            jarvis.add_task(later, "a")
            jarvis.add_task(adds, jarvis)
        assert ends == ["a", "b"]

    run(main)


def test_leaving_the_block_does_not_wait_for_deadlines() -> None:
    """SPEC 7.1: an instance without tasks ends at once, whatever was watched."""

    async def main() -> None:
        start = trio.current_time()
        async with start_majordomo() as jarvis:
            await jarvis.run(value, "x", keepalive=1000)
        assert trio.current_time() == start

    run(main)


def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    """SPEC 7.1: not in a group; the tasks are cancelled, and their cleanup runs."""
    ends: list[str] = []
    channels: list[ResultChannel[None]] = []
    error = Sulk("in the body")

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            ends.append("cleaned up")

    async def main(jarvis: Majordomo) -> None:
        channels.append(jarvis.add_task(action))
        channels.append(jarvis.add_task(action))
        await trio.sleep(1)
        raise error

    with pytest.raises(Sulk) as caught:
        run_with(main, max_workers=1)
    assert caught.value is error
    assert caught.value.__context__ is None
    assert ends == ["cleaned up"]
    assert [channel.done for channel in channels] == [True, True]


def test_a_cancelled_body_comes_out_as_it_is() -> None:
    """SPEC 7.1: `Cancelled` reaches its scope, and no group is made of it."""

    async def main() -> None:
        seen: list[BaseException] = []
        with trio.move_on_after(1) as scope:
            try:
                async with start_majordomo() as jarvis:
                    jarvis.add_task(trio.sleep_forever)
                    await trio.sleep_forever()
            except BaseException as error:
                seen.append(error)
                raise
        assert scope.cancelled_caught
        assert [type(error) for error in seen] == [trio.Cancelled]

    run(main)


def test_a_group_with_a_cancellation_in_it() -> None:
    """SPEC 7.1: what else the body raised is not lost with the cancellation."""

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Sulk

    async def main() -> None:
        with trio.move_on_after(1):
            async with start_majordomo() as jarvis, trio.open_nursery() as nursery:
                jarvis.add_task(trio.sleep_forever)
                nursery.start_soon(child)
                await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(Sulk)


def test_cancelled_while_the_block_waits() -> None:
    """SPEC 7.1: then too the tasks are cancelled and the scope gets its own."""

    async def main() -> str:
        channels: list[ResultChannel[None]] = []
        with trio.move_on_after(1) as scope:
            async with start_majordomo(max_workers=1) as jarvis:
                channels += [jarvis.add_task(saves_and_sleeps) for _ in range(2)]
        assert scope.cancelled_caught
        return ", ".join([(await channel.receive()).status for channel in channels])

    assert run(main) == "cancelled, cancelled"


def test_who_waits_in_a_cancelled_block_gets_a_result() -> None:
    """SPEC 7.1, 7.2: no receiver hangs, shielded or not, whatever was queued."""

    async def main() -> None:
        with trio.CancelScope() as outer:
            async with start_majordomo(max_workers=1) as jarvis:
                channels = [jarvis.add_task(saves_and_sleeps) for _ in range(3)]
                await trio.testing.wait_all_tasks_blocked()
                outer.cancel()
                with trio.CancelScope(shield=True):
                    tasks = [await channel.receive() for channel in channels]
                    assert [task.status for task in tasks] == ["cancelled"] * 3
                    with pytest.raises(MajordomoStopped, match="from outside"):
                        jarvis.add_task(value, "too late")
        assert outer.cancelled_caught

    run(main)


def test_cleanup_that_waits_in_a_cancelled_block() -> None:
    """SPEC 7.1: an action may wait, shielded, for another task; it gets its end."""
    seen: list[str] = []

    async def action(other: list[ResultChannel[None]]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                seen.append((await other[0].receive()).status)

    async def main() -> None:
        channels: list[ResultChannel[None]] = []
        with trio.move_on_after(1):
            async with start_majordomo(max_workers=1) as jarvis:
                jarvis.add_task(action, channels)
                channels.append(jarvis.add_task(saves_and_sleeps))

    run(main)
    assert seen == ["cancelled"]


def test_no_failure_harms_a_sibling() -> None:
    """SPEC 7.1: a failed task cancels neither the others nor the instance."""

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(fails) for _ in range(3)]
        sibling = jarvis.add_task(trio.sleep, 4)
        assert [(await channel.receive()).status for channel in channels] == (
            ["failure"] * 3
        )
        assert is_success(await sibling.receive())

    run_with(main)


def test_ids_and_repr() -> None:
    """Each instance has an id, and shows its state."""

    async def main() -> None:
        async with start_majordomo(max_workers=1) as one, start_majordomo() as two:
            assert one.id != two.id
            one.add_task(trio.sleep, 1)
            one.add_task(trio.sleep, 1)
            assert repr(one) == f"<Majordomo {one.id!r} running=1 queued=1>"
            two.stop()
            assert "stopped" in repr(two)

    run(main)


def test_max_workers_holds() -> None:
    """SPEC 7.7: at most so many actions at once, in order of arrival."""
    now: set[int] = set()
    order: list[int] = []

    async def action(number: int) -> None:
        order.append(number)
        now.add(number)
        assert len(now) <= 3
        await trio.sleep(1)
        now.remove(number)

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(action, number) for number in range(50)]
        for channel in channels:
            assert is_success(await channel.receive())

    run_with(main, max_workers=3)
    # What starts in one instant starts in any order.
    for first in range(0, 50, 3):
        order[first : first + 3] = sorted(order[first : first + 3])
    assert order == list(range(50))


@pytest.mark.parametrize("number", [1, 15, 16, 17, 500])
def test_all_start_at_once_without_a_limit(number: int) -> None:
    """SPEC 7.1: tasks that wait do not hold up those behind them."""

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        channels = [jarvis.add_task(trio.sleep, 1) for _ in range(number)]
        for channel in channels:
            await channel.receive()
        assert trio.current_time() - start == 1

    run_with(main)


# 7.2 stop


def test_stop_ends_all_tasks() -> None:
    """SPEC 7.2: queued and running ones end as cancelled, with their last state."""

    async def main(jarvis: Majordomo) -> None:
        running = jarvis.add_task(saves_and_sleeps)
        queued = jarvis.add_task(saves_and_sleeps)
        await trio.testing.wait_all_tasks_blocked()
        jarvis.stop()
        jarvis.stop()
        assert queued.done
        task = await running.receive()
        assert (task.status, task.data, task.attempts) == ("cancelled", "saved", 1)
        task = await queued.receive()
        assert (task.status, task.data, task.attempts) == ("cancelled", {}, 0)
        with pytest.raises(TaskCancelled):
            await queued.result()
        with pytest.raises(MajordomoStopped, match="was stopped"):
            jarvis.add_task(value, "x")

    run_with(main, max_workers=1)


def test_stop_loses_no_result() -> None:
    """SPEC 7.2: a finished one stays, and an action that returns has returned."""

    async def shielded() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return "kept"

    async def main(jarvis: Majordomo) -> None:
        finished = jarvis.add_task(value, "early")
        running = jarvis.add_task(shielded)
        with_pipeline = jarvis.add_task(job(shielded).post(str.upper))
        await trio.testing.wait_all_tasks_blocked()
        jarvis.stop()
        assert (await finished.receive()).data == "early"
        assert (await running.receive()).data == "kept"
        assert (await with_pipeline.receive()).data == "KEPT"

    run_with(main)


def test_stop_from_inside_an_action() -> None:
    """SPEC 7.2: it may be called from anywhere in the run."""

    async def action(jarvis: Majordomo) -> None:
        jarvis.stop()
        await trio.sleep_forever()

    async def main(jarvis: Majordomo) -> None:
        other = jarvis.add_task(trio.sleep_forever)
        assert (await jarvis.run(action, jarvis)).status == "cancelled"
        assert (await other.receive()).status == "cancelled"

    run_with(main)


def test_stop_before_a_task_has_started() -> None:
    """SPEC 7.2: who has not begun does not begin."""
    starts: list[str] = []

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(starts.append, "x", runner="inline")
        jarvis.stop()
        task = await channel.receive()
        assert (task.status, task.attempts) == ("cancelled", 0)

    run_with(main)
    assert starts == []


def test_stop_cuts_the_stage_of_a_declared_success() -> None:
    """SPEC 7.2: a task that was cancelled stays so, also if its action has its end."""

    async def declares() -> str:
        try:
            await trio.sleep_forever()
        finally:
            success("declared")

    async def slow(data: str) -> str:
        await trio.sleep(math.inf)
        return data

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(job(declares).post(slow))
        await trio.testing.wait_all_tasks_blocked()
        jarvis.stop()
        assert (await channel.receive()).status == "cancelled"

    run_with(main)


def test_stop_cuts_an_async_stage() -> None:
    """SPEC 7.2: a pipeline that waits is cancelled as an action is."""

    async def slow(data: str) -> str:
        await trio.sleep(math.inf)
        return data

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(job(value, "x").post(slow))
        await trio.testing.wait_all_tasks_blocked()
        jarvis.stop()
        assert (await channel.receive()).status == "cancelled"

    run_with(main)


# 7.3 drain


def test_drain_waits_and_takes_no_more() -> None:
    """SPEC 7.3: no new tasks, wait for those there."""

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        channels = [jarvis.add_task(trio.sleep, 4) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jarvis.drain)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(MajordomoStopped, match="was drained"):
                jarvis.add_task(value, "x")
        assert trio.current_time() - start == 12
        assert all(channel.done for channel in channels)
        await jarvis.drain()

    run_with(main, max_workers=1)


@pytest.mark.parametrize("grace", [0, 2.5])
def test_drain_stops_after_its_grace(grace: float) -> None:
    """SPEC 7.3: after `grace` seconds, stop."""

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        channel = jarvis.add_task(trio.sleep_forever, keepalive=math.inf)
        queued = jarvis.add_task(value, "x")
        await jarvis.drain(grace)
        assert trio.current_time() - start == grace
        assert (await channel.receive()).status == "cancelled"
        assert (await queued.receive()).status == "cancelled"

    run_with(main, max_workers=1)


def test_drain_waits_for_cleanup() -> None:
    """SPEC 7.3: when it returns, nothing runs any more."""

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        channel = jarvis.add_task(action)
        await jarvis.drain(1)
        assert channel.done
        assert trio.current_time() - start == 4

    run_with(main)


def test_drain_inside_an_action_of_the_instance() -> None:
    """SPEC 7.3: it would wait for itself; in another's it may."""

    async def drains(jarvis: Majordomo) -> None:
        await jarvis.drain()

    async def main() -> None:
        async with start_majordomo() as one, start_majordomo() as two:
            task = await one.run(drains, one, retries=0, id="drainer")
            assert isinstance(task.data, RuntimeError)
            assert "drain() was called inside drainer" in str(task.data)
            assert is_success(await one.run(drains, two))

    run(main)


def test_drain_inside_a_stage() -> None:
    """SPEC 7.3: a stage works for its task, which drain would wait for."""

    async def main(jarvis: Majordomo) -> None:
        async def stage(data: str) -> str:
            await jarvis.drain()
            return data

        task = await jarvis.run(job(value, "x", id="x").post(stage))
        assert isinstance(task.data, RuntimeError)
        assert "drain() was called inside x" in str(task.data)

    run_with(main)


def test_drain_inside_an_instance_inside_an_action() -> None:
    """SPEC 7.3: an action of the inner instance works for the outer one's too."""

    async def main(jarvis: Majordomo) -> None:
        async def opens_another() -> None:
            async with start_majordomo() as inner:
                await inner.get_task_data(jarvis.drain, retries=0)

        task = await jarvis.run(opens_another, retries=0, id="outer")
        assert "drain() was called inside outer" in repr(task.data)

    run_with(main)


def test_drain_from_a_thread_of_an_action() -> None:
    """SPEC 7.3: nor may its thread wait for itself."""

    def action(jarvis: Majordomo) -> None:
        trio.from_thread.run(jarvis.drain)

    async def main() -> None:
        async with start_majordomo() as jarvis:
            task = await jarvis.run(action, jarvis, retries=0, id="threaded")
            assert "drain() was called inside threaded" in repr(task.data)

    trio.run(main)


# 7.5, 7.6 Channels


def test_every_receiver_gets_the_same_task() -> None:
    """SPEC 7.5: any number of times, before and after the end."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(saves_and_sleeps, keepalive=math.inf)
        received: list[TaskResult[None]] = []

        async def receiver() -> None:
            received.append(await channel.receive())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(receiver)
            await trio.testing.wait_all_tasks_blocked()
            shown = [(channel.done, repr(channel))]
        received.append(await channel.receive())
        shown.append((channel.done, repr(channel)))
        assert shown == [
            (False, f"<ResultChannel {channel.id!r} pending>"),
            (True, f"<ResultChannel {channel.id!r} success>"),
        ]
        assert all(task is received[0] for task in received)

    run_with(main)


def test_receive_is_a_checkpoint() -> None:
    """SPEC 7.5: also when the result is there."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(value, "x")
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await channel.receive()
        with trio.testing.assert_checkpoints():
            await channel.result()
        with trio.testing.assert_checkpoints():
            await jarvis.run(value, "x")
        with trio.testing.assert_checkpoints():
            await jarvis.drain()
        with trio.testing.assert_checkpoints():
            await jarvis.drain(0)

    run_with(main)


def test_a_cancelled_receive_leaves_the_task_alone() -> None:
    """SPEC 7.6: and other receivers too."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(trio.sleep, 3)
        with trio.move_on_after(1) as scope:
            await channel.receive()
        assert scope.cancelled_caught
        assert is_success(await channel.receive())

    run_with(main)


def test_cancel_one_task() -> None:
    """SPEC 7.5: running or queued; a task that has ended is left as it is."""

    async def main(jarvis: Majordomo) -> None:
        first = jarvis.add_task(saves_and_sleeps)
        second = jarvis.add_task(saves_and_sleeps)
        third = jarvis.add_task(value, "third")
        await trio.testing.wait_all_tasks_blocked()
        second.cancel()
        assert second.done
        first.cancel()
        first.cancel()
        assert not first.done
        task = await first.receive()
        assert (task.status, task.data, task.attempts) == ("cancelled", "saved", 1)
        assert await third.result() == "third"
        third.cancel()
        assert await third.result() == "third"

    run_with(main, max_workers=1)


def test_cancel_beats_a_timeout_that_is_under_way() -> None:
    """SPEC 7.5: a task that was cancelled is not restarted."""

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(action, keepalive=1)
        await trio.sleep(2)
        channel.cancel()
        task = await channel.receive()
        assert (task.status, task.attempts) == ("cancelled", 1)

    run_with(main)


def test_cancel_lets_no_failure_vanish() -> None:
    """SPEC 7.5, 4.2: what a cancelled action raises is its result; no restart."""

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Sulk

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(action)
        await trio.testing.wait_all_tasks_blocked()
        channel.cancel()
        task = await channel.receive()
        assert (task.status, task.attempts) == ("failure", 1)

    run_with(main)


@pytest.mark.parametrize("name", ["run", "get_task_data"])
def test_a_cancelled_caller_cancels_the_task(name: str) -> None:
    """SPEC 7.6: of `run` and `get_task_data`, which end only when the action has."""
    ends: list[str] = []

    async def action() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            ends.append("ended")

    async def main(jarvis: Majordomo) -> None:
        with trio.move_on_after(1) as scope:
            await (jarvis.run if name == "run" else jarvis.get_task_data)(action)
        assert scope.cancelled_caught
        assert ends == ["ended"]

    run_with(main)


def test_get_task_data() -> None:
    """SPEC 7.6: the data of a success; an exception for the rest."""

    async def main(jarvis: Majordomo) -> None:
        assert await jarvis.get_task_data(value, "x") == "x"
        with pytest.raises(Exception, match="ended as 'failure'") as caught:
            await jarvis.get_task_data(fails, retries=0)
        assert isinstance(caught.value.__cause__, Sulk)

    run_with(main)


def test_task_return_value() -> None:
    """SPEC 2: a channel that yields a success; it needs no instance."""
    channel = task_return_value(("any", "value"))
    assert channel.done

    async def main() -> None:
        task = await channel.receive()
        assert (task.status, task.data, task.attempts) == (
            "success",
            ("any", "value"),
            1,
        )
        channel.cancel()
        assert await channel.result() == ("any", "value")

    run(main)


# 7.8 Names


def test_a_second_task_of_a_name_is_rejected() -> None:
    """SPEC 7.8: while the first is queued or running; then the name is free again."""

    async def main(jarvis: Majordomo) -> None:
        first = jarvis.add_task(trio.sleep, 1, id="x")
        second = jarvis.add_task(value, "second", id="x")
        assert (first.id, second.id, second.done) == ("x", "x", True)
        task = await second.receive()
        assert (task.status, task.data, task.attempts) == ("rejected", {}, 0)
        with pytest.raises(TaskRejected):
            await second.result()
        assert is_success(await first.receive())
        assert await jarvis.get_task_data(value, "third", id="x") == "third"
        assert (await jarvis.run(job(value, "a", parallel=True, id="x"))).id == "x"

    run_with(main)


def test_a_fresh_name_is_a_name_too() -> None:
    """SPEC 7.8: one that was not given is refused to others all the same."""

    async def main(jarvis: Majordomo) -> None:
        running, queued = (jarvis.add_task(trio.sleep, 1) for _ in range(2))
        for channel in (running, queued):
            task = await jarvis.run(value, "x", id=channel.id)
            assert task.status == "rejected"
        await queued.receive()
        assert await jarvis.get_task_data(value, "x", id=queued.id) == "x"

    run_with(main, max_workers=1)


def test_a_name_is_held_over_restarts_and_pipelines() -> None:
    """SPEC 7.8: until the task has ended."""

    async def slow_post(data: None) -> None:
        await trio.sleep(1)

    async def flaky() -> None:
        if current_task_data() == {}:
            update_data("again")
            await trio.sleep(1)
            raise Sulk

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(job(flaky, id="x").post(slow_post))
        for _ in range(3):
            await trio.sleep(0.5)
            assert (await jarvis.run(value, "y", id="x")).status == "rejected"
        assert is_success(await channel.receive())

    run_with(main)


# Results that nobody received, and the log


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_failure_that_nobody_received_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SPEC 7.5: as an error, when the last one who could ask for it is gone."""

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(fails, retries=0, id="x")

    run_with(main)
    gc.collect()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "ERROR"]
    message = caplog.records[1].getMessage()
    assert message.startswith("the result of x was never received: it ended as failure")
    assert caplog.records[1].exc_info is not None


@pytest.mark.parametrize("how", ["receive", "wait", "run"])
def test_a_failure_that_was_received_is_not(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SPEC 7.5: received once, before or after the end, is enough."""

    async def main(jarvis: Majordomo) -> None:
        if how == "run":
            await jarvis.run(fails, retries=0)
            return
        channel = jarvis.add_task(fails, retries=0)
        if how == "receive":
            await trio.testing.wait_all_tasks_blocked()
        await channel.receive()

    run_with(main)
    gc.collect()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("action", [fails, trio.sleep_forever])
def test_a_receiver_that_gave_up_has_received_nothing(
    action: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """SPEC 7.5: the failure, or the timeout, is logged as one that nobody received."""

    async def slow() -> None:
        await trio.sleep(2)
        await action()

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(slow, retries=0)
        with trio.move_on_after(1):
            await channel.receive()

    run_with(main)
    gc.collect()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


def test_a_handler_that_raises_loses_no_task(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SPEC 7.2, 11.1: every task ends, whatever becomes of what is logged of it."""

    def broken(record: logging.LogRecord) -> None:
        raise ValueError(f"can't write {record.name}")

    handler, logger = logging.Handler(), logging.getLogger("majordomo2")
    handler.emit = broken  # type: ignore[method-assign]
    caplog.set_level(logging.INFO, "majordomo2")
    monkeypatch.setattr(logger, "handlers", [handler])

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(fails, retries=1)).attempts == 2
        assert (await jarvis.run(trio.sleep_forever, retries=1)).attempts == 2

    run_with(main)
    assert capsys.readouterr().err.count("ValueError: can't write majordomo2") == 4


def test_the_log_of_a_parallel_task(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 11.1: it ends too, and says how many of its subtasks did not succeed."""

    async def rejects(number: int) -> None:
        raise Sulk(number)

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(job(rejects, 1, 2, parallel=True, retries=0, id="x"))

    run_with(main)
    name = rejects.__qualname__
    end = f"x ({name}) ended as failure: 2 of 2 subtasks did not succeed"
    assert caplog.messages[-1] == end


def test_the_traceback_in_the_log_begins_in_the_action(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SPEC 11.1: what runs it would only hide it."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(fails, retries=0)

    run_with(main)
    [record] = caplog.records
    assert record.exc_info is not None
    frames = traceback.extract_tb(record.exc_info[2])
    assert [frame.name for frame in frames] == ["fails"]


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 11.1: restarts INFO, final failures and timeouts WARNING with the cause."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(fails, retries=1, id="f")
        await jarvis.run(trio.sleep_forever, retries=1, id="t")
        await jarvis.run(value, "x")

    with caplog.at_level(logging.INFO, "majordomo2"):
        run_with(main)
    assert messages(caplog) == [
        ("INFO", "f (fails): attempt 1 of 2 failed, restarting: Sulk()"),
        ("WARNING", "f (fails) ended as failure in attempt 2: Sulk()"),
        (
            "INFO",
            "t (sleep_forever): attempt 1 of 2 failed, restarting: no sign of life for 5 s",
        ),
        (
            "WARNING",
            "t (sleep_forever) ended as timeout in attempt 2: no sign of life for 5 s",
        ),
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [0, 1, 0, 0]


def test_endless_retries_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 11.1: how many attempts there may be is said, also if there is no limit."""

    async def action() -> None:
        if current_task_data() == {}:
            update_data("again")
            raise Sulk
        success("enough")

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(action, retries=math.inf, id="x")

    with caplog.at_level(logging.INFO, "majordomo2"):
        run_with(main)
    assert messages(caplog) == [
        (
            "INFO",
            f"x ({action.__qualname__}): attempt 1 of ∞ failed, restarting: Sulk()",
        )
    ]
