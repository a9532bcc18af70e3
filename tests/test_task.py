"""Tasks and jobs as values: what they hold, how they compare, what `result` raises."""

from __future__ import annotations

import copy
import dataclasses
import operator
import pickle
import sys
from collections.abc import Callable
from typing import get_args

import pytest

from majordomo2 import (
    Job,
    Majordomo,
    Task,
    TaskCancelled,
    TaskFailed,
    TaskRejected,
    TaskStatus,
    TaskTimedOut,
    current_task,
    failure,
    is_cancelled,
    is_failure,
    is_mixed,
    is_not_success,
    is_rejected,
    is_success,
    is_timeout,
    is_unspecified_status,
    job,
    update_data,
)
from support import run_job, untyped
from virtual import run_with

STATUSES: tuple[TaskStatus, ...] = get_args(TaskStatus)
PREDICATES: dict[TaskStatus, Callable[[Task[object]], bool]] = {
    "unspecified": is_unspecified_status,
    "success": is_success,
    "failure": is_failure,
    "timeout": is_timeout,
    "mixed": is_mixed,
    "rejected": is_rejected,
    "cancelled": is_cancelled,
}


def double(number: int) -> int:
    return 2 * number


def fail_odd(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def finished() -> Task[object]:
    """A task with something in each of its fields."""
    work = job(fail_odd, 1, 2, parallel=True, retries=1, runner="inline", id="both")
    return run_job(work)


# Task


def test_a_task_made_by_hand_has_defaults() -> None:
    """`Task()` has a fresh id, status "unspecified", data {}, and no history: SPEC 3.1."""
    task = Task()
    assert task.id.startswith("task-")
    assert task.id.removeprefix("task-").isdecimal()
    assert task.status == "unspecified"
    assert task.data == {}
    assert (task.attempts, task.state, task.subtasks) == (0, {}, ())


def test_a_task_holds_what_it_was_given() -> None:
    """Data by position, id and status by name; None is data like any other: SPEC 3.1."""
    task = Task([1], id="x", status="success")
    assert (task.id, task.status, task.data) == ("x", "success", [1])
    assert Task(None).data is None


def test_fresh_ids_are_unique() -> None:
    """Tasks made by hand and tasks that ran never share an id: SPEC 3.1."""

    async def body(jarvis: Majordomo) -> list[str]:
        channels = [jarvis.add_task(double, n, runner="inline") for n in range(100)]
        return [channel.id for channel in channels]

    ids = [Task().id for _ in range(100)] + run_with(body)
    ids += [Task().id for _ in range(100)]
    assert len(set(ids)) == 300


def test_defaults_are_not_shared() -> None:
    """The default data and state of two tasks are two dicts: SPEC 3.1."""
    assert Task().data is not Task().data
    assert Task().state is not Task().state


@pytest.mark.parametrize(
    "name", ["id", "status", "data", "attempts", "state", "subtasks"]
)
def test_a_task_is_frozen(name: str) -> None:
    """No field can be set or deleted: SPEC 3.1."""
    task = Task(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(task, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(task, name)
    assert task.data == 1


def test_a_task_is_slotted() -> None:
    """It has no `__dict__`, and takes no new attribute: SPEC 3.1."""
    task = Task(1)
    assert not hasattr(task, "__dict__")
    with pytest.raises(AttributeError):
        untyped(task).note = "new"


def test_a_task_can_be_made_of_a_generic_alias() -> None:
    """`Task[int](1)` works on every Python, and is a plain `Task`: SPEC 3.1."""
    task = Task[int](1, id="x")
    assert task == Task(1, id="x")
    assert type(task) is Task
    assert not hasattr(task, "__dict__")


def test_tasks_compare_by_id_status_and_data() -> None:
    """Two tasks are equal if those three are; the history is left out: SPEC 3.1, 3.3."""
    task: Task[object] = Task(1, id="x", status="success")
    same: Task[object] = Task(1, id="x", status="success")
    assert task == same
    assert task != task.set_data(2)
    assert task != task.set_id("y")
    assert task != task.set_status("failure")
    assert task != untyped(("x", "success", 1))
    ran = finished()
    assert ran == Task(ran.data, id=ran.id, status=ran.status)
    assert ran.attempts != Task().attempts


def test_tasks_hash_as_they_compare() -> None:
    """Equal tasks have equal hashes; with unhashable data there is none: SPEC 3.1."""
    one, same = Task(1, id="x"), Task(1, id="x")
    assert hash(one) == hash(same)
    assert {one, same, Task(2, id="x")} == {same, Task(2, id="x")}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Task([1]))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_task_pickles(protocol: int) -> None:
    """A pickled task comes back whole, its history too: SPEC 3.1, 3.3."""
    task = finished()
    again = pickle.loads(pickle.dumps(task, protocol))  # noqa: S301 - our own
    assert again == task
    assert type(again) is Task
    assert (again.attempts, again.state) == (task.attempts, task.state)
    assert [part.id for part in again.subtasks] == [part.id for part in task.subtasks]


def test_a_task_copies() -> None:
    """`copy.copy` and `copy.deepcopy` make equal tasks: SPEC 3.1."""
    task = Task([1], id="x")
    shallow, deep = copy.copy(task), copy.deepcopy(task)
    assert shallow == deep == task
    assert shallow.data is task.data
    assert deep.data is not task.data


def test_a_task_matches() -> None:
    """Class patterns see its fields by name, and by position id, status, data, …: SPEC 3.1."""

    def what(task: Task[object]) -> object:
        match task:
            case Task(status="timeout", state=state):
                return "timeout", state
            case Task("x", "success", data):
                return "x", data
            case Task(attempts=attempts):
                return attempts

    assert what(Task(1, status="timeout")) == ("timeout", {})
    assert what(Task(1, id="x", status="success")) == ("x", 1)
    assert what(Task(1, id="y")) == 0


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is new in 3.13")
def test_copy_replace() -> None:
    """`copy.replace` changes fields and keeps the rest: SPEC 3.1."""
    if sys.version_info >= (3, 13):  # for the type checkers
        task = finished()
        other = copy.replace(task, id="other")
        assert other == Task(task.data, id="other", status=task.status)
        assert (other.attempts, other.subtasks) == (task.attempts, task.subtasks)


def test_dataclasses_replace() -> None:
    """`dataclasses.replace` changes fields and keeps the rest, as the task was: SPEC 3.1."""
    task = finished()
    other = dataclasses.replace(task, data=[7])
    assert other == Task([7], id=task.id, status=task.status)
    assert (other.attempts, other.subtasks) == (task.attempts, task.subtasks)
    assert task.data == [2]
    with pytest.raises(ValueError, match="status must be"):
        dataclasses.replace(task, status=untyped("done"))


def test_a_task_is_a_dataclass() -> None:
    """Its fields are those that SPEC 3.1 and 3.3 name, in that order."""
    names = [each.name for each in dataclasses.fields(Task)]
    assert names == ["id", "status", "data", "attempts", "state", "subtasks"]


def test_setters_return_new_tasks() -> None:
    """`set_id`, `set_status`, `set_data`: a changed copy, the history stays: SPEC 2."""
    task = finished()
    changed = task.set_id("y").set_status("success").set_data("new")
    assert changed == Task("new", id="y", status="success")
    assert (changed.attempts, changed.subtasks) == (task.attempts, task.subtasks)
    assert (task.id, task.status, task.data) == ("both", "mixed", [2])
    assert task.set_data(None).data is None


def test_the_repr_of_a_task_shows_what_matters() -> None:
    """Id, status, data and attempts; not the state, which may be huge."""
    task = Task([1], id="x", status="success")
    assert repr(task) == "Task(id='x', status='success', data=[1], attempts=0)"


@pytest.mark.parametrize("status", STATUSES)
def test_each_predicate_is_true_for_its_status_alone(status: TaskStatus) -> None:
    """One `is_…` for each status, and `is_not_success` for all but one: SPEC 2."""
    task = Task(1, status=status)
    assert [name for name, holds in PREDICATES.items() if holds(task)] == [status]
    assert is_not_success(task) == (status != "success")


# What a finished task carries beside.


def test_a_finished_task_carries_its_history() -> None:
    """Attempts and the last state, also when the data is an exception: SPEC 3.3."""

    async def action() -> None:
        update_data(current_task().attempts)
        raise ValueError("no")

    task = run_job(job(action, retries=2))
    assert task.status == "failure"
    assert isinstance(task.data, ValueError)
    assert (task.attempts, task.state, task.subtasks) == (3, 3, ())


def test_a_parallel_task_carries_its_subtasks() -> None:
    """In argument order, each with its own status, data and attempts: SPEC 3.3, 6.1."""
    task = finished()
    assert task.status == "mixed"
    assert [part.status for part in task.subtasks] == ["failure", "success"]
    assert [part.attempts for part in task.subtasks] == [2, 1]
    assert task.attempts == 3
    assert task.subtasks[1].data == 2


# result


def test_the_result_of_a_success_is_its_data() -> None:
    """`task.result()` returns the data itself: SPEC 3.4."""
    data = [1]
    assert Task(data, status="success").result() is data


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("failure", TaskFailed),
        ("mixed", TaskFailed),
        ("unspecified", TaskFailed),
        ("timeout", TaskTimedOut),
        ("rejected", TaskRejected),
        ("cancelled", TaskCancelled),
    ],
)
def test_result_raises_for_the_rest(status: TaskStatus, kind: type[TaskFailed]) -> None:
    """Each status its class, which has the task and names it: SPEC 3.4."""
    task = Task("some data", id="the one", status=status)
    with pytest.raises(TaskFailed, match=r"the one.*" + status) as caught:
        task.result()
    assert type(caught.value) is kind
    assert caught.value.task is task
    assert caught.value.__cause__ is None


def test_the_errors_of_result_have_one_base() -> None:
    """`except TaskFailed` catches them all: SPEC 3.4."""
    for kind in (TaskTimedOut, TaskRejected, TaskCancelled):
        assert issubclass(kind, TaskFailed)
    assert issubclass(TaskFailed, Exception)


def test_the_cause_of_a_failure_is_the_actions_exception() -> None:
    """`__cause__` is what the action raised, and the message has it: SPEC 3.4."""

    async def action() -> None:
        raise ValueError("no such row")

    task = run_job(job(action, retries=0))
    with pytest.raises(TaskFailed, match=r"ValueError.*no such row") as caught:
        task.result()
    assert caught.value.__cause__ is task.data
    assert isinstance(task.data, ValueError)


def test_a_declared_failure_may_be_no_exception() -> None:
    """What `failure` was given is in the message, and is no cause: SPEC 3.4, 4.6."""

    async def action() -> None:
        failure("out of paper")

    task = run_job(job(action))
    with pytest.raises(TaskFailed, match="out of paper") as caught:
        task.result()
    assert caught.value.__cause__ is None


def test_an_exception_as_data_is_a_cause_of_a_failure_alone() -> None:
    """A timeout whose state is an exception has no cause: SPEC 3.4."""
    error = ValueError("saved")
    with pytest.raises(TaskTimedOut) as caught:
        Task(error, status="timeout").result()
    assert caught.value.__cause__ is None


def test_the_cause_of_a_mixed_task_groups_those_of_its_subtasks() -> None:
    """The failures of the subtasks are not lost in `result()`: SPEC 3.4, 6.2."""
    task = finished()
    with pytest.raises(TaskFailed) as caught:
        task.result()
    cause = untyped(caught.value.__cause__)
    assert type(cause) is ExceptionGroup
    assert untyped(cause).exceptions == (task.subtasks[0].data,)


@pytest.mark.parametrize("status", [s for s in STATUSES if s != "success"])
def test_the_errors_of_result_pickle(status: TaskStatus) -> None:
    """Class, message and task survive a pickle: SPEC 3.4."""
    with pytest.raises(TaskFailed) as caught:
        Task([1], id="x", status=status).result()
    error = caught.value
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.task == error.task


# job


def test_a_job_can_be_kept_and_run_many_times_at_once() -> None:
    """One job, three tasks, each with its own id: SPEC 3.5."""
    work = job(double, 3, runner="inline")

    async def body(jarvis: Majordomo) -> list[Task[object]]:
        channels = [jarvis.add_task(work) for _ in range(3)]
        return [await channel.receive() for channel in channels]

    tasks = run_with(body)
    assert [task.data for task in tasks] == [6, 6, 6]
    assert len({task.id for task in tasks}) == 3
    assert run_job(work).data == 6


def test_the_methods_of_a_job_return_new_ones() -> None:
    """A job is as it was after each of its methods: SPEC 3.5."""

    def numbers() -> list[int]:
        return [3, 1, 2]

    plain = job(numbers, runner="inline")
    before = repr(plain)
    derived: list[Job[list[int]]] = [
        plain.filter(lambda n: n > 1),
        plain.pre(lambda ns: [-n for n in ns]),
        plain.sort(),
        plain.sort(operator.gt),
        plain.post(lambda ns: ns[:1]),
        plain.salvage(lambda _: []),
        untyped(plain).flatten_nested_tasks(),
    ]
    datas = [run_job(each).data for each in derived]
    expected = [[3, 2], [-3, -1, -2], [1, 2, 3], [3, 2, 1], [3], [3, 1, 2], [3, 1, 2]]
    assert datas == expected
    assert run_job(plain).data == [3, 1, 2]
    assert repr(plain) == before


def test_a_job_keeps_its_arguments_apart_from_the_callers_list() -> None:
    """What is done to an unwrapped list afterwards changes no job: SPEC 3.5."""
    args = [1, 2]
    work = job(double, args, parallel=True, unwrap=True, runner="inline")
    args.append(3)
    assert run_job(work).data == [2, 4]


def test_a_job_takes_no_new_attributes() -> None:
    """Jobs are slotted: SPEC 3.5."""
    work = job(double, 3)
    assert not hasattr(work, "__dict__")
    with pytest.raises(AttributeError):
        untyped(work).retries = 3


def test_the_repr_of_a_job_shows_action_and_pipeline() -> None:
    """Enough to know it again in a log."""
    work = job(double, 1, 2, parallel=True).sort().post(sum)
    assert "double" in repr(work)
    assert "2 arguments" in repr(work)
    assert repr(work).index(".sort") < repr(work).index(".post")
