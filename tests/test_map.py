"""`map`: lazily, in order or not, and left at any moment."""

from __future__ import annotations

import contextvars
import gc
import itertools
import logging
import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings, strategies as st

from majordomo2 import (
    Majordomo,
    MajordomoStopped,
    TaskResult,
    current_task,
    job,
    start_majordomo,
)
from support import untyped
from virtual import run, run_with


class Sulk(Exception):
    """Raised by actions, bodies and sources."""


IN_ORDER = pytest.mark.parametrize("ordered", [True, False])


async def double(number: int) -> int:
    await trio.sleep(1)
    return 2 * number


async def for_ever(_item: object) -> None:
    await trio.sleep_forever()


class Source:
    """Numbers from 0 on; counts what was read, and knows whether it was closed."""

    def __init__(self, end: float = math.inf, error: Exception | None = None) -> None:
        self.end, self.error = end, error
        self.read = 0
        self.closed = False

    def next(self) -> int:
        """The next number; -1: no more."""
        if self.read >= self.end:
            if self.error is not None:
                raise self.error
            return -1
        self.read += 1
        return self.read - 1

    def generator(self) -> Generator[int, None, None]:
        try:
            while (number := self.next()) >= 0:
                yield number
        finally:
            self.closed = True

    async def async_generator(self) -> AsyncGenerator[int, None]:
        try:
            while (number := self.next()) >= 0:
                await trio.lowlevel.checkpoint()
                yield number
        finally:
            self.closed = True

    def iterator(self) -> Closing:
        return Closing(self)

    def async_iterator(self) -> AsyncClosing:
        return AsyncClosing(self)


class Closing(Iterator[int]):
    def __init__(self, source: Source) -> None:
        self.source = source

    def __next__(self) -> int:
        if (number := self.source.next()) < 0:
            raise StopIteration
        return number

    def close(self) -> None:
        self.source.closed = True


class AsyncClosing(AsyncIterator[int]):
    def __init__(self, source: Source) -> None:
        self.source = source

    async def __anext__(self) -> int:
        await trio.lowlevel.checkpoint()
        if (number := self.source.next()) < 0:
            raise StopAsyncIteration
        return number

    async def aclose(self) -> None:
        self.source.closed = True  # as in Trio: closed, also if this is cancelled
        await trio.lowlevel.checkpoint()


KINDS = ("generator", "async_generator", "iterator", "async_iterator")
OF_EACH_KIND = pytest.mark.parametrize("kind", KINDS)


def of_kind(source: Source, kind: str) -> Iterable[int]:
    made: Iterable[int] = getattr(source, kind)()
    return made


def number_of(data: object) -> object:
    """What an action returned, or raised with."""
    return data.args[0] if isinstance(data, Sulk) else data


async def all_of(results: AsyncIterator[TaskResult[Any]]) -> list[object]:
    return [task.data async for task in results]


async def go_through(
    mapping: AbstractAsyncContextManager[AsyncIterator[TaskResult[Any]], None],
    then: Callable[[TaskResult[Any]], Awaitable[None]] | None = None,
) -> list[object]:
    """The data of all results; do something after each."""
    found: list[object] = []
    async with mapping as results:
        async for task in results:
            found.append(task.data)
            if then is not None:
                await then(task)
    return found


# Results


@IN_ORDER
@OF_EACH_KIND
def test_a_result_for_each_item(kind: str, ordered: bool) -> None:
    """SPEC 7.9: any iterable or async iterable; an exhausted source ends the results."""

    async def main(jarvis: Majordomo) -> None:
        items = of_kind(Source(7), kind)
        async with jarvis.map(double, items, ordered=ordered) as results:
            found = await all_of(results)
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert sorted(map(str, found)) == sorted(map(str, range(0, 14, 2)))

    run_with(main, max_workers=2)


@IN_ORDER
@pytest.mark.parametrize("source", [[], (), {}, range(0), iter([])])
def test_an_empty_source(source: Iterable[int], ordered: bool) -> None:
    """SPEC 7.9: no results, and no error."""

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(double, source, ordered=ordered) as results:
            assert await all_of(results) == []

    run_with(main)


def test_ordered_and_as_completed() -> None:
    """SPEC 7.9: in the order of the source, or as the tasks end."""

    async def slow_first(number: int) -> int:
        await trio.sleep(10 - number)
        return number

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(slow_first, range(4), keepalive=20) as results:
            assert await all_of(results) == [0, 1, 2, 3]
        async with jarvis.map(
            slow_first, range(4), ordered=False, keepalive=20
        ) as results:
            assert await all_of(results) == [3, 2, 1, 0]

    run_with(main)


def test_a_memory_channel() -> None:
    """SPEC 7.9: results come as items do, before the source has ended."""

    async def main(jarvis: Majordomo) -> None:
        send, receive = trio.open_memory_channel[int](0)
        async with jarvis.map(double, receive) as results:
            await send.send(1)
            assert (await anext(results)).data == 2
            await send.send(2)
            assert (await anext(results)).data == 4
            await send.aclose()
            assert await all_of(results) == []

    run_with(main)


@IN_ORDER
def test_failures_are_values(ordered: bool) -> None:
    """SPEC 7.9: an item that fails ends neither the map nor its siblings."""

    async def odd_ones_fail(number: int) -> int:
        if number % 2:
            raise Sulk(number)
        return number

    async def main(jarvis: Majordomo) -> None:
        statuses: list[str] = []
        async with jarvis.map(
            odd_ones_fail, range(4), ordered=ordered, retries=0
        ) as results:
            async for task in results:
                statuses.append(task.status)  # noqa: PERF401 - as it comes
        assert sorted(statuses) == ["failure", "failure", "success", "success"]

    run_with(main)


@given(
    items=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=12),
    workers=st.sampled_from([1, 2, 3, math.inf]),
    room=st.none() | st.integers(1, 5),
    kind=st.sampled_from(KINDS),
    pause=st.integers(0, 3),
    ordered=st.booleans(),
)
@example([(0, True)], 1, 1, "async_generator", 0, False)
@settings(max_examples=150, deadline=None)
def test_the_results_are_those_of_the_items(
    items: list[tuple[int, bool]],
    workers: float,
    room: int | None,
    kind: str,
    pause: int,
    ordered: bool,
) -> None:
    """SPEC 7.7, 7.9: each item has its result, within the bounds, whatever it does."""
    at_work: set[int] = set()
    most = room or (100 if math.isinf(workers) else 2 * int(workers))
    source = Source(len(items))
    taken = 0

    async def action(number: int) -> int:
        at_work.add(number)
        assert len(at_work) <= workers
        assert source.read - taken <= most
        seconds, fails = items[number]
        try:
            await trio.sleep(seconds)
        finally:
            at_work.remove(number)
        if fails:
            raise Sulk(number)
        return number

    async def main(jarvis: Majordomo) -> None:
        nonlocal taken
        found: list[object] = []
        async with jarvis.map(
            action,
            of_kind(source, kind),
            ordered=ordered,
            max_in_flight=room,
            keepalive=math.inf,
            retries=0,
        ) as results:
            async for task in results:
                taken += 1
                failed = isinstance(task.data, Sulk)
                found.append(number_of(task.data))
                assert items[int(str(found[-1]))][1] == failed
                assert failed == (task.status == "failure")
                assert source.read - taken < most + 1
                await trio.sleep(pause)
        assert (found if ordered else sorted(map(int, map(str, found)))) == list(
            range(len(items))
        )
        left = jarvis.statistics()
        assert (left.queued, left.running, left.waiting) == (0, 0, 0)

    run_with(main, max_workers=workers)


# How far it reads


@IN_ORDER
@OF_EACH_KIND
@pytest.mark.parametrize(
    ("workers", "room", "most"),
    [(3, None, 6), (1, None, 2), (math.inf, None, 100), (3, 1, 1), (2, 10, 10)],
)
def test_a_slow_consumer_holds_the_source_back(
    workers: float, room: int | None, most: int, kind: str, ordered: bool
) -> None:
    """SPEC 7.9: never more than max_in_flight are read and not taken, and no fewer when
    somebody waits; 2 for each worker by default, or 100. The source never ends.
    """

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        async with jarvis.map(
            double, of_kind(source, kind), ordered=ordered, max_in_flight=room
        ) as results:
            for taken in range(5):
                await anext(results)
                await trio.sleep(100)
                ahead = source.read - taken - 1
                assert ahead == (most if "async" in kind else most - 1)
        assert source.closed

    run_with(main, max_workers=workers)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    """SPEC 7.9: `map()` reads nothing; a plain source waits for the first request."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        mapping = jarvis.map(double, source.generator())
        async with mapping:
            await trio.sleep(10)
            assert source.read == 0

    run_with(main)


def test_memory_is_that_of_what_is_in_flight() -> None:
    """SPEC 7.9: an endless source leaves nothing behind."""

    class Item:
        pass

    async def look(item: Item) -> Item:
        return item

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(look, (Item() for _ in count())) as results:
            taken = 0
            async for _ in results:
                taken += 1
                if taken == 1000:
                    break
            gc.collect()
            alive = sum(isinstance(each, Item) for each in gc.get_objects())
            assert alive < 20

    run_with(main, max_workers=2)


# Leaving early


@IN_ORDER
@OF_EACH_KIND
@pytest.mark.parametrize("how", ["break", "raise", "cancelled"])
def test_leaving_early(how: str, kind: str, ordered: bool) -> None:
    """SPEC 7.9: what is in flight is cancelled, its cleanup runs, the source is closed;
    how the block was left comes out as it is.
    """
    error = Sulk("in the body")
    clean: list[int] = []
    yielded: list[object] = []

    async def action(number: int) -> int:
        if number:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2)
                clean.append(number)
        return number

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        with trio.CancelScope() as scope:
            async with jarvis.map(
                action, of_kind(source, kind), ordered=ordered, keepalive=math.inf
            ) as results:
                async for task in results:
                    yielded.append(task.data)
                    await trio.testing.wait_all_tasks_blocked()
                    if how == "raise":
                        raise error
                    if how == "cancelled":
                        scope.cancel()
                        await trio.sleep_forever()
                    break
        assert source.closed
        left = jarvis.statistics()
        assert (left.queued, left.running) == (0, 0)
        assert left.finished["cancelled"] == source.read - 1
        assert scope.cancelled_caught == (how == "cancelled")
        assert (await jarvis.run(double, 4)).data == 8  # the instance is as before

    if how == "raise":
        with pytest.raises(Sulk) as caught:
            run_with(main, max_workers=2)
        assert caught.value is error
    else:
        run_with(main, max_workers=2)
    assert yielded == [0]
    assert set(clean) <= {1, 2}


@OF_EACH_KIND
def test_cancelled_while_it_waits_for_a_result(kind: str) -> None:
    """SPEC 7.9: as any other way to leave early."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        with trio.move_on_after(3) as scope:
            async with jarvis.map(
                for_ever, of_kind(source, kind), keepalive=math.inf
            ) as results:
                await anext(results)
        assert scope.cancelled_caught
        assert source.closed
        assert jarvis.statistics().finished["cancelled"] == source.read == 4
        assert trio.current_time() < 1e9

    run_with(main, max_workers=2)


def test_leaving_while_an_async_source_is_silent() -> None:
    """SPEC 7.9: the wait for its next item is given up; what it holds stays there."""

    async def main(jarvis: Majordomo) -> None:
        send, receive = trio.open_memory_channel[int](10)
        async with jarvis.map(double, receive):
            await trio.sleep(1)
        with pytest.raises(trio.BrokenResourceError):
            send.send_nowait(1)

    run_with(main)


@pytest.mark.parametrize("kind", ["generator", "async_generator"])
def test_a_source_whose_cleanup_raises(kind: str) -> None:
    """SPEC 7.9: its error comes out; nothing is left running."""

    def plain() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            raise Sulk

    async def awaited() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            await trio.sleep(1)
            raise Sulk

    async def main(jarvis: Majordomo) -> None:
        source: Any = plain() if kind == "generator" else awaited()
        with pytest.raises(Sulk):
            async with jarvis.map(double, source) as results:
                await anext(results)
        assert jarvis.statistics().running == 0

    run_with(main, max_workers=1)


def test_an_iterable_is_not_closed_once_it_is_exhausted(tmp_path: Path) -> None:
    """SPEC 7.9: leaving early closes a file; reading it to the end leaves it open."""
    path = tmp_path / "numbers"
    path.write_text("1\n2\n3\n", encoding="utf-8")

    async def number(line: str) -> int:
        return int(line)

    async def main(jarvis: Majordomo) -> None:
        with path.open(encoding="utf-8") as file:
            async with jarvis.map(number, file) as results:
                assert await all_of(results) == [1, 2, 3]
            assert not file.closed
        with path.open(encoding="utf-8") as file:
            async with jarvis.map(number, file, max_in_flight=1) as results:
                assert (await anext(results)).data == 1
            assert file.closed

    run_with(main)


def test_an_async_source_whose_cleanup_raises_when_it_is_cancelled() -> None:
    """SPEC 7.9: the same while its next item is waited for."""
    error = Sulk("in its cleanup")

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise error

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(Sulk) as caught:
            async with jarvis.map(double, source()) as results:
                assert (await anext(results)).data == 2
        assert caught.value is error
        assert jarvis.statistics().running == 0

    run_with(main)


# Sources that fail


@IN_ORDER
@OF_EACH_KIND
@pytest.mark.parametrize("at", [0, 1, 3, 20])
def test_a_source_that_raises(at: int, kind: str, ordered: bool) -> None:
    """SPEC 7.9: what was started is delivered, then that very error."""
    error = Sulk("the source")

    async def main(jarvis: Majordomo) -> None:
        found: list[object] = []
        source = of_kind(Source(at, error), kind)

        async def note(task: TaskResult[int]) -> None:
            found.append(task.data)

        with pytest.raises(Sulk) as caught:
            await go_through(jarvis.map(double, source, ordered=ordered), note)
        assert caught.value is error
        assert sorted(map(str, found)) == sorted(str(2 * n) for n in range(at))

    run_with(main, max_workers=2)


def test_a_closed_file(tmp_path: Path) -> None:
    """SPEC 7.9: the error comes when the block is entered, as it is."""
    path = tmp_path / "empty"
    path.touch()
    file = path.open(encoding="utf-8")
    file.close()

    async def main(jarvis: Majordomo) -> None:
        async def nothing(_line: str) -> None: ...

        with pytest.raises(ValueError, match="closed file"):
            async with jarvis.map(nothing, file) as results:
                await anext(results)
        assert (await jarvis.run(double, 1)).data == 2

    run_with(main)


def test_a_source_that_is_closed_halfway(tmp_path: Path) -> None:
    """SPEC 7.9: what was started is delivered first."""
    path = tmp_path / "numbers"
    path.write_text("1\n" * 50, encoding="utf-8")
    found: list[object] = []

    async def main(jarvis: Majordomo) -> None:
        async def number(line: str) -> int:
            return int(line)

        async def close(task: TaskResult[int]) -> None:
            found.append(task.data)
            file.close()

        with path.open(encoding="utf-8") as file:
            mapping = jarvis.map(number, file, max_in_flight=5)
            with pytest.raises(ValueError, match="closed file"):
                await go_through(mapping, close)

    run_with(main)
    assert found == [1] * 5


def test_a_generator_that_raises_stop_iteration() -> None:
    """SPEC 7.9: Python makes a RuntimeError of it, which is the source's error."""

    def source() -> Iterator[int]:
        yield 1
        raise StopIteration  # noqa: PLR1708 - on purpose

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await go_through(jarvis.map(double, source()))

    run_with(main)


def test_a_plain_source_that_raises_stop_async_iteration() -> None:
    """SPEC 7.9: an error of the source must not pass for its end."""

    def source() -> Iterator[int]:
        yield 1
        raise StopAsyncIteration

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises((StopAsyncIteration, RuntimeError)):
            await go_through(jarvis.map(double, source()))

    run_with(main)


def test_an_error_that_is_false() -> None:
    """SPEC 7.9: the error comes out, whatever its truth value."""

    class Hollow(Exception):
        def __bool__(self) -> bool:
            return False

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(Hollow):
            await go_through(jarvis.map(double, Source(1, Hollow()).generator()))

    run_with(main)


class Bare:
    """An iterator by `__next__` alone, which is all that `iter` asks for."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __next__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return self.left


class OfBare:
    def __iter__(self) -> Any:
        return Bare(3)


def test_an_iterator_without_iter() -> None:
    """SPEC 7.9: any iterable; `for` asks no more of its iterator than `__next__`."""

    async def main(jarvis: Majordomo) -> None:
        with trio.fail_after(100):
            async with jarvis.map(double, OfBare()) as results:
                assert await all_of(results) == [4, 2, 0]

    run_with(main)


class Both(Closing):
    """A plain iterator and an async one, as some clients are."""

    def __aiter__(self) -> Both:
        return self

    async def __anext__(self) -> int:
        await trio.sleep(1)
        if (number := self.source.next()) < 0:
            raise StopAsyncIteration
        return number + 100


def test_an_iterator_of_both_kinds() -> None:
    """SPEC 7.9: it is read in one way, as an async one."""

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(double, Both(Source(3))) as results:
            assert await all_of(results) == [200, 202, 204]

    run_with(main)


# Stopping


@IN_ORDER
@OF_EACH_KIND
def test_stop_during_a_map(kind: str, ordered: bool) -> None:
    """SPEC 7.9: the cancelled ones, then `MajordomoStopped`; nothing more is read."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        statuses: list[str] = []
        read = 0

        async def stop(task: TaskResult[int]) -> None:
            nonlocal read
            statuses.append(task.status)
            if len(statuses) == 1:
                await trio.testing.wait_all_tasks_blocked()
                jarvis.stop()
                read = source.read

        mapping = jarvis.map(double, of_kind(source, kind), ordered=ordered)
        with pytest.raises(MajordomoStopped):
            await go_through(mapping, stop)
        assert source.read == read
        assert statuses.count("success") >= 1
        assert set(statuses) == {"success", "cancelled"}
        assert len(statuses) == source.read

    run_with(main, max_workers=2)


@IN_ORDER
def test_stop_while_an_async_source_is_silent(ordered: bool) -> None:
    """SPEC 7.2, 7.9: no receiver hangs, and the source is not waited for."""

    async def main(jarvis: Majordomo) -> None:
        send, receive = trio.open_memory_channel[int](10)
        start = trio.current_time()

        async def stop_later() -> None:
            await trio.sleep(5)
            jarvis.stop()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_later)
            async with jarvis.map(double, receive, ordered=ordered) as results:
                await send.send(1)
                assert (await anext(results)).data == 2
                with pytest.raises(MajordomoStopped):
                    await anext(results)
        assert trio.current_time() - start == 5

    run_with(main)


@OF_EACH_KIND
def test_stop_closes_the_source(kind: str) -> None:
    """SPEC 7.9: a source that was not read to its end is closed, whoever stopped."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()

        async def stop(_task: TaskResult[int]) -> None:
            jarvis.stop()

        with pytest.raises(MajordomoStopped):
            await go_through(jarvis.map(double, of_kind(source, kind)), stop)
        assert source.closed

    run_with(main, max_workers=2)


def test_a_cancelled_block_closes_the_source() -> None:
    """SPEC 7.9: also when the instance around it is cancelled."""

    async def main() -> None:
        for _ in range(30):  # Trio runs what is cancelled in any order
            source = Source()
            with trio.move_on_after(1):
                async with (
                    start_majordomo(max_workers=1) as jarvis,
                    jarvis.map(for_ever, source.async_iterator()) as results,
                ):
                    await anext(results)
            assert source.closed

    run(main)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            "plain",
        ),
        "async",
    ],
)
def test_a_source_that_stops_the_instance(kind: str) -> None:
    """SPEC 7.2: what is read when the instance is stopped is not started."""
    ran: list[int] = []

    async def action(number: int) -> None:
        ran.append(number)

    async def main(jarvis: Majordomo) -> None:
        def plain() -> Iterator[int]:
            jarvis.stop()
            yield 0

        async def awaited() -> AsyncIterator[int]:
            jarvis.stop()
            yield 0

        source: Any = plain() if kind == "plain" else awaited()
        with pytest.raises(MajordomoStopped):
            await go_through(jarvis.map(action, source))

    run_with(main)
    assert ran == []


def test_drain_during_a_map() -> None:
    """SPEC 7.3, 7.9: what was started ends, and no more is read."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        found: list[object] = []

        async def drain(task: TaskResult[int]) -> None:
            found.append(task.data)
            if len(found) == 1:
                await jarvis.drain()

        with pytest.raises(MajordomoStopped, match="drained"):
            await go_through(jarvis.map(double, source.generator()), drain)
        assert found == [0, 2, 4, 6]
        assert source.read == 4

    run_with(main, max_workers=2)


@IN_ORDER
@OF_EACH_KIND
@pytest.mark.parametrize("how", ["stop", "drain"])
def test_an_instance_that_ends_after_the_source(
    how: str, kind: str, ordered: bool
) -> None:
    """SPEC 7.2, 7.3, 7.9: nothing was refused: the results just end."""

    async def slower(number: int) -> int:
        await trio.sleep(1 + number)
        return number

    async def main(jarvis: Majordomo) -> None:
        found: list[str] = []

        async def consume() -> None:
            items = of_kind(Source(3), kind)
            async with jarvis.map(slower, items, ordered=ordered) as results:
                found.extend([task.status async for task in results])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await trio.sleep(1.5)
            if how == "drain":
                await jarvis.drain()
            else:
                jarvis.stop()
        ended = "success" if how == "drain" else "cancelled"
        assert found == ["success", ended, ended]

    run_with(main)


@IN_ORDER
def test_the_block_is_left_while_an_async_source_is_silent(ordered: bool) -> None:
    """SPEC 7.1, 7.9: it waits for tasks, not for sources: what comes later is refused,
    and the consumer elsewhere hears of it.
    """

    async def late() -> AsyncIterator[int]:
        await trio.sleep(1)
        yield 1

    async def main() -> None:
        refused: list[float] = []

        async def consume(jarvis: Majordomo) -> None:
            with pytest.raises(MajordomoStopped):
                await go_through(jarvis.map(for_ever, late(), ordered=ordered))
            refused.append(trio.current_time())

        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                async with start_majordomo() as jarvis:
                    nursery.start_soon(consume, jarvis)
                    await trio.sleep(0.25)
                assert trio.current_time() == 0.25
        assert refused == [0.25]

    run(main)


@pytest.mark.parametrize(
    "kind",
    [
        "generator",
        pytest.param(
            "async_generator",
        ),
    ],
)
def test_a_map_that_is_entered_after_the_block(kind: str) -> None:
    """SPEC 7.9: `MajordomoStopped`, at the latest at the first request."""

    async def main() -> None:
        async with start_majordomo() as jarvis:
            mapping = jarvis.map(double, of_kind(Source(), kind))
        with pytest.raises(MajordomoStopped):
            async with mapping as results:
                await anext(results)

    run(main)


# Options


def test_ids() -> None:
    """SPEC 7.9: with id="x" the items are "x/0", "x/1", …; without, they are fresh."""

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(double, range(3), id="x") as results:
            assert [task.id async for task in results] == ["x/0", "x/1", "x/2"]
        async with jarvis.map(double, range(2)) as results:
            first, second = [task.id async for task in results]
        assert first != second
        assert "/" not in first

    run_with(main)


@IN_ORDER
def test_an_id_that_is_taken(ordered: bool) -> None:
    """SPEC 7.8, 7.9: that item is rejected, as a value."""

    async def main(jarvis: Majordomo) -> None:
        jarvis.add_task(trio.sleep, 4, id="x/1")
        async with jarvis.map(double, range(3), id="x", ordered=ordered) as results:
            statuses = {task.id: task.status async for task in results}
        assert statuses == {"x/0": "success", "x/1": "rejected", "x/2": "success"}

    run_with(main)


def test_the_options_are_those_of_add_task() -> None:
    """SPEC 7.9: retries, keepalive, the clocks, the runner."""

    async def third_time(_item: int) -> int:
        if current_task().attempts < 3:
            raise Sulk
        return current_task().attempts

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(third_time, range(2), retries=2) as results:
            assert await all_of(results) == [3, 3]
        async with jarvis.map(third_time, range(1), retry_on=()) as results:
            assert [task.attempts async for task in results] == [1]
        for clock in ("keepalive", "attempt_timeout", "total_timeout"):
            options: dict[str, Any] = {clock: 2, "retries": 0}
            async with jarvis.map(for_ever, range(2), **options) as results:
                statuses = [task.status async for task in results]
            assert statuses == ["timeout"] * 2
        async with jarvis.map(str, range(2), runner="inline") as results:
            assert await all_of(results) == ["0", "1"]

    run_with(main, max_workers=2)


def test_priority() -> None:
    """SPEC 7.7, 7.9: the items of a map go before what is queued with less."""
    order: list[int] = []

    async def action(number: int) -> None:
        order.append(number)
        await trio.sleep(1)

    async def main(jarvis: Majordomo) -> None:
        for number in range(10, 14):
            jarvis.add_task(action, number)
        async with jarvis.map(action, range(4), priority=1) as results:
            async for _ in results:
                pass

    run_with(main, max_workers=1)
    assert order == [10, 0, 1, 2, 3, 11, 12, 13]


variable = contextvars.ContextVar("variable", default="nobody")


@pytest.mark.parametrize("given_one", [False, True])
def test_the_context(given_one: bool) -> None:
    """SPEC 7.4, 7.9: captured at `map()`, or the one given; each item has a fresh copy."""

    async def look(number: int) -> str:
        seen = variable.get()
        variable.set(f"item {number}")
        return seen

    async def main(jarvis: Majordomo) -> None:
        variable.set("at map()")
        options: dict[str, Any] = {}
        if given_one:
            options["context"] = contextvars.Context()
        mapping = jarvis.map(look, range(3), **options)
        variable.set("later")
        async with mapping as results:
            seen = await all_of(results)
        assert seen == ["nobody" if given_one else "at map()"] * 3
        assert variable.get() == "later"

    run_with(main, max_workers=1)


def test_plain_functions_run_in_threads() -> None:
    """SPEC 7.9, 9.1: as with `add_task`."""

    async def main() -> None:
        async with start_majordomo(max_workers=3) as jarvis:
            found = await go_through(jarvis.map(str, range(30)))
        assert found == [str(n) for n in range(30)]

    trio.run(main)


# Inside actions


@IN_ORDER
@OF_EACH_KIND
@pytest.mark.parametrize("depth", [1, 3])
def test_a_map_inside_an_action(depth: int, kind: str, ordered: bool) -> None:
    """SPEC 7.7: it lends its slot while it waits for results: no deadlock."""

    async def main(jarvis: Majordomo) -> None:
        async def action(level: int) -> int:
            if level >= depth:
                await trio.sleep(3)
                return 1
            below = 0

            async def deeper(_item: int) -> int:
                return await action(level + 1)

            async with jarvis.map(
                deeper, of_kind(Source(3), kind), ordered=ordered
            ) as results:
                async for task in results:
                    assert task.status == "success"
                    below += task.data
            return below

        assert (await jarvis.run(action, 0)).data == 3**depth

    run_with(main, max_workers=1)


@IN_ORDER
def test_a_map_inside_an_action_that_is_given_up(ordered: bool) -> None:
    """SPEC 7.7, 7.9: it gives up the items that have its slot, and goes on."""

    async def main(jarvis: Majordomo) -> None:
        async def action() -> float:
            start = trio.current_time()
            with trio.move_on_after(2):
                async with jarvis.map(
                    for_ever, range(3), ordered=ordered, keepalive=math.inf
                ) as results:
                    await anext(results)
            return trio.current_time() - start

        with trio.fail_after(1000):
            assert (await jarvis.run(action)).data == 2

    run_with(main, max_workers=1)


@IN_ORDER
def test_room_for_any_number_inside_an_action(ordered: bool) -> None:
    """SPEC 7.7, 7.9: it lends its slot between its readings, so that a source that never
    ends holds nothing up there either.
    """

    async def same(number: int) -> int:
        return number

    async def main(jarvis: Majordomo) -> None:
        async def action() -> int:
            source = Source(100_000)
            async with jarvis.map(
                same, source.generator(), ordered=ordered, max_in_flight=math.inf
            ) as results:
                assert (await anext(results)).status == "success"
                return source.read

        assert (await jarvis.run(action)).result() < 1000

    run_with(main, max_workers=1)


def test_a_leftover_that_goes_on_with_its_map() -> None:
    """SPEC 4.8, 7.7: it has no slot to lend any more, and touches nobody else's."""

    async def main() -> None:
        found: list[object] = []
        async with trio.open_nursery() as outer, start_majordomo() as jarvis:
            over = trio.Event()

            async def child() -> None:
                await over.wait()
                async with jarvis.map(double, range(3), ordered=False) as results:
                    found.extend(await all_of(results))
                ended.set()

            async def action() -> None:
                outer.start_soon(child)

            ended = trio.Event()
            await jarvis.run(action)
            over.set()
            await ended.wait()
        assert sorted(map(str, found)) == ["0", "2", "4"]

    run(main)


# Several, and again


@IN_ORDER
def test_two_maps_at_once(ordered: bool) -> None:
    """SPEC 7.9: each has its own source, room and results."""

    async def main(jarvis: Majordomo) -> None:
        async with (
            jarvis.map(double, range(5), ordered=ordered) as some,
            jarvis.map(double, range(10, 15), ordered=ordered) as others,
        ):
            found = [await anext(each) for _ in range(5) for each in (some, others)]
        assert {str(task.data) for task in found[::2]} == {"0", "2", "4", "6", "8"}

    run_with(main, max_workers=2)


def test_two_maps_of_one_source() -> None:
    """SPEC 7.9: a list is read anew by each; what is an iterator is shared."""

    async def main(jarvis: Majordomo) -> None:
        numbers = [1, 2, 3]
        for _ in range(2):
            async with jarvis.map(double, numbers) as results:
                assert await all_of(results) == [2, 4, 6]
        shared = iter(numbers)
        async with (
            jarvis.map(double, shared, max_in_flight=1) as some,
            jarvis.map(double, shared, max_in_flight=1) as others,
        ):
            assert (await anext(some)).data == 2
            assert (await anext(others)).data == 4
            assert await all_of(some) == [6]
            assert await all_of(others) == []

    run_with(main)


def test_a_block_that_is_entered_twice() -> None:
    """SPEC 7.9: it says that each block needs a `map()` of its own."""

    async def main(jarvis: Majordomo) -> None:
        mapping = jarvis.map(double, range(3))
        async with mapping as results:
            with pytest.raises(RuntimeError, match=r"map\(\) of its own"):
                await mapping.__aenter__()
            assert await all_of(results) == [0, 2, 4]
        with pytest.raises(RuntimeError, match=r"map\(\) of its own"):
            await mapping.__aenter__()

    run_with(main)


@IN_ORDER
def test_results_after_the_block(ordered: bool) -> None:
    """SPEC 7.9: what was cancelled, then the end; the source is not read any more."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        async with jarvis.map(
            double, source.iterator(), ordered=ordered, max_in_flight=3
        ) as results:
            await anext(results)
        with trio.fail_after(100):
            left = [task.status async for task in results]
        assert set(left) <= {"cancelled", "success"}
        assert source.read == 3

    run_with(main)


@IN_ORDER
def test_two_tasks_that_iterate(ordered: bool) -> None:
    """SPEC 7.9: the second is refused while the first waits; nothing is lost."""

    async def main(jarvis: Majordomo) -> None:
        found: list[object] = []
        refused = 0

        async with jarvis.map(double, range(6), ordered=ordered) as results:

            async def consumer() -> None:
                nonlocal refused
                while True:
                    try:
                        found.append((await anext(results)).data)
                    except trio.BusyResourceError:
                        refused += 1
                        await trio.sleep(0.5)
                    except StopAsyncIteration:
                        return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(consumer)
                nursery.start_soon(consumer)
        assert refused
        assert sorted(map(int, map(str, found))) == [0, 2, 4, 6, 8, 10]

    run_with(main, max_workers=2)


@pytest.mark.parametrize(
    "ordered",
    [
        True,
        pytest.param(
            False,
        ),
    ],
)
@pytest.mark.parametrize("end", [2, math.inf])
def test_the_block_is_left_while_another_task_iterates(
    end: float, ordered: bool
) -> None:
    """SPEC 7.2, 7.9: that task gets the cancelled ones and the end, and does not hang."""

    async def main(jarvis: Majordomo) -> None:
        statuses: list[str] = []

        async def consumer(results: AsyncIterator[TaskResult[None]]) -> None:
            async for task in results:
                statuses.append(task.status)  # noqa: PERF401 - as it comes

        for _ in range(30):  # Trio runs those who are ready in any order
            mapping = jarvis.map(
                for_ever,
                Source(end).iterator(),
                ordered=ordered,
                max_in_flight=2,
                keepalive=math.inf,
            )
            with trio.fail_after(100):
                async with trio.open_nursery() as nursery, mapping as results:
                    nursery.start_soon(consumer, results)
                    await trio.sleep(1)
        assert set(statuses) <= {"cancelled"}

    run_with(main)


@IN_ORDER
def test_a_request_that_is_given_up_loses_nothing(ordered: bool) -> None:
    """SPEC 7.9: the next one gets the result."""

    async def main(jarvis: Majordomo) -> None:
        found: list[object] = []
        async with jarvis.map(double, range(5), ordered=ordered) as results:
            while True:
                with trio.move_on_after(0.3) as scope:
                    try:
                        found.append((await anext(results)).data)
                    except StopAsyncIteration:
                        break
                if scope.cancelled_caught:
                    await trio.sleep(0.1)
        assert sorted(map(int, map(str, found))) == [0, 2, 4, 6, 8]

    run_with(main, max_workers=1)


def test_checkpoints() -> None:
    """Each request is a checkpoint, that for the end too."""

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(double, range(2)) as results:
            for _ in range(2):
                with trio.testing.assert_checkpoints():
                    await anext(results)
            with (
                trio.testing.assert_checkpoints(),
                pytest.raises(StopAsyncIteration),
            ):
                await anext(results)

    run_with(main)


@IN_ORDER
def test_failures_that_nobody_received_are_logged(
    ordered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """SPEC 7.5: also those that a map left behind."""

    async def fails(number: int) -> None:
        if number:
            raise Sulk

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(fails, range(3), ordered=ordered, retries=0) as results:
            async for task in results:
                await trio.sleep(1)
                if task.status == "success":
                    break

    run_with(main, max_workers=1)
    gc.collect()
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert errors


# Bad input


def refused(
    error: type[Exception], *words: str, source: object = (), **options: object
) -> None:
    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(error) as caught:
            untyped(jarvis).map(double, source, **options)
        for word in words:
            assert word in str(caught.value)
        assert jarvis.statistics().finished["cancelled"] == 0

    run_with(main)


@pytest.mark.parametrize("source", ["abc", "", b"abc", bytearray(b"abc")])
def test_a_string_for_a_source(source: object) -> None:
    """SPEC 7.9: a `TypeError` that shows the call that was meant, at `map()`."""
    refused(TypeError, "source", repr(source), f"[{source!r}]", source=source)


@pytest.mark.parametrize("source", [None, 3, double, object(), math.inf])
def test_a_source_that_is_no_iterable(source: object) -> None:
    """SPEC 7.9: a `TypeError` at `map()`."""
    refused(TypeError, "source", repr(source), source=source)


def test_a_coroutine_for_a_source() -> None:
    """SPEC 7.9: a `TypeError`, and no warning that it was never awaited."""
    refused(TypeError, "source", source=double(1))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (-math.inf, ValueError),
        (math.nan, ValueError),
        (True, TypeError),
        (False, TypeError),
        ("all", TypeError),
        (2.5, TypeError),
        ([], TypeError),
    ],
)
def test_a_wrong_max_in_flight(value: object, error: type[Exception]) -> None:
    """SPEC 7.9: it names the parameter and the value, at `map()`."""
    refused(error, "max_in_flight", repr(value), max_in_flight=value)


@pytest.mark.parametrize("value", ["no", 0, 1, None])
def test_ordered_that_is_no_flag(value: object) -> None:
    """SPEC 7.9: a `TypeError` that names it."""
    refused(TypeError, "ordered", repr(value), ordered=value)


@pytest.mark.parametrize("name", ["parallel", "unwrap"])
@pytest.mark.parametrize("value", [True, False])
def test_the_form_of_a_job(name: str, value: bool) -> None:
    """SPEC 6.4: said in `job()` alone, and for a map not at all."""
    refused(TypeError, f"{name}=", **{name: value})


@pytest.mark.parametrize("name", ["parallel", "unwrap"])
def test_the_remedy_is_one_that_works(name: str) -> None:
    """SPEC 6.4, STYLE 6: a map takes no job, so the message must not show one."""

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(TypeError) as caught:
            untyped(jarvis).map(double, [], **{name: True})
        assert "map(job(" not in str(caught.value)

    run_with(main)


@pytest.mark.parametrize("name", ["retrys", "filter", "max_workers"])
def test_an_unknown_option(name: str) -> None:
    """SPEC 7.4: a `TypeError` that names it."""
    refused(TypeError, name, **{name: 3})


def test_a_job_for_an_action() -> None:
    """SPEC 7.9: a map takes a function."""

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(TypeError, match="action"):
            untyped(jarvis).map(job(double, 1), [1])

    run_with(main)


@pytest.mark.parametrize("how", ["stop", "drain"])
def test_after_stop(how: str) -> None:
    """SPEC 7.2: `map()` itself is refused, and the source is not touched."""

    async def main(jarvis: Majordomo) -> None:
        source = Source()
        if how == "stop":
            jarvis.stop()
        else:
            await jarvis.drain()
        with pytest.raises(MajordomoStopped):
            jarvis.map(double, source.generator())
        assert source.read == 0

    run_with(main)


def test_a_wrong_iterator() -> None:
    """SPEC 7.9: an `__iter__` that gives none is told when the block is entered."""

    class Wrong:
        def __iter__(self) -> Any:
            return 3

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(TypeError):
            await go_through(jarvis.map(double, Wrong()))

    run_with(main)


@IN_ORDER
def test_room_for_any_number_starves_nobody(ordered: bool) -> None:
    """SPEC 7.9: with `max_in_flight=math.inf` a source that never ends holds nothing up."""

    async def same(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number

    async def main(jarvis: Majordomo) -> None:
        async with jarvis.map(
            same, itertools.count(), ordered=ordered, max_in_flight=math.inf
        ) as results:
            seen = [(await anext(results)).result() for _ in range(3)]
        assert len(set(seen)) == 3
        assert seen == sorted(seen) or not ordered

    run_with(main)


def test_without_its_block() -> None:
    """SPEC 2.9: who forgets `async with` is told so."""

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(TypeError, match=r"write async with jarvis\.map"):
            async for _ in untyped(jarvis.map(double, [1])):
                pass

    run_with(main)
