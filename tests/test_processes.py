"""runner="process": killed for real, whatever the action does (SPEC 9.3)."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, cast

import numpy as np
import pytest
import trio
from hypothesis import given, strategies as st

import process_actions as actions
from majordomo2 import (
    Majordomo,
    Processes,
    Task,
    TaskOptions,
    WorkerDied,
    start_majordomo,
)
from majordomo2.abc import Observer
from majordomo2.runners import _pickling, _process, _wire
from support import untyped

T = TypeVar("T")
PATIENCE = 30  # seconds of real time, for what takes a moment
HERE: TaskOptions = {"runner": "process", "retries": 0, "keepalive": PATIENCE}


def run_with(
    main: Callable[[Majordomo], Awaitable[T]],
    *,
    max_workers: float = math.inf,
    processes: Processes | None = None,
) -> T:
    """In real time, which worker processes live in."""

    async def with_instance() -> T:
        with trio.fail_after(2 * PATIENCE):
            async with start_majordomo(
                max_workers=max_workers, processes=processes
            ) as jarvis:
                return await main(jarvis)

    return trio.run(with_instance)


def is_there(pid: int) -> bool:
    """Does it run, or wait to be looked at by its parent?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


async def until_gone(*pids: int) -> None:
    with trio.fail_after(PATIENCE):
        while any(map(is_there, pids)):  # noqa: ASYNC110 - no event tells it
            await trio.sleep(0.005)


# Reuse


def test_processes_are_warm_and_few() -> None:
    """They are kept for the next call, and no more are started than may run at once."""

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(actions.pid, n, **HERE) for n in range(20)]
        first = {(await channel.receive()).result() for channel in channels}
        assert len(first) <= 2
        assert (await jarvis.run(actions.pid, **HERE)).result() in first
        assert os.getpid() not in first

    run_with(main, max_workers=2)


def test_by_default_there_are_as_many_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 9.3: where `max_workers` says nothing, the cores of this process do."""
    monkeypatch.setattr("majordomo2._checks.cores", lambda: 1)

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(actions.pid, n, **HERE) for n in range(6)]
        assert len({(await channel.receive()).result() for channel in channels}) == 1

    run_with(main)


def test_a_process_is_replaced_after_so_many_calls() -> None:
    """`max_tasks_per_child`: for functions that leak."""

    async def main(jarvis: Majordomo) -> None:
        pids = [(await jarvis.run(actions.pid, **HERE)).result() for _ in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]
        await until_gone(pids[0], pids[2])

    run_with(main, processes=Processes(max_tasks_per_child=2))


def test_an_idle_process_ends() -> None:
    """`idle_timeout`: it ends by itself, and the next call gets a new one."""

    async def main(jarvis: Majordomo) -> None:
        pid = (await jarvis.run(actions.pid, **HERE)).result()
        await until_gone(pid)
        other = (await jarvis.run(actions.pid, **HERE)).result()
        assert other != pid

    run_with(main, processes=Processes(idle_timeout=0.05))


def test_an_idle_process_that_was_killed_costs_no_attempt() -> None:
    """Somebody else ended it: the next call never knows."""

    async def main(jarvis: Majordomo) -> None:
        pid = (await jarvis.run(actions.pid, **HERE)).result()
        os.kill(pid, signal.SIGKILL)
        await until_gone(pid)
        task = await jarvis.run(actions.pid, **HERE)
        assert (task.status, task.attempts) == ("success", 1)
        assert task.data != pid

    run_with(main)


# Deaths


@pytest.mark.parametrize("death", actions.DEATHS, ids=lambda death: death.__name__)
def test_a_death_costs_its_attempt_alone(death: Callable[[], None]) -> None:
    """SPEC 9.3: it fails with `WorkerDied`, keeps its state, and is retried; a neighbour
    feels nothing.
    """
    causes: list[object] = []

    class Ends(Observer):
        def attempt_ended(self, _id: str, _attempt: int, why: object, /) -> None:
            causes.append(why)

    async def main() -> None:
        async with start_majordomo(max_workers=2, observers=[Ends()]) as jarvis:
            neighbour = jarvis.add_task(actions.pings, 2000, **HERE)
            again: TaskOptions = {**HERE, "retries": 1}
            task = await jarvis.run(actions.dies_once, death.__name__, **again)
            found, pid = task.result()
            assert (found, task.attempts) == (f"before {death.__name__}", 2)
            assert pid != os.getpid()
            assert (await neighbour.receive()).status == "success"

    trio.run(main)
    (died,) = [cause for cause in causes if isinstance(cause, WorkerDied)]
    assert actions.DEATHS[death] in str(died)
    if death is actions.segfaults:
        assert (died.exitcode, died.signal) == (None, "SIGSEGV")
    if death is actions.exits:
        assert (died.exitcode, died.signal) == (3, None)
    assert pickle.loads(pickle.dumps(died)).args == died.args  # noqa: S301


def test_out_of_memory() -> None:
    """SPEC 9.3: an ordinary failure where Python can say so."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(actions.runs_out_of_memory, **HERE)
        assert task.status == "failure"
        assert isinstance(task.data, MemoryError | WorkerDied)

    run_with(main)


def test_a_function_in_c_that_holds_the_interpreter() -> None:
    """SPEC 4.3, 9.3: it is killed at its deadline as any other, and keeps its state."""

    async def main(jarvis: Majordomo) -> None:
        silent: TaskOptions = {**HERE, "keepalive": 0.5}
        task = await jarvis.run(actions.spins_in_c, **silent)
        assert task.status == "timeout"
        assert isinstance(task.state, int)
        await until_gone(task.state)

    run_with(main)


def test_the_children_are_killed_too() -> None:
    """SPEC 9.3: a timeout ends the whole process group, blocked signals or not."""

    async def main(jarvis: Majordomo) -> None:
        silent: TaskOptions = {**HERE, "keepalive": 0.5}
        task = await jarvis.run(actions.hang, **silent)
        assert task.status == "timeout"
        await until_gone(*cast("tuple[int, int]", task.state))

    run_with(main)


class Started(Observer):
    """Opens the event at the first saved state."""

    def __init__(self) -> None:
        self.saved = trio.Event()
        self.pids: list[int] = []

    def state_saved(self, _id: str, state: object, /) -> None:
        self.pids += cast("tuple[int, ...]", state)
        self.saved.set()


@pytest.mark.parametrize("how", ["stop", "cancel", "error", "outside"])
def test_nothing_is_left(how: str) -> None:
    """SPEC 9.3: not by `stop`, `cancel`, an error in the block, or a cancellation."""

    async def main() -> list[int]:
        started = Started()
        with trio.CancelScope() as scope, contextlib.suppress(LookupError):
            async with start_majordomo(observers=[started]) as jarvis:
                channel = jarvis.add_task(actions.hang, **HERE)
                await started.saved.wait()
                assert all(map(is_there, started.pids))
                match how:
                    case "stop":
                        jarvis.stop()
                    case "cancel":
                        channel.cancel()
                        assert (await channel.receive()).status == "cancelled"
                    case "error":
                        raise LookupError
                    case _:
                        scope.cancel()
        await until_gone(*started.pids)
        return started.pids

    assert len(trio.run(main)) == 2


SCRIPT = """
import sys, trio
from pathlib import Path
import process_actions
from majordomo2 import start_majordomo

async def main():
    async with start_majordomo() as jarvis:
        for _ in range(2):
            jarvis.add_task(
                process_actions.hang, Path(sys.argv[1]), runner="process", keepalive=600
            )

if __name__ == "__main__":
    trio.run(main)
"""


def survivors(token: str) -> list[int]:
    """Processes with this in their environment."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if token.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return [pid for pid in found if is_there(pid)]


def environment(token: str = "") -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return os.environ | {"PYTHONPATH": path, "MAJORDOMO2_TOKEN": token or "none"}


def wait_until(happened: Callable[[], bool]) -> None:
    """For what other processes do."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_parent(tmp_path: Path, number: int) -> None:
    """SPEC 9.3: not after Ctrl-C, nor after a SIGKILL of the parent."""
    token = f"{number}-{tmp_path}"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "pids").mkdir()
    parent = subprocess.Popen(
        [sys.executable, script, tmp_path / "pids"],
        env=environment(token),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
        # With the children of the workers; one that has just been started may not show its
        # environment yet.
        wait_until(lambda: len(survivors(token)) == 5)
        parent.send_signal(number)
        parent.wait(PATIENCE)
        wait_until(lambda: not survivors(token))
    finally:
        for pid in survivors(token):
            os.kill(pid, signal.SIGKILL)


def test_a_thread_watches_where_the_system_does_not(tmp_path: Path) -> None:
    """SPEC 9.3: without a signal for pipes, a thread kills the group."""
    script = """
        import fcntl, os, sys, time
        import majordomo2.runners._child as child
        del fcntl.F_SETSIG
        os.setsid()
        child.die_with_parent(int(sys.argv[1]))
        print("ready", flush=True)
        time.sleep(600)
    """
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(reading)],
        pass_fds=[reading],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.close(reading)
    os.close(writing)
    with process:
        assert process.wait(PATIENCE) == -signal.SIGKILL


def is_open(pipe: int) -> bool:
    try:
        os.fstat(pipe)
    except OSError:
        return False
    return True


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_of_the_parent_does_not_keep_the_workers() -> None:
    """SPEC 9.3: its child has none of the pipes whose end tells them that it died."""

    async def main(jarvis: Majordomo) -> int:
        pid = (await jarvis.run(actions.pid, **HERE)).result()
        child = os.fork()
        if not child:
            still = 99
            with contextlib.suppress(BaseException):
                pipes = [pipe for each in _process.OPEN for pipe in each.pipes]
                still = sum(map(is_open, pipes)) + (50 if len(pipes) < 3 else 0)
            os._exit(still)
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
        assert (await jarvis.run(actions.pid, **HERE)).result() == pid
        return os.waitstatus_to_exitcode(status)

    assert run_with(main) == 0


def test_what_an_action_forks_is_no_worker(capfd: pytest.CaptureFixture[str]) -> None:
    """SPEC 4.7: it can't answer in the action's stead, nor signal."""

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(actions.forks_a_child_that_returns, **HERE)).data == 0
        task = await jarvis.run(actions.forks_a_child_that_leaves, 9, **HERE)
        assert task.data == 9

    run_with(main)


def test_printing_harms_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """What an action prints, garbage too, goes where the parent prints, at once."""

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(actions.prints, "hello ", **HERE)).data == "hello "
        assert "hello " in capfd.readouterr().out

    run_with(main)


# What can't be pickled


def without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", untyped(None))


def message_of(task: Task[object]) -> str:
    assert task.status == "failure"
    assert isinstance(task.data, TypeError)
    assert task.attempts == 1  # it would be the same again
    return str(task.data)


def test_what_can_not_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 9.3: a clear error that names it, never a hang; the process lives on."""
    without_cloudpickle(monkeypatch)
    lock = threading.Lock()
    again: TaskOptions = {**HERE, "retries": 2}

    async def main(jarvis: Majordomo) -> None:
        pid = (await jarvis.run(actions.pid, **HERE)).result()
        with pytest.raises(
            TypeError, match=r"the action can't be pickled.*cloudpickle"
        ):
            jarvis.add_task(lambda: 1, **again)
        said = message_of(await jarvis.run(actions.same, lock, **again))
        assert said.startswith("argument 1 of <function same")
        said = message_of(await jarvis.run(actions.same, actions.Trap(), **again))
        assert "an argument can't be unpickled in a worker" in said
        assert "sprung" in said
        said = message_of(await jarvis.run(actions.returns_a_lock, **again))
        assert said.startswith("what <function returns_a_lock")
        said = message_of(await jarvis.run(actions.returns_a_trap, **again))
        assert "returned came from a worker process and can't be unpickled here" in said
        said = message_of(await jarvis.run(actions.declares_a_lock, **again))
        assert said.startswith("what success() was given can't be pickled")
        task = await jarvis.run(actions.saves_a_lock, **again)
        assert "the state can't be pickled" in str(task.result())
        closed = await jarvis.run(actions.raises_closed, **HERE)
        assert isinstance(closed.data, TypeError)
        assert "the exception that <function raises_closed" in str(closed.data)
        assert "no way" in str(closed.data)
        assert (await jarvis.run(actions.pid, **HERE)).result() == pid

    run_with(main)


def test_a_state_that_does_not_arrive() -> None:
    """SPEC 9.3: it was not saved, and so the action may not go on."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(actions.saves_a_trap, **HERE)
        assert task.status == "failure"
        assert "the state came from a worker process" in str(task.data)

    run_with(main)


def test_exceptions_come_back_whole() -> None:
    """SPEC 9.3: also one that stores other arguments than it takes; with the traceback."""

    async def main(jarvis: Majordomo) -> None:
        odd = (await jarvis.run(actions.raises_odd, **HERE)).data
        assert isinstance(odd, actions.Odd)
        assert (odd.args, odd.number) == (("3 blue",), 3)
        here = (await jarvis.run(actions.raises_here, **HERE)).data
        assert isinstance(here, ValueError)
        assert 'raise ValueError("here")' in str(here.__cause__)
        task = await jarvis.run(actions.fails_with_odd, **HERE)
        assert isinstance(task.data, actions.Odd)
        assert task.data.number == 4

    run_with(main)


def test_retry_on_sees_the_exception() -> None:
    """SPEC 8.1: it is asked with the very type."""

    async def main(jarvis: Majordomo) -> None:
        again: TaskOptions = {**HERE, "retries": 2, "retry_on": actions.Odd}
        assert (await jarvis.run(actions.raises_odd, **again)).attempts == 3
        assert (await jarvis.run(actions.raises_here, **again)).attempts == 1

    run_with(main)


def test_what_is_no_failure_leaves_the_block() -> None:
    """SPEC 4.9: `SystemExit` in a process too, with its code."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(actions.raises_exit, **HERE)

    with pytest.raises(SystemExit) as caught:
        run_with(main)
    assert caught.value.code == 7


def test_a_swallowed_signal(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 4.6: what was declared stands, and a later error is logged."""

    async def main(jarvis: Majordomo) -> None:
        returned = await jarvis.run(actions.swallows_then_returns, **HERE)
        assert returned.data == "declared"
        raised = await jarvis.run(actions.swallows_then_raises, **HERE)
        assert raised.data == "declared"

    run_with(main)
    assert "too late" in caplog.text


# Async functions, leftovers, contexts


def test_async_functions() -> None:
    """SPEC 9.1: under a Trio run of their own, with signals, and killed when they wait."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(actions.waits_in_a_loop_of_its_own, 0.01, **HERE)
        assert task.result() != os.getpid()
        assert task.state == "in a thread"
        silent: TaskOptions = {**HERE, "keepalive": 0.3}
        stuck = await jarvis.run(actions.waits_for_ever, **silent)
        assert stuck.status == "timeout"
        assert isinstance(stuck.state, int)
        await until_gone(stuck.state)

    run_with(main)


def test_a_leftover_touches_nobody() -> None:
    """SPEC 4.8: a thread of an action that is over can't signal for the next one."""

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(actions.leaves_a_thread, 0.001, **HERE)).data == "left"
        task = await jarvis.run(actions.pings, 3, **HERE)
        assert (task.data, task.state) == (3, 0)

    run_with(main, max_workers=1)


def test_many_pings(caplog: pytest.LogCaptureFixture) -> None:
    """SPEC 4.5: more than a pipe holds, beside a Trio run that is busy."""

    async def main(jarvis: Majordomo) -> None:
        channel = jarvis.add_task(actions.pings, 200_000, **HERE)
        while not channel.done:
            time.sleep(0.001)  # noqa: ASYNC251 - it is to be busy
            await trio.lowlevel.checkpoint()
        assert (await channel.receive()).state == 199_900

    run_with(main)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_log_records(caplog: pytest.LogCaptureFixture, level: int) -> None:
    """`forward_logs`: what passes the root's level reaches the loggers here, named."""
    caplog.set_level(logging.INFO)

    async def main(jarvis: Majordomo) -> str:
        task = await jarvis.run(actions.logs, level, **HERE)
        return task.id

    id = run_with(main, processes=Processes(forward_logs=True))
    records = [each for each in caplog.records if each.name == "majordomo2.tests"]
    assert len(records) == (level > logging.INFO)
    for record in records:
        assert record.getMessage().startswith("from ")
        assert vars(record)["task_id"] == id
        assert record.process != os.getpid()


def test_log_records_stay_there_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """Only if it is asked for."""
    run_with(log_in_a_process)
    assert not [each for each in caplog.records if each.name == "majordomo2.tests"]


async def log_in_a_process(jarvis: Majordomo) -> None:
    await jarvis.run(actions.logs, logging.WARNING, **HERE)


def test_large_arguments_and_results() -> None:
    """Arrays pass without a copy in the pickle, and can be changed where they arrive."""
    array = np.arange(3_000_000, dtype=np.float64)

    async def main(jarvis: Majordomo) -> None:
        twice = (await jarvis.run(actions.doubled, array, **HERE)).result()
        assert (twice == 2 * array).all()
        assert twice.flags.writeable
        data = bytes(range(256)) * 20_000
        assert (await jarvis.run(actions.same, data, **HERE)).result() == data

    run_with(main)


# Scripts and notebooks


def run_script(
    folder: Path, text: str, *, stdin: bool = False, block: str = ""
) -> subprocess.CompletedProcess[str]:
    """A script, or what is typed into an interpreter; without the module `block`."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    env = environment()
    if block:
        (folder / "hidden").mkdir()
        (folder / "hidden" / f"{block}.py").write_text("raise ImportError")
        env["PYTHONPATH"] = os.pathsep.join([str(folder / "hidden"), env["PYTHONPATH"]])
    return subprocess.run(
        [sys.executable, *(["-"] if stdin else [script])],
        input=script.read_text() if stdin else None,
        capture_output=True,
        text=True,
        env=env,
        timeout=2 * PATIENCE,
        check=False,
    )


MAIN = """
    import os, trio
    from majordomo2 import start_majordomo

    class Page:
        def __init__(self, text):
            self.text = text

    def page(text):
        return Page(text)

    async def main():
        async with start_majordomo() as jarvis:
            task = await jarvis.run(page, "a", runner="process")
            print(task.status, isinstance(task.data, Page) or task.data)
"""
GUARDED = f"{MAIN}\n    if __name__ == '__main__':\n        trio.run(main)\n"
UNGUARDED = f"{MAIN}\n    trio.run(main)\n"


@pytest.mark.parametrize("block", ["", "cloudpickle"])
def test_functions_of_a_script(tmp_path: Path, block: str) -> None:
    """A script with a guard is imported by the worker."""
    done = run_script(tmp_path, GUARDED, block=block)
    assert (done.stdout, done.returncode) == ("success True\n", 0), done.stderr


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """It is told what to do, and does not run twice."""
    done = run_script(tmp_path, UNGUARDED, block="cloudpickle")
    assert done.stdout.startswith("failure ")
    assert done.stdout.count("\n") == 1
    assert "if __name__ == '__main__':" in done.stdout


def test_a_script_without_a_guard_that_needs_none(tmp_path: Path) -> None:
    """The worker does not import it for functions of other modules."""
    done = run_script(tmp_path, UNGUARDED.replace("run(page, ", "run(str.upper, "))
    assert (done.stdout, done.returncode) == ("success A\n", 0), done.stderr


def test_a_notebook(tmp_path: Path) -> None:
    """What has no file works with cloudpickle, and says so without."""
    done = run_script(tmp_path, UNGUARDED, stdin=True)
    assert (done.stdout, done.returncode) == ("success True\n", 0), done.stderr
    done = run_script(tmp_path, UNGUARDED, stdin=True, block="cloudpickle")
    assert done.stdout.startswith("failure ")
    assert "install majordomo2[cloudpickle]" in done.stdout


def test_lambdas() -> None:
    """With cloudpickle they run."""
    here = threading.get_ident()

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(lambda n: (n + 1, here), 2, **HERE)
        assert task.result() == (3, here)

    run_with(main)


# Bad input, and a bad start


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"idle_timeout": -1}, "idle_timeout must be 0 seconds or more, not -1"),
        ({"idle_timeout": "x"}, "idle_timeout must be a number of seconds, not 'x'"),
        ({"max_tasks_per_child": 0}, "max_tasks_per_child must be 1 or more, not 0"),
        ({"forward_logs": 1}, "forward_logs must be True or False, not 1"),
    ],
)
def test_bad_options(options: dict[str, object], error: str) -> None:
    """Each names the parameter, its value and the remedy."""
    with pytest.raises((TypeError, ValueError), match=error):
        Processes(**untyped(options))
    assert repr(Processes(idle_timeout=3)).startswith("Processes(")
    with pytest.raises(TypeError, match="processes must be a Processes, not 4"):
        start_majordomo(processes=untyped(4))


def test_a_system_without_process_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 9.3: where a process can't be killed with its children, it says so at once."""
    monkeypatch.setattr("majordomo2._selection.os", SimpleNamespace(name="nt"))

    async def main(jarvis: Majordomo) -> None:
        with pytest.raises(ValueError, match=r"'process' on this system.*'thread'"):
            jarvis.add_task(actions.pid, **HERE)

    run_with(main)


def test_a_module_that_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt has begun while a process imports the module: but there is a limit."""
    (tmp_path / "endless.py").write_text(
        "import os, time\n"
        f"if os.getpid() != {os.getpid()}: time.sleep(600)\n"
        "def function(): pass\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(_process, "START", 1)
    function = untyped(__import__("endless")).function

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(function, **HERE)
        assert isinstance(task.data, WorkerDied)
        assert "it had not come to call" in str(task.data)

    run_with(main)


def test_processes_that_can_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt fails, and says why."""

    def refuse() -> list[str]:
        return ["/nowhere/python", "", "", ""]

    monkeypatch.setattr("multiprocessing.spawn.get_command_line", refuse)

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(actions.pid, **HERE)
        assert isinstance(task.data, WorkerDied)
        assert "no worker process could be started" in str(task.data)

    run_with(main)


# What a review found


def test_a_cancelled_process_is_never_used_again(tmp_path: Path) -> None:
    """SPEC 4.8: not even if what it sent last can't be taken."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(actions.pid, **HERE)
        channel = jarvis.add_task(actions.saves_what_is_only_here, tmp_path, **HERE)
        while not (tmp_path / "saved").exists():
            time.sleep(0.01)  # noqa: ASYNC251 - so that the state is still in the pipe
            await trio.lowlevel.checkpoint()
        channel.cancel()
        assert (await channel.receive()).status in ("cancelled", "failure")
        task = await jarvis.run(actions.pings_for, 0.2, **HERE)
        assert (task.data, task.state) == ("fine", {})

    run_with(main, max_workers=1)


def test_a_flood_of_states_is_cut_off() -> None:
    """SPEC 4.3: also where they come faster than an observer hears of them."""

    class Listens(Observer):
        heard = 0

        def state_saved(self, _id: str, _state: object, /) -> None:
            self.heard += 1
            time.sleep(0.0001)

    async def main() -> None:
        observer = Listens()
        with trio.fail_after(PATIENCE):
            async with start_majordomo(observers=[observer]) as jarvis:
                limited: TaskOptions = {**HERE, "attempt_timeout": 0.5}
                task = await jarvis.run(actions.floods, **limited)
        assert task.status == "timeout"
        assert observer.heard > 0

    trio.run(main)


def test_a_long_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 9.3: what a process needs to know may be more than a pipe holds."""
    monkeypatch.setattr(sys, "argv", ["program", *map(str, range(500_000))])

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(actions.same, 1, **HERE)).data == 1

    run_with(main)


def test_the_package_in_a_worker(tmp_path: Path) -> None:
    """SPEC 4.7: it is the package, by star and from many threads at once."""
    (tmp_path / "star.py").write_text(
        "from majordomo2 import *\ndef function():\n    keepalive()\n    return Task(1).data\n"
    )
    (tmp_path / "lazy.py").write_text(
        "import sys\ndef function():\n    return 'trio' in sys.modules\n"
    )
    script = f"""
        import sys, trio
        from majordomo2 import start_majordomo
        sys.path.insert(0, {str(tmp_path)!r})
        import star, lazy

        async def main():
            for function in lazy.function, star.function:
                async with start_majordomo() as jarvis:
                    print(await jarvis.get_task_data(function, runner="process"))

        if __name__ == "__main__":
            trio.run(main)
    """
    done = run_script(tmp_path, script)
    assert (done.stdout, done.returncode) == ("False\n1\n", 0), done.stderr


def test_threads_that_touch_the_package_first() -> None:
    """SPEC 4.7: none of them sees half of it."""

    async def main(jarvis: Majordomo) -> None:
        task = await jarvis.run(actions.is_touched_by_threads, **HERE)
        assert task.result() == []

    run_with(main)


def test_no_process_retires_at_work() -> None:
    """An `idle_timeout` of 0 ends those that are idle, and no others."""

    async def main(jarvis: Majordomo) -> None:
        channels = [jarvis.add_task(actions.pings_for, 0.3, **HERE) for _ in range(6)]
        results = [await channel.receive() for channel in channels]
        assert [task.data for task in results] == ["fine"] * 6

    run_with(main, max_workers=2, processes=Processes(idle_timeout=0))


def test_the_trio_run_is_held_up() -> None:
    """SPEC 4.3: the pings that wait in the pipe meanwhile are signs of life."""

    async def main(jarvis: Majordomo) -> None:
        await jarvis.run(actions.pid, **HERE)
        patient: TaskOptions = {**HERE, "keepalive": 0.5}
        channel = jarvis.add_task(actions.pings_for, 2, **patient)
        for _ in range(2):
            await trio.sleep(0.2)
            time.sleep(0.8)  # noqa: ASYNC251 - it is what holds it up
        assert (await channel.receive()).data == "fine"
        channel = jarvis.add_task(actions.pings_for, 0.2, **patient)
        await trio.sleep(0.05)
        time.sleep(1)  # noqa: ASYNC251 - and it ends meanwhile
        assert (await channel.receive()).data == "fine"

    run_with(main)


def test_a_large_argument_is_no_silence() -> None:
    """SPEC 4.3: the period runs from the moment that the action starts."""

    async def main(jarvis: Majordomo) -> None:
        patient: TaskOptions = {**HERE, "keepalive": 0.3}
        for _ in range(2):
            task = await jarvis.run(actions.same, actions.Slow(0.6), **patient)
            assert task.data == 1

    run_with(main)


def test_exceptions_that_resist() -> None:
    """SPEC 9.3: one that takes no assignment, one whose class is not here."""

    async def main(jarvis: Majordomo) -> None:
        frozen = (await jarvis.run(actions.raises_frozen, **HERE)).data
        assert isinstance(frozen, actions.Frozen)
        assert frozen.code == 3
        missing = (await jarvis.run(actions.raises_what_is_only_here, **HERE)).data
        assert isinstance(missing, TypeError)
        assert "raises_what_is_only_here" in str(missing)
        assert "the real reason" in str(missing.__cause__)

    run_with(main)


def test_a_script_without_a_guard_twice(tmp_path: Path) -> None:
    """The same process says it to the second task as well."""
    twice = UNGUARDED.replace(
        "            task = await",
        "            await jarvis.run(page, 'b', runner='process')\n            task = await",
    )
    done = run_script(tmp_path, twice, block="cloudpickle")
    assert "if __name__ == '__main__':" in done.stdout


@pytest.mark.parametrize("block", ["", "cloudpickle"])
def test_the_main_module_of_a_package(tmp_path: Path, block: str) -> None:
    """`python -m package`: nobody can import it again, so cloudpickle is asked."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(textwrap.dedent(GUARDED))
    (tmp_path / "hidden").mkdir()
    if block:
        (tmp_path / "hidden" / f"{block}.py").write_text("raise ImportError")
    env = environment()
    folders = str(tmp_path / "hidden"), str(tmp_path), env["PYTHONPATH"]
    env["PYTHONPATH"] = os.pathsep.join(folders)
    done = subprocess.run(
        [sys.executable, "-m", "package"],
        env=env,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    expected = "install majordomo2[cloudpickle]" if block else "success True"
    assert expected in done.stdout, done.stderr


@pytest.mark.parametrize("what", ["format", "pickle"])
def test_a_bad_log_record(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A record that can't be said or sent harms no task, as logging promises."""

    async def main(jarvis: Majordomo) -> None:
        assert (await jarvis.run(actions.logs_badly, what, **HERE)).data == what

    run_with(main, processes=Processes(forward_logs=True))
    assert "--- Logging error ---" in capfd.readouterr().err


@pytest.mark.parametrize("size", [10, 100_001])
def test_arrays_are_as_good_as_new(size: int) -> None:
    """Of any size, they can be changed and are aligned."""

    async def main(jarvis: Majordomo) -> None:
        given = np.zeros(size)
        assert (await jarvis.run(actions.can_be_changed, given, **HERE)).data == (
            True,
            True,
        )
        made = await jarvis.get_task_data(actions.array_of, size, **HERE)
        assert (made.flags.writeable, made.flags.aligned) == (True, True)

    run_with(main)


def test_a_retiring_process_has_its_place() -> None:
    """SPEC 9.3: no more than `max_workers` at once, those included that still end."""

    async def main(jarvis: Majordomo) -> None:
        before = -1
        for _ in range(3):
            task = await jarvis.run(actions.leaves_a_thread_that_stays, **HERE)
            assert not is_there(before)
            before = task.result()

    run_with(main, max_workers=1, processes=Processes(max_tasks_per_child=1))


def test_no_pipe_is_lost_where_there_are_too_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that were made are closed when the next one can't be."""
    made: list[int] = []
    real = os.pipe

    def few() -> tuple[int, int]:
        if len(made) >= 4:
            raise OSError(24, "Too many open files")
        made.extend(real())
        return made[-2], made[-1]

    monkeypatch.setattr(os, "pipe", few)
    with pytest.raises(OSError, match="Too many"):
        _wire.pipes(3)
    assert len(made) == 4
    assert not any(map(is_open, made))


# The wire


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    at = 0
    for cut in cuts:
        yield data[at : at + cut]
        at += cut
    yield data[at:]


VALUES = st.lists(
    st.one_of(
        st.just("ping"),
        st.integers(),
        st.binary(max_size=100),
        st.integers(60_000, 200_000).map(bytearray),
        st.integers(0, 90_000).map(lambda size: np.arange(size, dtype=np.uint8)),
    ),
    max_size=6,
)


@given(values=VALUES, cuts=st.lists(st.integers(1, 100_000), max_size=20))
def test_messages_pass_in_any_pieces(values: list[object], cuts: list[int]) -> None:
    """What is written is read, in order, however the pipe cuts it; pings may merge."""
    data = b""
    for value in values:
        if isinstance(value, str):
            data += _wire.ONE_PING
        else:
            data += written(_pickling.packed(_wire.STATE, value))
    found = [
        "ping" if message.kind == _wire.PING else message.load()
        for message in read(list(pieces(data, cuts)))
    ]
    assert [each for each in map(plain, found) if each != "ping"] == [
        each for each in map(plain, values) if each != "ping"
    ]
    assert ("ping" in map(plain, found)) == ("ping" in map(plain, values))


def plain(value: object) -> object:
    return value.tobytes() if isinstance(value, np.ndarray) else value


def written(message: _wire.Frame) -> bytes:
    """What the message writes, into a pipe that takes all."""
    reading, writing = os.pipe()
    parts: list[bytes] = []

    def collect() -> None:
        while chunk := os.read(reading, 1 << 20):
            parts.append(chunk)

    thread = threading.Thread(target=collect)
    thread.start()
    while not message.write(writing):
        pass
    os.close(writing)
    thread.join()
    os.close(reading)
    return b"".join(parts)


def read(parts: list[bytes]) -> Iterator[_wire.Message]:
    """The messages in what comes through a pipe in these pieces."""
    reading, writing = os.pipe()
    _wire.enlarge(writing)
    os.set_blocking(reading, False)
    inbox = _wire.Inbox(reading)
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(writing, rest[: 1 << 16]) :]
            with contextlib.suppress(BlockingIOError):
                while True:
                    yield from inbox.read() or ()
    os.close(writing)
    assert inbox.read() is None
    os.close(reading)
