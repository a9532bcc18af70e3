"""The examples, over real files, as the README runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

from longest_function import Longest, longest_function

ROOT = Path(__file__).parent.parent

SMALL = """\
def short(): pass

class Holder:
    async def long(self):
        if True:
            return 1
"""


def test_longest_function(tmp_path: Path) -> None:
    """The longest function of a file, wherever it stands; None if there is none."""
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    assert longest_function(file) == Longest("long", lines=3, line=4)
    file.write_text("x = 1\n")
    assert longest_function(file) is None


def test_encoding(tmp_path: Path) -> None:
    """The file is read in the encoding that it declares."""
    file = tmp_path / "latin.py"
    file.write_bytes(b"# coding: latin-1\ndef h\xe9(): pass\n")
    assert longest_function(file) == Longest("hé", lines=1, line=2)


def test_warnings_are_for_the_authors(tmp_path: Path) -> None:
    """What Python warns of in the file is not said."""
    (tmp_path / "odd.py").write_text("def f(): return '\\d'\n")
    command = [sys.executable, "-m", "majordomo2", "run", "--files"]
    function = "examples.longest_function:longest_function"
    done = subprocess.run(
        [*command, function, str(tmp_path / "odd.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "1 input: 1 success\n"


def test_over_a_tree(tmp_path: Path) -> None:
    """Over a tree with a broken file: a line each, its failure, status 1 (SPEC 11.4)."""
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "a.py").write_text(SMALL)
    (tmp_path / "deep" / "broken.py").write_text("def f(:\n")
    (tmp_path / "deep" / "down" / "empty.py").touch()
    command = [sys.executable, "-m", "majordomo2", "run", "--files"]
    function = "examples.longest_function:longest_function"
    done = subprocess.run(
        [*command, function, f"{tmp_path}/**/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [cast("dict[str, object]", json.loads(x)) for x in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line.get("data") for line in lines] == [
        {"name": "long", "lines": 3, "line": 4},
        None,
        None,
    ]
    error = cast("dict[str, str]", lines[1]["error"])
    assert error["type"] == "SyntaxError"
    counts, failure = done.stderr.splitlines()
    assert counts == "3 inputs: 2 success, 1 failure"
    assert "broken.py: failure: SyntaxError: " in failure
