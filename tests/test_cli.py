"""The command line: lines, summary, exit status, wrong usage, Ctrl-C."""

from __future__ import annotations

import importlib.metadata
import io
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias, cast

import pytest
import trio
import trio.testing
from typer.testing import CliRunner

import command
import majordomo2
from command import Done, finished, lines_of, stream_of
from majordomo2._cli import _cause, _inputs, _run, main
from majordomo2._cli._command import app

FUNCTIONS = """
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import threading

import trio

from majordomo2 import failure, update_data

FOREVER = threading.Event()
CONSTANT = 3


def echo(x):
    return x


async def echo_async(x):
    await trio.lowlevel.checkpoint()
    return x + "!"


class AsyncCallable:
    async def __call__(self, x):
        await trio.lowlevel.checkpoint()
        return x + "!"


instance = AsyncCallable()


class Tool:
    @staticmethod
    def method(x):
        return "tool " + x


def loud(x):
    print("printed")
    sys.stdout.write("written\\n")
    os.write(1, b"raw\\n")
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    return x


def show_type(x):
    return type(x).__name__


def where(x):
    return threading.current_thread() is threading.main_thread()


def value(x):
    return eval(x)


def refuse(x):
    if x != "good":
        raise LookupError("refused\\n" + x)
    return x


def declared(x):
    failure({"left": x})


def leave(x):
    if x == "leave":
        sys.exit(3)
    FOREVER.wait()


def interrupted(x):
    raise KeyboardInterrupt


def hang(x):
    if x == "hang":
        update_data("half")
        print("hangs", flush=True)
        FOREVER.wait()
    return x


async def hang_async(x):
    await trio.sleep_forever()


def spin_shortly(x):
    failure("not silent: this one has to return")


def spin(x):
    print("spins", flush=True)
    while True:
        pass


async def generator(x):
    yield x


def two(a, b):
    return a


two_fixed = functools.partial(two, b=3)


def giving(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function("given", *args)

    return wrapper


@giving
def given(what, x):
    return what + " " + x


@giving
async def given_async(what, x):
    return what + " " + x


def read(x):
    return json.loads(x)


async def ask(name):
    raise ConnectionError("refused by " + name)


async def ask_all(names):
    async with trio.open_nursery() as nursery:
        for name in names.split(","):
            nursery.start_soon(ask, name)


def deep_group(x):
    error = LookupError("deep")
    for _ in range(10_000):
        error = ExceptionGroup("outer", [error])
    raise error


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError


def unspeakable(x):
    raise Unspeakable
"""


def place(text: str) -> str:
    """Where this text stands first, as the summary says it."""
    return f"(at functions.py:{FUNCTIONS.partition(text)[0].count(chr(10)) + 1})"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the module `functions`."""
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    added = {name: sys.modules[name] for name in sys.modules.keys() - before}
    if "functions" in added:
        added["functions"].FOREVER.set()  # lets abandoned threads go
    for name, module in added.items():
        if str(module.__file__).startswith(str(tmp_path)):
            del sys.modules[name]


Call: TypeAlias = Callable[..., Done]


@pytest.fixture
def call(folder: Path) -> Call:
    """`majordomo2 run ...`, inside this process."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Done:
        return command.call("run", *arguments, stdin=stdin)

    return run


COMMAND = [sys.executable, "-m", "majordomo2", "run"]


def process(
    folder: Path, *arguments: str, stdin: int = subprocess.DEVNULL
) -> AbstractContextManager[subprocess.Popen[str]]:
    """`majordomo2 run ...` as a process; it is killed if the test gives up on it."""
    return command.process(*COMMAND, *arguments, cwd=folder, stdin=stdin)


# Results


def test_a_line_each_in_order(call: Call) -> None:
    """Each input is a task and gets a line of its own, in input order (SPEC 11.4)."""
    done = call("functions:echo", "b", "a", "c")
    assert (done.status, done.err) == (0, "3 inputs: 3 success\n")
    assert [line["data"] for line in done.lines] == ["b", "a", "c"]
    line = done.lines[0]
    assert list(line) == ["id", "input", "status", "attempts", "seconds", "data"]
    assert (line["input"], line["status"], line["attempts"]) == ("b", "success", 1)
    assert str(line["id"]).startswith("task-")


def test_ids_are_those_of_the_tasks(call: Call) -> None:
    """The ids are the library's own, so they count up without gaps."""
    numbers = [
        int(str(line["id"]).removeprefix("task-"))
        for line in call("functions:echo", *"abcd").lines
    ]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


@pytest.mark.parametrize("name", ["echo_async", "instance"])
def test_async_functions_stay_async(call: Call, name: str) -> None:
    """An async function is awaited, whatever form it has (SPEC 9.1)."""
    assert call(f"functions:{name}", "a").lines[0]["data"] == "a!"
    assert call(f"functions:{name}", "a", "--runner", "async").status == 0


@pytest.mark.parametrize(
    ("runner", "in_main_thread"), [("auto", False), ("thread", False), ("inline", True)]
)
def test_runner(call: Call, runner: str, in_main_thread: bool) -> None:
    """`--runner` says where the function runs; a plain one in a thread (SPEC 9.1)."""
    done = call("functions:where", "a", "--runner", runner)
    assert done.lines[0]["data"] is in_main_thread


def test_attributes_of_classes_and_builtins(call: Call) -> None:
    """What stands after the colon may be a method, a class or a builtin function."""
    assert call("functions:Tool.method", "a").lines[0]["data"] == "tool a"
    assert call("builtins:len", "abc").lines[0]["data"] == 3
    assert call("fractions:Fraction", "1/2").lines[0]["data"] == "Fraction(1, 2)"


def test_functions_of_one_argument(call: Call) -> None:
    """A partial is one; so is a decorated function that the decorator gives more."""
    assert call("functions:two_fixed", "a").lines[0]["data"] == "a"
    assert call("functions:given", "a").lines[0]["data"] == "given a"


def test_a_decorated_async_function(call: Call) -> None:
    """`--runner async` also takes an async function in a plain decorator's wrapper."""
    done = call("functions:given_async", "a", "--runner", "async")
    assert done.lines[0]["data"] == "given a"


def test_options_reach_the_tasks(call: Call) -> None:
    """Retries and the keepalive period are those given (SPEC 4.3, 4.4)."""
    done = call("functions:refuse", "bad", "--retries", "1")
    assert done.lines[0]["attempts"] == 2
    options = ("--retries", "0", "--keepalive", "0.05", "--workers", "1")
    done = call("functions:hang", "hang", "b", *options)
    assert [line["status"] for line in done.lines] == ["timeout", "success"]
    assert done.lines[0]["data"] == "half"
    assert cast("float", done.lines[0]["seconds"]) >= 0.05
    assert "hang: timeout: no sign of life for 0.05 s" in done.err


@pytest.mark.parametrize("option", ["--workers", "--retries", "--keepalive"])
def test_no_limit(call: Call, option: str) -> None:
    """`inf` is no limit, as math.inf is in the library."""
    assert call("functions:echo", "a", option, "inf").status == 0


# Failures


def test_failures(call: Call) -> None:
    """A failure has its error in its line, its cause in the summary; status 1."""
    done = call("functions:refuse", "good", "bad", "--retries", "0")
    assert done.status == 1
    good, bad = done.lines
    assert good["data"] == "good"
    assert bad["error"] == {"type": "LookupError", "message": "refused\nbad"}
    assert "data" not in bad
    counts, failure = done.err.splitlines()
    assert counts == "2 inputs: 1 success, 1 failure"
    said = f"bad: failure: LookupError: refused\\nbad {place('raise LookupError')}"
    assert failure == f"  {bad['id']} {said}"


def test_the_place_is_in_the_users_code(call: Call, folder: Path) -> None:
    """The summary says where the user's code was, and not the library's (SPEC 11.4)."""
    done = call("functions:read", "{", "--retries", "0")
    assert place("return json") in done.err
    assert "at " not in str(done.lines[0]["error"])
    installed = folder / "site-packages"
    installed.mkdir()
    (installed / "other.py").write_text("def f(x):\n    raise LookupError\n")
    sys.path.insert(0, str(installed))
    done = call("other:f", "a", "--retries", "0")
    assert "LookupError (at other.py:2)" in done.err


def test_a_place_outside_of_the_path() -> None:
    """A file in no folder of the path for imports is named in full."""
    code = compile("raise LookupError", "/nowhere/a.py", "exec")
    with pytest.raises(LookupError) as caught:
        exec(code)  # noqa: S102 - our own, for its file name
    assert _cause.cause_and_place(caught.value) == "LookupError (at /nowhere/a.py:1)"


def test_no_place(call: Call) -> None:
    """What no Python code raised has no place."""
    done = call("builtins:int", "x", "--retries", "0")
    assert done.err.endswith("with base 10: 'x'\n")


def test_what_is_in_a_group(call: Call) -> None:
    """Of a group the exceptions in it are said, and the place of one (SPEC 11.4)."""
    done = call("functions:ask_all", "a", "b,b", "--retries", "0")
    said = "Exceptions from Trio nursery: ConnectionError: refused by a"
    one, two = done.lines
    assert one["error"] == {"type": "ExceptionGroup", "message": said}
    assert str(two["error"]).count("ConnectionError: refused by b") == 2
    assert f"failure: ExceptionGroup: {said} {place('raise Conn')}" in done.err


def test_large_groups(call: Call) -> None:
    """Of a group with many exceptions the first five are said; it may be deep."""
    done = call("functions:ask_all", "a,a,a,a,a,a", "--retries", "0")
    assert str(done.lines[0]["error"]).count("refused by a") == 5
    assert "; …" in str(done.lines[0]["error"])
    done = call("functions:deep_group", "a", "--retries", "0")
    assert "ExceptionGroup: outer: LookupError: deep" in done.err


HINT = "give fewer --workers, or a longer --keepalive"


@pytest.mark.parametrize(
    ("arguments", "hinted"),
    [
        ("functions:hang hang", True),
        ("functions:hang hang --runner thread", True),
        ("functions:hang hang --workers 1", False),
        ("functions:hang_async a", False),
        ("functions:spin_shortly a --runner inline", False),
        ("functions:refuse bad", False),
    ],
)
def test_hint_for_threads_that_compute(
    call: Call, arguments: str, hinted: bool
) -> None:
    """After timeouts of a plain function in several threads (SPEC 11.4).

    They share the interpreter, so each that computes is slower, and longer silent.
    """
    done = call(*arguments.split(), "--retries", "0", "--keepalive", "0.05")
    assert (HINT in done.err) is hinted


def test_statuses_in_one_order(call: Call) -> None:
    """The summary has the statuses in an order of its own, not that of the inputs."""
    done = call("functions:refuse", "bad", "good", "--retries", "0")
    assert done.err.startswith("2 inputs: 1 success, 1 failure\n")


def test_first_failures(call: Call) -> None:
    """The summary names the first five failures, and counts the others."""
    done = call("functions:refuse", *"abcdefg", "--retries", "0")
    counts, *failures, more = done.err.splitlines()
    assert counts == "7 inputs: 7 failure"
    assert [line.split()[1] for line in failures] == ["a:", "b:", "c:", "d:", "e:"]
    assert more == "  … and 2 more"


def test_declared_failure(call: Call) -> None:
    """What the function gave to `failure` is the data (SPEC 4.6)."""
    done = call("functions:declared", "x")
    assert (done.status, done.lines[0]["data"]) == (1, {"left": "x"})
    assert "failure: {'left': 'x'}" in done.err


def test_failures_are_said_once(folder: Path) -> None:
    """The library's log doesn't say again what the summary says."""
    with process(folder, "functions:refuse", "bad", "--retries", "0") as child:
        assert len(finished(child).err.splitlines()) == 2


def test_an_error_that_cannot_be_said(call: Call) -> None:
    """An exception whose own str() raises is said nevertheless."""
    done = call("functions:unspeakable", "x", "--retries", "0")
    message = "<Unspeakable, whose str() raised RuntimeError>"
    assert done.lines[0]["error"] == {
        "type": "functions.Unspeakable",
        "message": message,
    }
    assert message in done.err


@pytest.mark.parametrize(
    ("name", "cause", "text"),
    [
        ("leave", "SystemExit: 3 PLACE, raised for the input leave", "sys.exit"),
        (
            "interrupted",
            "KeyboardInterrupt PLACE, raised for the input leave",
            "raise KeyboardInterrupt",
        ),
    ],
)
def test_what_is_no_failure_ends_the_run(
    call: Call, name: str, cause: str, text: str
) -> None:
    """SystemExit and the like cancel the rest; all have their line (SPEC 4.9)."""
    done = call(f"functions:{name}", "leave", "b", "c", "--workers", "1")
    assert done.status == 1
    assert [line["status"] for line in done.lines] == ["cancelled"] * 3
    assert [line["input"] for line in done.lines] == ["leave", "b", "c"]
    counts, last = done.err.splitlines()
    assert counts == "3 inputs: 3 cancelled"
    assert last == f"stopped: the function raised {cause}".replace("PLACE", place(text))


def test_inputs_that_were_never_added(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an input to which a run that ended early didn't come has its line."""
    monkeypatch.setattr(_run, "WINDOW", 1)
    done = call("functions:leave", "leave", *"bcde")
    assert [line["status"] for line in done.lines] == ["cancelled"] * 5
    assert [line["input"] for line in done.lines] == ["leave", *"bcde"]
    assert done.lines[-1]["attempts"] == done.lines[-1]["seconds"] == 0


def test_an_error_of_our_own_is_not_hidden() -> None:
    """What isn't let out by the function is a bug, and comes out as such."""
    options = majordomo2.TaskOptions(keepalive=-1)
    plan = _run.Plan(str, ["a"], None, 1, options, io.BytesIO())
    with pytest.raises(ExceptionGroup) as caught:
        trio.run(_run.Run(plan).run)
    assert caught.group_contains(ValueError, match="keepalive")


# What JSON can and can't say


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("None", None),
        ("[None, 'null']", [None, "null"]),
        ("2**100", 2**100),
        ("{1: (2, 3)}", {"1": [2, 3]}),
        ("{3}", [3]),
        ("pathlib.Path('/a')", "/a"),
        ("[pathlib.PurePath('\\udcff'), None]", ["\\udcff", None]),
        ("{pathlib.Path('a'): 1}", {"a": 1}),
        (
            "dataclasses.make_dataclass('P', ['x'])(x=__import__('datetime').date.min)",
            {"x": "0001-01-01"},
        ),
    ],
)
def test_data_as_json(call: Call, expression: str, data: object) -> None:
    """What JSON can say is said in JSON."""
    line = call("functions:value", expression).lines[0]
    assert line["data"] == data
    assert "repr" not in line


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("object", "<class 'object'>"),
        ("[1j]", "[1j]"),
        ("b'abc'", "b'abc'"),
        ("[bytearray(b'a')]", "[bytearray(b'a')]"),
        ("{1: 2, '1': 3}", "{1: 2, '1': 3}"),
        ("float('nan')", "nan"),
        ("{'a': [float('-inf'), None]}", "{'a': [-inf, None]}"),
        ("{(1, 2): 3}", "{(1, 2): 3}"),
        ("'\\udcff'", "'\\udcff'"),
        ("ValueError('returned')", "ValueError('returned')"),
        ("(a := []).append(a) or a", "[[...]]"),
        (
            "type('X', (), {'__repr__': lambda _: 1 / 0})()",
            "<X, whose repr() raised ZeroDivisionError>",
        ),
        (
            "type('X', (), {'__repr__': lambda _: '\\udcff'})()",
            "\\udcff",
        ),
        (
            "__import__('functools').reduce(lambda a, _: [a], range(100000), [])",
            "<list, whose repr() raised RecursionError>",
        ),
    ],
)
def test_data_as_repr(call: Call, expression: str, text: str) -> None:
    """What JSON can't say is given as its repr, and marked so."""
    done = call("functions:value", expression)
    assert done.status == 0
    line = done.lines[0]
    assert (line["data"], line["repr"]) == (text, True)


def test_json_that_is_none(call: Call) -> None:
    """What says of itself that it is JSON is not believed: each line is one."""
    line = call("functions:value", "__import__('msgspec').Raw(b'no\\njson')").lines[0]
    assert line["repr"] is True
    assert str(line["data"]).startswith("<msgspec.Raw")


def test_what_is_not_unicode(folder: Path, call: Call) -> None:
    """An input that isn't UTF-8 reaches the function, and its line is valid JSON."""
    name = os.fsdecode(b"\xff\n")
    done = call("functions:refuse", name, "--retries", "0")
    assert done.lines[0]["input"] == "\\udcff\n"
    assert "\\udcff\\n: failure: LookupError: refused\\n\\udcff\\n" in done.err
    done = call("functions:echo", "--stdin", stdin=b"\xc3\xa4\n\xff\n")
    assert [line["data"] for line in done.lines] == ["ä", "'\\udcff'"]


def test_long_causes_are_cut() -> None:
    """A cause of any length takes one line of the summary."""
    assert _cause.in_a_line("x" * 10_000) == "x" * _cause.LONGEST + "…"


# Inputs


def test_files(folder: Path, call: Call) -> None:
    """`--files` takes paths and globs, sorted, and gives `Path`s."""
    (folder / "sub" / "deep").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "[a].txt", "sub/deep/c.txt"):
        (folder / name).touch()
    patterns = ["[a].txt", "**/*.txt", str(folder / "sub" / "*" / "*")]
    done = call("functions:show_type", "--files", *patterns)
    assert {line["data"] for line in done.lines} == {type(folder).__name__}
    assert [line["input"] for line in done.lines] == [
        "[a].txt",
        *("[a].txt", "a.txt", "b.txt", "sub/deep/c.txt"),
        str(folder / "sub/deep/c.txt"),
    ]


def test_globs_match_no_folders(folder: Path, call: Call) -> None:
    """A glob stands for files."""
    (folder / "sub").mkdir()
    (folder / "sub" / "a").touch()
    done = call("functions:echo", "--files", "s**/**")
    assert [line["input"] for line in done.lines] == ["sub/a"]


def test_stdin(call: Call) -> None:
    """`--stdin` gives a line each, without its end; an empty one too."""
    done = call("functions:value", "--stdin", stdin="'a'\r\n\n'b'")
    assert [line["input"] for line in done.lines] == ["'a'", "", "'b'"]


def test_lines_that_come_in_parts() -> None:
    """A line is a line, however its bytes come, and waits for no later one."""

    class Parts(io.BytesIO):
        parts: Sequence[bytes] = (b"a", b"b\nc", b"\xc3", b"\xa4\nd\n", b"e", b"")

        def read(self, _size: int | None = -1, /) -> bytes:
            part, *self.parts = self.parts
            return part

    async def read() -> list[list[str]]:
        reader = _inputs.LineReader(Parts())
        return [await reader.more() for _ in range(5)]

    assert trio.run(read) == [["ab"], ["cä", "d"], ["e"], [], []]


def test_restarts_come_soon() -> None:
    """A restart doesn't wait for all other inputs, nor do the lines behind it."""
    calls: list[str] = []

    async def action(item: str) -> None:
        calls.append(item)
        await trio.sleep(1)  # meanwhile as many inputs are taken as may be
        if item == "bad":
            raise LookupError

    inputs = ["bad", *["good"] * 100]
    options = majordomo2.TaskOptions(retries=3, keepalive=math.inf)
    plan = _run.Plan(action, inputs, None, 1, options, io.BytesIO())
    trio.run(_run.Run(plan).run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert max(i for i, item in enumerate(calls) if item == "bad") < 10


def test_more_inputs_than_the_window(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs are taken as lines are written: endless ones need bounded memory."""
    monkeypatch.setattr(_run, "WINDOW", 2)
    done = call("functions:echo", "--stdin", stdin="a\n" * 50)
    assert len(done.lines) == 50


# Output


def test_output(folder: Path, call: Call) -> None:
    """`--output` writes the lines to a file, and nothing to standard output."""
    done = call("functions:echo", "a", "b", "--output", "out.jsonl")
    assert (done.status, done.out) == (0, "")
    lines = lines_of((folder / "out.jsonl").read_text())
    assert [line["data"] for line in lines] == ["a", "b"]


def test_dashes(call: Call) -> None:
    """`--output -` is standard output; the input - is a string as any other."""
    done = call("functions:echo", "-", "--output", "-")
    assert (done.status, done.lines[0]["data"]) == (0, "-")
    assert call("functions:echo", "--", "-x").lines[0]["data"] == "-x"


def test_only_lines_on_standard_output(folder: Path) -> None:
    """What the function, its children and C code print goes to standard error."""
    with process(folder, "functions:loud", "a") as child:
        done = finished(child)
    assert [line["data"] for line in done.lines] == ["a"]
    printed = done.err.splitlines()
    assert sorted(printed[:-1]) == ["child", "printed", "raw", "written"]
    assert printed[-1] == "1 input: 1 success"


def test_printing_inside_this_process(call: Call) -> None:
    """Without a process of its own, what Python code prints is kept apart too."""
    done = call("functions:hang", "a")
    assert len(done.lines) == 1


def test_partial_writes() -> None:
    """A stream without a buffer may take a part at a time; all of it is written."""
    taken: list[bytes] = []

    class Slow(io.BytesIO):
        def write(self, data: object, /) -> int:
            taken.append(bytes(cast("bytes", data))[:2])
            return len(taken[-1])

    _run.write_all(Slow(), b"abcde")
    assert taken == [b"ab", b"cd", b"e"]


def test_a_full_disk(call: Call) -> None:
    """Lines that can't be written end the run, with the reason; status 1."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = call("functions:echo", *"abc", "--output", "/dev/full")
    assert done.status == 1
    assert "the lines can't be written: No space left on device" in done.err


# A broken pipe


def test_broken_pipe(folder: Path) -> None:
    """When nobody reads any more it ends quietly, with the status of SIGPIPE."""
    with process(folder, "functions:echo", "--stdin", stdin=subprocess.PIPE) as child:
        stdin, stdout = stream_of(child.stdin), stream_of(child.stdout)
        stdin.write("a\n")
        stdin.flush()
        # It comes while standard input is still open.
        assert lines_of(stdout.readline())[0]["data"] == "a"
        stdout.close()
        stdin.write("b\n")
        stdin.flush()
        assert stream_of(child.stderr).read() == ""
        assert child.wait(timeout=60) == 141


def test_broken_pipe_with_much_to_do(folder: Path) -> None:
    """The instance is stopped, whatever hangs in it: it doesn't wait for that."""
    inputs = ["a", *["hang"] * 2, *["b"] * 1000]
    options = ["--keepalive", "0.1", "--retries", "0"]
    with process(folder, "functions:hang", *inputs, *options) as child:
        stream_of(child.stdout).close()
        assert child.wait(timeout=60) == 141


class Closed(io.BytesIO):
    """A pipe that nobody reads."""

    def write(self, data: object, /) -> int:
        raise BrokenPipeError


def test_broken_pipe_stops_the_instance() -> None:
    """What runs is cancelled at the first line that can't be written."""

    async def action(item: str) -> None:
        if item == "hang":
            await trio.sleep_forever()

    options = majordomo2.TaskOptions(keepalive=60)
    plan = _run.Plan(action, ["a", "hang"], None, 2, options, Closed())
    run = _run.Run(plan)
    trio.run(run.run)
    assert isinstance(run.write_error, BrokenPipeError)
    assert not run.summary.counts


def test_broken_pipe_status(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quietly: there is no summary either."""

    def write_all(_stream: object, _data: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(_run, "write_all", write_all)
    assert call("functions:echo", *"abc") == Done(141, "", "")


# Ctrl-C


def test_ctrl_c(folder: Path) -> None:
    """What runs is cancelled, every input has its line, the summary is said: 130."""
    inputs = ["a", "hang", "b"]
    with process(folder, "functions:hang", *inputs, "--keepalive", "inf") as child:
        first = stream_of(child.stdout).readline()
        assert stream_of(child.stderr).readline() == "hangs\n"
        child.send_signal(signal.SIGINT)
        done = finished(child)
    assert done.status == 130
    lines = lines_of(first + done.out)
    assert [line["input"] for line in lines] == inputs
    assert [line["status"] for line in lines[:2]] == ["success", "cancelled"]
    assert lines[1]["data"] == "half"
    assert done.err.startswith("3 inputs: ")


def test_ctrl_c_while_it_waits_for_lines(folder: Path) -> None:
    """It doesn't wait for the end of standard input."""
    with process(folder, "functions:echo", "--stdin", stdin=subprocess.PIPE) as child:
        stdin = stream_of(child.stdin)
        stdin.write("a\n")
        stdin.flush()
        stream_of(child.stdout).readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130
        assert stream_of(child.stderr).read() == "1 input: 1 success\n"


def test_ctrl_c_twice(folder: Path) -> None:
    """The second one ends the process at once, even in a function that never waits."""
    with process(folder, "functions:spin", "a", "--runner", "inline") as child:
        assert stream_of(child.stderr).readline() == "spins\n"
        # Two that come together may be one to the process: until it has ended.
        while child.poll() is None:
            child.send_signal(signal.SIGINT)
        assert child.returncode == -signal.SIGINT
        assert stream_of(child.stdout).read() == ""


def test_ctrl_c_inside_this_process(call: Call) -> None:
    """As above; what was there for SIGINT before is there again."""
    before = signal.getsignal(signal.SIGINT)
    expression = "__import__('signal').raise_signal(2)"
    done = call("functions:value", expression, "'b'", "--runner", "inline")
    assert done.status == 130
    assert len(done.lines) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_broken_pipe_after_ctrl_c(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C also ends who reads: the summary is said nevertheless."""

    def write_all(_stream: object, _data: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(_run, "write_all", write_all)
    expression = "__import__('signal').raise_signal(2)"
    done = call("functions:value", expression, "--runner", "inline")
    assert (done.status, done.out) == (130, "")
    assert done.err.startswith("0 inputs\n")


@pytest.mark.parametrize("inside", [True, False])
def test_sigterm(folder: Path, call: Call, inside: bool) -> None:
    """SIGTERM ends it as Ctrl-C does, with the status 143 (SPEC 11.4)."""
    if inside:
        before = signal.getsignal(signal.SIGTERM)
        expression = "__import__('signal').raise_signal(15)"
        done = call("functions:value", expression, "'b'", "--runner", "inline")
        assert signal.getsignal(signal.SIGTERM) is before
    else:
        arguments = ["functions:hang", "hang", "b", "--keepalive", "inf"]
        with process(folder, *arguments) as child:
            assert stream_of(child.stderr).readline() == "hangs\n"
            child.terminate()
            done = finished(child)
        assert done.lines[0]["status"] == "cancelled"
    assert done.status == 143
    assert len(done.lines) == 2
    assert done.err.startswith("2 inputs: ")


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nowhere:f a", "there is no module nowhere"),
        ("functions.nowhere:f a", "there is no module functions.nowhere"),
        ("functions:ecko a", "there is no functions:ecko: did you mean echo?"),
        ("functions:Tool.xyz a", "there is no functions:Tool.xyz: check the name"),
        ("functions:CONSTANT a", "functions:CONSTANT is no function, but 3"),
        ("functions a", "write it as package.module:function, not functions"),
        (":echo a", "write it as package.module:function, not :echo"),
        ("functions: a", "write it as package.module:function, not functions:"),
        ("broken:f a", "importing broken raised SyntaxError"),
        ("needy:f a", "importing needy raised ModuleNotFoundError: No module named"),
        ("leaving:f a", "importing leaving raised SystemExit: 4"),
        ("needy:f a", "named 'nowhere_to_be_found' (at needy.py:1)"),
        ("functoins:f a", "there is no module functoins: did you mean functions?"),
        ("pkg.mdo:f a", "there is no module pkg.mdo: did you mean pkg.mod?"),
        ("functions.py:echo a", "no module functions.py: did you mean functions?"),
        ("./functions:echo a", "write the module with dots"),
        (".functions:echo a", "write the module with dots"),
        ("functions:generator a", "'FUNCTION': functions:generator is an async gen"),
        ("functions:two a", "functions:two(a, b) can't be called with one argument"),
        ("functions:Tool a", "functions:Tool() can't be called with one argument"),
        (
            "functions:echo_async a --runner thread",
            "'--runner': thread takes a plain function, and functions:echo_async is",
        ),
        ("functions:echo_async a --runner inline", "inline takes a plain function"),
        (
            "functions:echo a --runner async",
            "'--runner': async takes an async function, and functions:echo is a plain",
        ),
        ("functions:echo", "there are none: give some, or --stdin"),
        ("functions:echo --files", "there are none: give paths or globs"),
        ("functions:echo --files -", "no file -: for standard input write --stdin"),
        ("functions:echo a --stdin", "leave INPUTS out"),
        ("functions:echo --files --stdin", "leave --files out"),
        ("functions:echo --stdin", "there were no inputs: it held no line"),
        ("functions:echo --files nowhere.txt", "there is no file nowhere.txt"),
        ("functions:echo --files sub", "sub is a folder: write 'sub/**/*'"),
        ("functions:echo --files *.nothing", "no file matches *.nothing"),
        ("functions:echo a --output nowhere/x", "folder nowhere isn't there"),
        ("functions:echo a --output sub", "can't write sub: Is a directory"),
        ("functions:echo a --workers 0", "1 or more, not 0"),
        ("functions:echo a --workers abc", "1 or more, not abc"),
        ("functions:echo a --workers nan", "1 or more, not nan"),
        ("functions:echo a --workers -1", "1 or more, not -1"),
        ("functions:echo a --retries -1", "0 or more, not -1"),
        ("functions:echo a --retries 1.5", "0 or more, not 1.5"),
        ("functions:echo a --keepalive nan", "0 seconds or more, not nan"),
        ("functions:echo a --keepalive -0.1", "0 seconds or more, not -0.1"),
        ("functions:echo a --keepalive abc", "0 seconds or more, not abc"),
        (
            "functions:echo a --runner fiber",
            "'--runner': it must be auto, async, inline, thread or process, not fiber",
        ),
        ("functions:echo a --runner thred", "not thred: did you mean thread?"),
        ("functions:echo a --nonsense", "--nonsense"),
        ("", "FUNCTION"),
    ],
)
def test_wrong_usage(folder: Path, call: Call, arguments: str, said: str) -> None:
    """It says what is wrong and what to do; status 2; no line (SPEC 11.4)."""
    (folder / "sub").mkdir()
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__init__.py").touch()
    (folder / "pkg" / "mod.py").touch()
    (folder / "broken.py").write_text("def")
    (folder / "needy.py").write_text("import nowhere_to_be_found")
    (folder / "leaving.py").write_text("raise SystemExit(4)")
    done = call(*arguments.split())
    assert (done.status, done.out) == (2, "")
    assert "Usage: " in done.err
    assert said in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("name", "arguments"), [("stdin", ["--stdin"]), ("stdout", ["a"])]
)
def test_closed_streams(folder: Path, name: str, arguments: list[str]) -> None:
    """A stream that is needed and closed is wrong usage, too."""
    close = "<&-" if name == "stdin" else ">&-"
    script = f'exec "$@" {close}'
    command = ["sh", "-c", script, "sh", *COMMAND, "functions:echo", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "the stream is closed" in done.stderr


# Help


def test_bare_command_shows_help() -> None:
    """Without arguments it shows what there is (SPEC 11.4)."""
    done = CliRunner().invoke(app, [])
    assert "Commands:" in done.output
    assert "run" in done.output


def test_version() -> None:
    """`--version` says the version that is installed."""
    done = CliRunner().invoke(app, ["--version"])
    version = importlib.metadata.version("majordomo2")
    assert (done.exit_code, done.stdout) == (0, f"majordomo2 {version}\n")


def test_help_warns_of_threads_that_compute() -> None:
    """The help of `--workers` and `--keepalive` says what threads can't do."""
    said = " ".join(CliRunner().invoke(app, ["run", "--help"]).stdout.split())
    assert "those that compute take turns" in said
    assert "Threads that compute need longer, or fewer --workers." in said


# The process


@pytest.mark.parametrize("name", ["typer", "msgspec"])
def test_the_extra_is_missing(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the extra it says how to install it, in one line; status 2."""
    for module in [*sys.modules]:
        if module.startswith("majordomo2._cli."):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = f"majordomo2: {name} is missing: pip install 'majordomo2[cli]'\n"
    assert capsys.readouterr() == ("", said)


def test_another_missing_module_is_not_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken installation shows its own error."""
    monkeypatch.delitem(sys.modules, "majordomo2._cli._command")
    monkeypatch.setitem(sys.modules, "majordomo2._cli._run", None)
    with pytest.raises(ModuleNotFoundError, match="_run"):
        main()


def test_the_log_is_quiet_only_by_default(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sets up logging in their module gets the library's log (SPEC 11.1)."""
    with caplog.at_level(logging.WARNING, "majordomo2"):
        call("functions:refuse", "bad", "--retries", "0")
    assert "ended as failure" in caplog.text
