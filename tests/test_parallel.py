"""Parallel tasks: their subtasks, status and end."""

from __future__ import annotations

import pytest
import trio

from majordomo2 import (
    Majordomo,
    TaskFailed,
    current_task,
    is_mixed,
    is_timeout,
    job,
    success,
    update_data,
)
from virtual import run_with


class Sulk(Exception):
    """Raised by actions."""


async def act(order: str) -> str:
    """Does what its argument says."""
    update_data(f"saved {order}")
    match order:
        case "raise":
            raise Sulk(order)
        case "hang":
            await trio.sleep_forever()
        case _:
            await trio.sleep(len(order))
    return order


def test_one_subtask_per_argument() -> None:
    """SPEC 6.1, 3.3: the data in argument order, whoever ends first; at once."""

    async def main(jarvis: Majordomo) -> None:
        start = trio.current_time()
        task = await jarvis.run(job(act, "aaa", "b", "cc", parallel=True, id="x"))
        assert (task.id, task.status, task.data) == ("x", "success", ["aaa", "b", "cc"])
        assert trio.current_time() - start == 3
        assert [part.data for part in task.subtasks] == ["aaa", "b", "cc"]
        assert len({part.id for part in task.subtasks} | {"x"}) == 4
        assert task.attempts == 3

    run_with(main)


def test_add_task_returns_at_once_and_the_parent_holds_no_slot() -> None:
    """SPEC 6.1: so one worker is enough."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(job(act, *"abcde", parallel=True))
        assert not channel.done
        assert await channel.result() == list("abcde")

    run_with(main, max_workers=1)


def test_no_arguments() -> None:
    """SPEC 6.1: an empty list, success; through the pipeline too."""

    async def main(jarvis: Majordomo) -> None:
        nothing = job(act, parallel=True)
        task = await jarvis.run(nothing)
        assert (task.status, task.data, task.attempts) == ("success", [], 0)
        assert (await jarvis.run(nothing.post(len))).data == 0

    run_with(main)


def test_each_subtask_has_the_options() -> None:
    """SPEC 6.1: retries and keepalive are the subtask's own; attempts are summed."""
    seen: list[tuple[str, int]] = []

    async def flaky(name: str) -> str:
        seen.append((name, current_task().attempts))
        if name == "b" and current_task().attempts < 3:
            raise Sulk
        return name

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(job(flaky, "a", "b", parallel=True, retries=2))
        assert (task.data, task.attempts) == (["a", "b"], 4)

    run_with(main)
    assert sorted(seen) == [("a", 1), ("b", 1), ("b", 2), ("b", 3)]


def test_mixed() -> None:
    """SPEC 6.2: the data are the successes only, and go through the pipeline."""

    async def main(jarvis: Majordomo) -> None:
        work = job(act, "b", "raise", "a", "hang", parallel=True, retries=0)
        task = await jarvis.run(work.sort())
        assert is_mixed(task)
        assert task.data == ["a", "b"]
        statuses = [part.status for part in task.subtasks]
        assert statuses == ["success", "failure", "success", "timeout"]
        with pytest.raises(TaskFailed) as caught:
            task.result()
        assert repr(caught.value.__cause__).endswith("failed', [Sulk('raise')])")

    run_with(main)


@pytest.mark.parametrize(
    ("orders", "status"),
    [("hang hang", "timeout"), ("hang raise", "failure"), ("raise raise", "failure")],
)
def test_none_succeeded(orders: str, status: str) -> None:
    """SPEC 6.2: timeout if all timed out, else failure; data is the list of theirs."""

    async def main(jarvis: Majordomo) -> None:
        work = job(act, orders.split(), parallel=True, unwrap=True, retries=0)
        task = await jarvis.run(work.post(lambda data: [*data, "not reached"]))
        assert task.status == status
        assert task.data == [part.data for part in task.subtasks]
        assert task.state == task.data
        for part, order in zip(task.subtasks, orders.split(), strict=True):
            assert part.state == f"saved {order}"

    run_with(main)


def test_salvage_of_a_parent() -> None:
    """SPEC 5.3: it is given the list of the subtasks' data, and only once."""
    given_states: list[object] = []

    def salvage(state: object) -> list[str]:
        given_states.append(state)
        return ["salvaged"]

    async def main(jarvis: Majordomo) -> None:
        work = job(act, "hang", "hang", parallel=True, retries=0).salvage(salvage)
        task = await jarvis.run(work)
        assert is_timeout(task)
        assert task.data == ["salvaged"]
        assert task.state == ["saved hang", "saved hang"]

    run_with(main)
    assert given_states == [["saved hang", "saved hang"]]


def test_cancel_a_parallel_task() -> None:
    """SPEC 7.5: its subtasks are cancelled, queued and running; it ends when they do."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(job(act, "a", "hang", "never", parallel=True))
        await trio.sleep(2)
        channel.cancel()
        task = await channel.receive()
        assert task.status == "cancelled"
        statuses = [part.status for part in task.subtasks]
        assert statuses == ["success", "cancelled", "cancelled"]
        assert task.data == ["a", "saved hang", {}]
        assert task.attempts == 2

    run_with(main, max_workers=1)


def test_stop_with_parallel_tasks() -> None:
    """SPEC 7.2: their channels yield too, and no finished subtask is lost."""

    async def main(jarvis: Majordomo) -> None:
        work = job(act, "a", "hang", parallel=True).post(list)
        channels = [jarvis.add_task(work) for _ in range(3)]
        await trio.sleep(2)
        jarvis.stop()
        tasks = [await channel.receive() for channel in channels]
        assert [task.status for task in tasks] == ["cancelled"] * 3
        assert tasks[0].subtasks[0].data == "a"

    run_with(main, max_workers=4)


def test_the_ids_inside() -> None:
    """SPEC 6.1: each subtask is a task of its own to `current_task`."""

    async def name(_: int) -> str:
        return current_task().id

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(job(name, 1, 2, 3, parallel=True))
        assert task.data == [part.id for part in task.subtasks]

    run_with(main)


def test_success_inside_a_subtask() -> None:
    """SPEC 6.1, 4.6: it ends that subtask alone."""

    async def action(number: int) -> int:
        if number == 1:
            success(10)
        await trio.sleep(1)
        return number

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(job(action, 1, 2, parallel=True))).data == [10, 2]

    run_with(main)
