"""flatten > filter > pre > sort > post, and salvage; parallel and unwrapped jobs."""

from __future__ import annotations

import contextvars
import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from itertools import combinations
from threading import get_ident

import pytest
import trio
from hypothesis import assume, given, settings, strategies as st

from majordomo2 import (
    Job,
    Majordomo,
    NoCurrentTask,
    PipelineOrderError,
    Task,
    TaskResult,
    current_task,
    failure,
    flatten_nested_tasks,
    job,
    start_majordomo,
    success,
    update_data,
)
from strategies import (
    LessThan,
    StageCall,
    flavours,
    items,
    less_thans,
    nested,
    numbered,
    small,
    stage_calls,
    stage_names,
)
from support import (
    FLAVOURS,
    flavoured,
    is_list,
    is_task,
    run_job,
    untyped,
)
from virtual import run_with

ORDER = ["flatten_nested_tasks", "filter", "pre", "sort", "post"]
SUBSETS = [names for size in range(6) for names in combinations(ORDER, size)]
quick = settings(max_examples=20, deadline=None, derandomize=True)
thorough = settings(quick, max_examples=100)


async def answer(value: object) -> object:
    return value


async def silence() -> None:
    """Saves its state and never comes back."""
    update_data([3, 1, 2])
    await trio.sleep_forever()


async def error() -> None:
    update_data([3, 1, 2])
    raise ValueError("no")


def data_after(value: object, *calls: Callable[[Job[object]], object]) -> object:
    """The data of a task that returned `value`, after these stages."""
    work: object = job(answer, value)
    for call in calls:
        work = call(untyped(work))
    return run_job(untyped(work)).result()


def say(work: object, name: str, f: Callable[..., object]) -> Job[object]:
    """The job with one more stage, whose function is `f`."""
    method = getattr(work, name)
    said: Job[object] = method(key=f) if name == "sort" else method(f)
    return said


def same(value: object) -> object:
    return value


def empty() -> Job[list[object]]:
    return job(nothing)


async def nothing() -> list[object]:
    return []


# The order of the stages


@pytest.mark.parametrize("names", SUBSETS, ids=" ".join)
@given(value=items, data=st.data())
@quick
def test_a_pipeline_is_the_composition_of_its_stages(
    names: tuple[str, ...], value: list[object], data: st.DataObject
) -> None:
    """Any subset of the stages, each once or twice, async or plain: SPEC 5.1, 5.2."""
    calls: list[StageCall] = []
    for name in names:
        times = 1 if name == "flatten_nested_tasks" else 2
        calls += data.draw(st.lists(stage_calls[name], min_size=1, max_size=times))
    expected = value
    for call in calls:
        expected = call.apply(expected)
    assert data_after(value, *(call.say for call in calls)) == expected


@given(names=st.lists(stage_names, max_size=6))
@thorough
def test_any_other_order_is_refused(names: list[str]) -> None:
    """A call that comes after a later stage's names itself and where to go: SPEC 5.1."""
    work: object = empty()
    said: list[str] = []
    for name in names:
        late = [other for other in said if ORDER.index(other) > ORDER.index(name)]
        if late:
            with pytest.raises(PipelineOrderError) as caught:
                _with(work, name)
            assert f"move .{name}() before .{late[0]}()" in str(caught.value)
            assert " > ".join(ORDER) in str(caught.value)
        else:
            work = _with(work, name)
            said.append(name)
    # What was refused changed nothing.
    stages = "".join(f".{name}(...)" for name in said)
    assert repr(work) == f"<Job nothing, 0 arguments{stages}>"


def _with(work: object, name: str) -> object:
    if name == "flatten_nested_tasks":
        return untyped(work).flatten_nested_tasks()
    return say(work, name, bool)


@pytest.mark.parametrize(("first", "second"), list(combinations(ORDER, 2)))
def test_each_pair_has_one_order(first: str, second: str) -> None:
    """Of any two stages one comes first; `PipelineOrderError` is a TypeError: SPEC 5.1."""
    plain = empty()
    _with(_with(plain, first), second)
    late = _with(plain, second)
    with pytest.raises(TypeError, match=rf"\.{first}\(\) was called after \.{second}"):
        _with(late, first)


def test_one_stage_called_twice_composes() -> None:
    """The first call's function comes first: SPEC 5.1."""
    assert data_after([1, 2, 3], lambda work: untyped(work).pre(sum).pre(str)) == "6"
    assert data_after("abc", lambda work: untyped(work).post(list).post(len)) == 3


def test_salvage_may_be_said_anywhere() -> None:
    """It is no stage: it has no place in their order: SPEC 5.3."""
    empty().salvage(str).post(str).salvage(str)


def test_a_stage_runs_once_although_there_were_restarts() -> None:
    """The pipeline runs when the task ends, not after each attempt: SPEC 5.1."""
    seen: list[object] = []

    async def third_time() -> int:
        if current_task().attempts < 3:
            raise ValueError("not yet")
        return 7

    task = run_job(job(third_time, retries=5).pre(seen.append))
    assert (task.status, task.attempts) == ("success", 3)
    assert seen == [7]


def test_declared_data_goes_through_the_pipeline() -> None:
    """`success(x)` is data as good as a returned one: SPEC 4.6, 5.1."""

    async def declared() -> list[int]:
        success([2, 1])

    assert run_job(job(declared).sort()).data == [1, 2]


# filter, pre, post


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_filter_keeps_what_is_true(flavour: str) -> None:
    """Whatever is true counts, not `True` alone: SPEC 5.2."""
    keep = flavoured(same, flavour)
    found = data_after(
        [0, 1, "", "a", None, [], [0]], lambda work: say(work, "filter", keep)
    )
    assert found == [1, "a", [0]]


def one_two_three() -> Iterator[int]:
    yield from (1, 2, 3)


@pytest.mark.parametrize(
    "data",
    [
        [1, 2, 3],
        (1, 2, 3),
        {1: "a", 2: "b", 3: "c"},
        {1, 2, 3},
        range(1, 4),
        one_two_three,
    ],
    ids=lambda data: type(data).__name__,
)
@pytest.mark.parametrize("name", ["filter", "sort"])
def test_filter_and_sort_take_any_iterable(name: str, data: object) -> None:
    """And make a list of it: SPEC 5.2."""
    made = data() if callable(data) else data
    found = data_after(made, lambda work: say(work, name, same))
    assert found == [1, 2, 3]
    assert type(found) is list


@pytest.mark.parametrize("name", ["filter", "sort"])
def test_filter_and_sort_leave_the_actions_list_alone(name: str) -> None:
    """They make a new list: what the action returned may be used elsewhere: SPEC 5.2."""
    mine = [3, 0, 1]
    data_after(mine, lambda work: say(work, name, same))
    assert mine == [3, 0, 1]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", ["pre", "post"])
def test_pre_and_post_map_the_whole_data(name: str, flavour: str) -> None:
    """Any data, None as well, and to any other: SPEC 5.2."""

    def pair(data: object) -> object:
        return data, data

    f = flavoured(pair, flavour)
    assert data_after(None, lambda work: say(work, name, f)) == (None, None)
    assert data_after(3, lambda work: say(work, name, f)) == (3, 3)


# sort


@given(
    rows=numbered,
    less=less_thans,
    op_flavour=flavours,
    key_flavour=st.none() | flavours,
    cache_keys=st.booleans(),
)
@settings(thorough, max_examples=300)
def test_a_sort_is_stable_and_the_textbook_one(
    rows: list[tuple[int, int]],
    less: LessThan,
    op_flavour: str,
    key_flavour: str | None,
    cache_keys: bool,
) -> None:
    """Equal to `sorted`, for any op and key, cached or not, async or plain: SPEC 5.2."""

    def compare(one: tuple[int, int], other: tuple[int, int]) -> int:
        return less.of(other[0], one[0]) - less.of(one[0], other[0])

    def first(row: tuple[int, int]) -> int:
        return row[0]

    def less_of_rows(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return less.of(one[0], other[0])

    if key_flavour is None:
        op, key = flavoured(less_of_rows, op_flavour), None
    else:
        op, key = flavoured(less.of, op_flavour), flavoured(first, key_flavour)
    found = data_after(
        rows, lambda work: untyped(work).sort(op, key=key, cache_keys=cache_keys)
    )
    assert found == sorted(rows, key=cmp_to_key(compare))


@given(rows=numbered, key_flavour=flavours, cache_keys=st.booleans())
@thorough
def test_the_default_op_is_less_than(
    rows: list[tuple[int, int]], key_flavour: str, cache_keys: bool
) -> None:
    """`.sort()` is `sorted(…)` and `.sort(key=f)` is `sorted(…, key=f)`: SPEC 5.2."""

    def last_first(row: tuple[int, int]) -> int:
        return -row[1]

    key = flavoured(last_first, key_flavour)
    plain = data_after(rows, lambda work: untyped(work).sort(cache_keys=cache_keys))
    keyed = data_after(
        rows, lambda work: untyped(work).sort(key=key, cache_keys=cache_keys)
    )
    assert plain == sorted(rows)
    assert keyed == rows[::-1]


@given(rows=numbered, less=less_thans, op_flavour=flavours, key_flavour=flavours)
@thorough
def test_cached_keys_are_computed_once(
    rows: list[tuple[int, int]], less: LessThan, op_flavour: str, key_flavour: str
) -> None:
    """`key` is called exactly once for each item: SPEC 5.2."""
    calls: Counter[tuple[int, int]] = Counter()

    def key(row: tuple[int, int]) -> int:
        calls[row] += 1
        return row[0]

    op = operator.lt if less.text == "<" else flavoured(less.of, op_flavour)
    data_after(
        rows, lambda work: untyped(work).sort(op, key=flavoured(key, key_flavour))
    )
    assert calls == Counter(rows)


@given(rows=numbered, less=less_thans, op_flavour=flavours, key_flavour=flavours)
@thorough
def test_keys_that_are_not_cached_are_computed_at_each_comparison(
    rows: list[tuple[int, int]], less: LessThan, op_flavour: str, key_flavour: str
) -> None:
    """With `cache_keys=False`, `key` is called twice for each comparison: SPEC 5.2."""
    assume(len(rows) >= 3)
    calls: Counter[tuple[int, int]] = Counter()
    compared = 0

    def key(row: tuple[int, int]) -> int:
        calls[row] += 1
        return row[0]

    def op(one: int, other: int) -> bool:
        nonlocal compared
        compared += 1
        return less.of(one, other)

    data_after(
        rows,
        lambda work: untyped(work).sort(
            flavoured(op, op_flavour),
            key=flavoured(key, key_flavour),
            cache_keys=False,
        ),
    )
    assert calls.total() >= 2 * compared > len(rows)
    assert min(calls[row] for row in rows) >= 1


@pytest.mark.parametrize("cache_keys", [True, False])
def test_items_need_no_order_of_their_own(cache_keys: bool) -> None:
    """With a key, equal keys never make the items themselves be compared: SPEC 5.2."""
    rows = [{"n": 2}, {"n": 1}, {"n": 2, "x": 0}]

    def by_n(row: dict[str, int]) -> int:
        return row["n"]

    async def action() -> list[dict[str, int]]:
        return rows

    task = run_job(job(action).sort(key=by_n, cache_keys=cache_keys))
    assert task.data == [rows[1], rows[0], rows[2]]


# flatten


def textbook(data: object) -> object:
    if is_task(data):
        return textbook(data.data)
    if is_list(data):
        return [textbook(item) for item in data]
    return data


def assert_flattened(before: object, after: object) -> None:
    """Tasks are gone, lists are where they were, everything else is the same object."""
    while is_task(before):
        before = before.data
    if is_list(before):
        assert is_list(after)
        for inner, flat in zip(before, after, strict=True):
            assert_flattened(inner, flat)
    else:
        assert after is before


def flat(task: Task[object]) -> Task[object]:
    flattened: Task[object] = untyped(flatten_nested_tasks)(task)
    return flattened


@given(data=nested)
@thorough
def test_flatten_keeps_lists_and_touches_nothing_else(data: object) -> None:
    """List nesting stays; tuples, dicts and sets are the same objects: SPEC 5.4."""
    task = Task(data, id="outer", status="mixed")
    found = flat(task)
    assert_flattened(data, found.data)
    assert (found.id, found.status) == ("outer", "mixed")
    assert found.data == textbook(data)


def test_flatten_has_no_limit_to_its_depth() -> None:
    """Lists in lists and tasks in tasks, ten thousand deep: SPEC 5.4."""
    deep: object = 1
    for _ in range(10_000):
        deep = [Task(Task(deep))]
    flat = untyped(flatten_nested_tasks)(Task(deep)).data
    for _ in range(10_000):
        [flat] = flat
    assert flat == 1


def test_a_list_that_contains_itself() -> None:
    """It has no end to come to, and says so; the same list twice is no circle: SPEC 5.4."""
    circle: list[object] = [1]
    circle.append(Task(circle))
    with pytest.raises(ValueError, match="contains itself"):
        untyped(flatten_nested_tasks)(Task(circle))
    twice = [Task(1)]
    assert untyped(flatten_nested_tasks)(Task([twice, twice])).data == [[1], [1]]


@given(data=nested)
@thorough
def test_flatten_is_idempotent(data: object) -> None:
    """Once is enough: SPEC 5.4."""
    once = flat(Task(data))
    assert flat(once) == once


@given(data=nested)
@thorough
def test_the_stage_and_the_function_flatten_alike(data: object) -> None:
    """`Job.flatten_nested_tasks()` is `flatten_nested_tasks` of the task: SPEC 2, 5.4."""
    found = data_after(data, lambda work: untyped(work).flatten_nested_tasks())
    assert_flattened(data, found)


def test_flatten_leaves_the_given_task_alone() -> None:
    """It makes a new task, and new lists: SPEC 5.4."""
    inner = [Task(1), [Task(2)]]
    task: Task[object] = Task(inner)
    assert flat(task).data == [1, [2]]
    assert task.data is inner
    assert isinstance(inner[0], Task)


# Errors in a stage


def broken(*_: object) -> object:
    raise LookupError("out of order")


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", ["filter", "pre", "sort", "post"])
def test_a_stage_that_raises_fails_the_task(
    name: str, flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its exception is the data, with a note of stage and task, and final: SPEC 5.3."""
    f = flavoured(broken, flavour)
    runs: list[int] = []

    async def action() -> list[int]:
        runs.append(1)
        update_data("saved")
        return [3, 1, 2]

    task = run_job(say(job(action, id="the one"), name, f))
    assert task.status == "failure"
    assert isinstance(task.data, LookupError)
    notes = task.data.__notes__
    assert len(notes) == 1
    assert f".{name}(" in notes[0]
    assert f.__qualname__ in notes[0]
    assert "the one" in notes[0]
    assert (len(runs), task.attempts, task.state) == (1, 1, "saved")
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert ["the one" in record.getMessage() for record in warned] == [True]


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((broken,), {}),
        ((broken,), {"key": abs}),
        ((), {"key": broken, "cache_keys": False}),
    ],
    ids=["op", "op and key", "key, not cached"],
)
def test_a_sort_that_raises_fails_the_task(
    args: tuple[object, ...], options: dict[str, object]
) -> None:
    """Whichever of its functions raised: SPEC 5.3."""
    task = run_job(untyped(job(answer, [3, 1, 2])).sort(*args, **options))
    assert task.status == "failure"
    assert isinstance(task.data, LookupError)
    assert ".sort(" in task.data.__notes__[0]


@pytest.mark.parametrize("name", ["filter", "sort"])
def test_data_that_is_no_iterable_fails_the_task(name: str) -> None:
    """The stage that wanted an iterable is in the note: SPEC 5.2, 5.3."""
    task = run_job(say(job(answer, 3), name, bool))
    assert task.status == "failure"
    assert isinstance(task.data, TypeError)
    assert f".{name}(" in task.data.__notes__[0]


def test_stages_after_a_broken_one_do_not_run() -> None:
    """The exception is no data for them: SPEC 5.3."""
    seen: list[object] = []
    task = run_job(job(answer, 3).pre(broken).pre(seen.append).post(seen.append))
    assert task.status == "failure"
    assert seen == []


def test_a_broken_stage_of_a_parallel_task_keeps_the_subtasks() -> None:
    """The statuses and values of the subtasks are not lost: SPEC 3.3, 5.3."""
    task = run_job(job(answer, 1, 2, parallel=True).post(broken))
    assert task.status == "failure"
    assert isinstance(task.data, LookupError)
    assert [part.data for part in task.subtasks] == [1, 2]


# Who goes through the pipeline


def watched(work: Job[object], seen: list[object]) -> Job[object]:
    """The job with all five stages, each of which takes a note."""

    def note(value: object) -> object:
        seen.append(value)
        return value

    flat = untyped(work).flatten_nested_tasks()
    said: Job[object] = flat.filter(note).pre(note).sort(key=note).post(note)
    return said


async def declared_failure() -> None:
    failure([1])


@pytest.mark.parametrize(
    ("action", "status"),
    [(error, "failure"), (declared_failure, "failure"), (silence, "timeout")],
)
def test_failed_and_timed_out_tasks_never_go_through(
    action: Callable[[], object], status: str
) -> None:
    """No stage sees what they left behind, so none can mask an error: SPEC 5.1, 5.3."""
    seen: list[object] = []
    task = run_job(watched(job(action, retries=1), seen))
    assert task.status == status
    assert seen == []
    if status == "timeout":
        assert task.data == [3, 1, 2]


def test_cancelled_and_rejected_tasks_never_go_through() -> None:
    """They have no data of their own: SPEC 5.1, 7.5, 7.8."""
    seen: list[object] = []
    work = watched(job(silence, id="x"), seen)

    async def body(jarvis: Majordomo) -> list[str]:
        channels = [jarvis.add_task(work), jarvis.add_task(work)]
        await trio.sleep(1)
        channels[0].cancel()
        return [(await channel.receive()).status for channel in channels]

    assert run_with(body) == ["cancelled", "rejected"]
    assert seen == []


async def fail_odd(value: int) -> int:
    if value % 2:
        raise ValueError(value)
    return value


def test_the_successes_of_a_mixed_task_go_through() -> None:
    """They alone, as a list; the status stays "mixed": SPEC 5.1, 6.2."""
    work = job(fail_odd, 4, 3, 2, parallel=True, retries=0).sort().post(str)
    task = run_job(work)
    assert (task.status, task.data) == ("mixed", "[2, 4]")
    assert [part.status for part in task.subtasks] == ["success", "failure", "success"]


def test_a_parallel_task_without_successes_never_goes_through() -> None:
    """Its data is the list of what the subtasks left behind: SPEC 5.1, 6.2."""
    seen: list[object] = []
    task = run_job(watched(job(fail_odd, 1, 3, parallel=True, retries=0), seen))
    assert task.status == "failure"
    assert [type(part) for part in untyped(task.data)] == [ValueError, ValueError]
    assert seen == []


def test_the_pipeline_belongs_to_the_parent_alone() -> None:
    """Subtasks have none; the parent's is given the list: SPEC 6.1."""
    task = run_job(job(answer, 2, 1, parallel=True).pre(lambda both: [both]))
    assert task.data == [[2, 1]]
    assert [part.data for part in task.subtasks] == [2, 1]


# salvage


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_salvage_maps_the_state_of_a_timeout(flavour: str) -> None:
    """Once, when the retries are used up; `state` is what was saved: SPEC 5.3."""
    seen: list[object] = []

    def tidy(state: object) -> object:
        seen.append(state)
        return sorted(untyped(state))

    task = run_job(job(silence, retries=2).salvage(flavoured(tidy, flavour)))
    assert (task.status, task.data, task.attempts) == ("timeout", [1, 2, 3], 3)
    assert task.state == [3, 1, 2]
    assert seen == [[3, 1, 2]]


def test_salvage_called_twice_composes() -> None:
    """The first call's function comes first: SPEC 5.1, 5.3."""
    task = run_job(job(silence, retries=0).salvage(untyped(sum)).salvage(str))
    assert task.data == "6"


def test_salvage_maps_nothing_else() -> None:
    """No success, no failure, no cancelled task: SPEC 5.3."""
    seen: list[object] = []
    assert run_job(job(answer, 7).salvage(seen.append)).data == 7
    failed = run_job(job(error, retries=1).salvage(seen.append))
    assert isinstance(failed.data, ValueError)

    async def body(jarvis: Majordomo) -> TaskResult[None]:
        channel = jarvis.add_task(job(silence).salvage(seen.append))
        await trio.sleep(1)
        channel.cancel()
        return await channel.receive()

    cancelled = run_with(body)
    assert (cancelled.status, cancelled.data) == ("cancelled", [3, 1, 2])
    assert seen == []


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_error_in_salvage_is_logged(
    flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The state and the status stay: no error masks the timeout: SPEC 5.3."""
    broken_one = flavoured(broken, flavour)
    work = job(silence, retries=0, id="the one").salvage(lambda _: "half done")
    task = run_job(work.salvage(broken_one))
    assert (task.status, task.data) == ("timeout", [3, 1, 2])
    logged = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(logged) == 1
    assert "the one" in logged[0].getMessage()
    assert logged[0].exc_info is not None
    assert logged[0].exc_info[0] is LookupError


async def silent_after(value: object) -> None:
    update_data(value)
    await trio.sleep_forever()


def test_salvage_of_a_parallel_task_is_given_the_list() -> None:
    """Its subtasks have none; a timed-out parent's gets the list of their data: SPEC 5.3."""
    seen: list[object] = []

    def total(state: object) -> object:
        seen.append(state)
        return sum(untyped(state))

    work = job(silent_after, 1, 2, parallel=True, retries=0).salvage(total)
    task = run_job(work)
    assert (task.status, task.data) == ("timeout", 3)
    assert [part.data for part in task.subtasks] == [1, 2]
    assert seen == [[1, 2]]


def test_salvage_leaves_a_mixed_task_alone() -> None:
    """Timed-out subtasks of a "mixed" task are not salvaged: SPEC 5.3, 6.2."""
    seen: list[object] = []

    async def some(value: int) -> int:
        if value:
            await trio.sleep_forever()
        return value

    task = run_job(job(some, 0, 1, parallel=True, retries=0).salvage(seen.append))
    assert (task.status, task.data) == ("mixed", [0])
    assert seen == []


# Where stages run

var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="default")
EACH = ["filter", "pre", "sort", "post", "salvage"]


def observed(name: str, f: Callable[[], object], flavour: str = "plain") -> Job[object]:
    """A job in one of whose stages `f` is called, and inside of whose action `var` is set."""

    async def action() -> list[int]:
        var.set("inside the action")
        update_data(1)
        if name == "salvage":
            await trio.sleep_forever()
        return [1]

    def stage(value: object) -> object:
        f()
        return value

    return say(job(action, retries=0), name, flavoured(stage, flavour))


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", EACH)
def test_stages_run_in_the_context_of_add_task(name: str, flavour: str) -> None:
    """Neither what the action set nor what was set later is seen: SPEC 5.2, 7.4."""
    seen: list[str] = []

    def note() -> None:
        seen.append(var.get())
        var.set("inside the stage")

    async def body(jarvis: Majordomo) -> None:
        var.set("when it was added")
        channel = jarvis.add_task(observed(name, note, flavour))
        var.set("later")
        await channel.receive()
        assert var.get() == "later"

    run_with(body)
    assert seen == ["when it was added"]


@pytest.mark.parametrize("name", EACH)
def test_stages_run_in_a_given_context(name: str) -> None:
    """`context=` holds for them too, and stays as it was: SPEC 2, 5.2."""
    context = contextvars.copy_context()
    context.run(var.set, "given")
    seen: list[str] = []

    def note(value: object) -> object:
        seen.append(var.get())
        var.set("inside the stage")
        return value

    action = silence if name == "salvage" else one_two
    run_job(say(job(action, context=context, retries=0), name, note))
    assert set(seen) == ({"given", "inside the stage"} if len(seen) > 1 else {"given"})
    assert context[var] == "given"


async def one_two() -> list[int]:
    return [1, 2]


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", EACH)
def test_stages_run_outside_of_any_action(name: str, flavour: str) -> None:
    """There is no current task in them, although an action added theirs: SPEC 4.7, 5.2."""
    caught: list[Exception] = []

    def look() -> None:
        try:
            current_task()
        except NoCurrentTask as error:
            caught.append(error)

    async def outer(jarvis: Majordomo) -> None:
        assert current_task().id == "outer"
        await jarvis.run(observed(name, look, flavour))

    async def body(jarvis: Majordomo) -> None:
        task = await jarvis.run(outer, jarvis, id="outer", keepalive=60)
        assert task.status == "success"

    run_with(body)
    assert len(caught) == 1


def test_stages_of_a_parallel_task_run_outside_of_any_action() -> None:
    """No subtask is the current task in its parent's stages: SPEC 4.7, 5.2."""

    def look(_: object) -> object:
        return current_task()

    task = run_job(job(answer, 1, 2, parallel=True).post(look))
    assert task.status == "failure"
    assert isinstance(task.data, NoCurrentTask)


@pytest.mark.parametrize("name", ["filter", "pre", "sort", "post"])
def test_stages_run_in_the_trio_run(name: str) -> None:
    """Plain ones too, when the action ran in a thread: SPEC 5.2."""
    threads: list[int] = []

    def action() -> list[int]:
        threads.append(get_ident())
        return [1]

    def stage(value: object) -> object:
        assert trio.lowlevel.in_trio_task()
        threads.append(get_ident())
        return value

    async def main() -> TaskResult[object]:  # by the real clock: it waits for a thread
        async with start_majordomo() as jarvis:
            return await jarvis.run(say(job(action, runner="thread"), name, stage))

    assert trio.run(main).data == [1]
    assert threads[0] != threads[1] == get_ident()


def test_stages_hold_no_slot() -> None:
    """While one waits, the only slot is free for the next action: SPEC 5.2."""
    event = trio.Event()

    async def wait(value: object) -> object:
        await event.wait()
        return value

    async def set_it() -> None:
        event.set()

    async def body(jarvis: Majordomo) -> object:
        first = jarvis.add_task(job(answer, 1).post(wait))
        second = jarvis.add_task(set_it)
        with trio.fail_after(100):
            await second.result()
            return await first.result()

    assert run_with(body, max_workers=1) == 1


def test_stages_have_no_keepalive() -> None:
    """The deadline is the action's; a slow stage is no silence: SPEC 4.3, 5.2."""

    async def slow(value: object) -> object:
        await trio.sleep(1000)
        return value

    task = run_job(job(answer, 1, keepalive=1).pre(slow).post(slow))
    assert (task.status, task.data, task.attempts) == ("success", 1, 1)


# Parallel and unwrapped


@given(
    args=st.lists(small, max_size=8),
    factor=small,
    flavour=flavours,
    unwrap=st.booleans(),
)
@thorough
def test_parallel_equals_serial(
    args: list[int], factor: int, flavour: str, unwrap: bool
) -> None:
    """One subtask per argument is the list of one task per argument: SPEC 6.1, 6.3."""

    def f(value: int) -> list[int]:
        return [value, factor * value]

    async def slow_first(value: int) -> list[int]:
        await trio.sleep((20 - value) / 10)
        return f(value)

    action = slow_first if flavour == "async" else f
    options = {} if flavour == "async" else {"runner": "inline"}
    given = (args,) if unwrap else tuple(args)
    work = untyped(job)(action, *given, parallel=True, unwrap=unwrap, **options)
    task = run_job(work.filter(untyped(str)))
    serial = [run_job(untyped(job)(action, arg, **options)).data for arg in args]
    assert task.status == "success"
    assert task.data == serial == [f(arg) for arg in args]
    assert [part.data for part in task.subtasks] == serial
    assert task.attempts == len(args)


@given(args=st.lists(small, max_size=6), container=st.sampled_from([list, tuple, iter]))
@quick
def test_unwrapping_is_an_apply(
    args: list[int], container: Callable[[Iterable[int]], Iterable[int]]
) -> None:
    """`job(f, args, unwrap=True)` calls `f(*args)`, for any iterable: SPEC 6.3."""

    async def gather(*values: int) -> tuple[int, ...]:
        return values

    task = run_job(job(gather, container(args), unwrap=True))
    assert task.data == tuple(args)
    assert task.subtasks == ()


def test_an_iterator_of_arguments_is_read_at_once() -> None:
    """So the job can be run twice, and restarted: SPEC 3.5, 6.3."""
    numbers = one_two_three()
    work = job(answer, numbers, unwrap=True, parallel=True)
    assert list(numbers) == []
    assert run_job(work).data == [1, 2, 3]
    assert run_job(work).data == [1, 2, 3]


def test_no_arguments_make_an_empty_list() -> None:
    """A parallel job over nothing succeeds, and has a pipeline: SPEC 6.1."""
    nothing: list[int] = []
    task = run_job(job(fail_odd, nothing, parallel=True, unwrap=True).post(len))
    assert (task.status, task.data, task.attempts) == ("success", 0, 0)
    assert run_job(job(fail_odd, parallel=True)).data == []
