"""The rules that the project keeps about itself."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import majordomo2

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "majordomo2"

# From the bottom up: a module imports from its own layer and those below it.
LAYERS = {
    "values": "_annotations _checks _codec _errors _events _job _journal _log _options _pipeline "
    "_policy _processes _remote _runner _statistics _task",
    "mechanisms": "_attempt _channel _circle _outcome _signals _tidying _watchdog "
    "journals runners",
    "engine": "_adder _admission _instance _majordomo _misplaced _names _parallel _past _pool "
    "_recorder _recording _selection _stream _waiting _worker",
    "face": "__init__ abc",
    "edges": "__main__ _cli",
}
LAYER_OF = {
    part: number
    for number, parts in enumerate(LAYERS.values())
    for part in parts.split()
}


def sources() -> dict[str, str]:
    """The text of each module, by its dotted name: majordomo2.runners.__init__."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file.read_text()
        for file in PACKAGE.rglob("*.py")
    }


def imports(module: str, text: str) -> Iterator[str]:
    """The dotted names of what a module imports."""
    package, _, _ = module.rpartition(".")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def layer_of(name: str) -> int:
    """The layer of a name in the package; one that is no module is in `__init__`."""
    _, part, *_ = [*name.split("."), ""]
    return LAYER_OF.get(part, LAYER_OF["__init__"])


def is_upwards(module: str, target: str) -> bool:
    top, _, _ = target.partition(".")
    if top == "majordomo2":
        return layer_of(target) > layer_of(module)
    return top == "trio" and layer_of(module) == 0


def violations(modules: Mapping[str, str]) -> list[str]:
    """Each import that goes up, and each module that has no layer."""
    homeless = [
        f"{name} is in no layer"
        for name in modules
        if name.split(".")[1] not in LAYER_OF
    ]
    return homeless + [
        f"{name} imports {target}"
        for name, text in modules.items()
        for target in imports(name, text)
        if is_upwards(name, target)
    ]


def test_imports_go_one_way() -> None:
    """No module imports from a layer above its own, and no value imports Trio."""
    assert violations(sources()) == []


def test_the_table_is_no_longer_than_the_package() -> None:
    """The table names only what is there."""
    assert LAYER_OF.keys() <= {name.split(".")[1] for name in sources()}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("_task", "from ._pool import f"),
        ("_task", "from . import _pool"),
        ("_task", "from . import Task"),
        ("_task", "from majordomo2._pool import f"),
        ("_task", "from majordomo2 import _pool"),
        ("_task", "import majordomo2"),
        ("_task", "import majordomo2._pool"),
        ("_task", "import trio"),
        ("_task", "import trio.lowlevel"),
        ("_task", "from trio import CancelScope"),
        ("_task", "if TYPE_CHECKING:\n    from ._pool import f"),
        ("_task", "def f():\n    from ._pool import f"),
        ("_task", "from .runners import thread"),
        ("_task", "from .runners.thread import f"),
        ("runners.thread", "from .._pool import f"),
        ("runners.thread", "from .. import _pool"),
        ("runners.thread", "from .. import Task"),
        ("runners.__init__", "from .._pool import f"),
        ("_pool", "from . import Task"),
        ("__init__", "from ._cli import main"),
        ("unheard_of", ""),
    ],
)
def test_a_wrong_import_is_found(module: str, line: str) -> None:
    """Each way to write an import upwards is seen; so is a module without a layer."""
    assert len(violations({f"majordomo2.{module}": line})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("_task", "import os"),
        ("_task", "import triolith"),
        ("_task", "from ._errors import E"),
        ("_task", "from . import _errors"),
        ("_errors", "from typing_extensions import TypeVar"),
        ("runners.__init__", "from .thread import f"),
        ("runners.__init__", "from . import thread"),
        ("runners.thread", "import trio"),
        ("runners.thread", "from .. import _task"),
        ("runners.thread", "from .._task import f"),
        ("_pool", "from .runners import thread, f"),
        ("_pool", "import majordomo2._task"),
        ("__init__", "from ._pool import f"),
        ("_cli", "from . import Task"),
        ("_cli", "from majordomo2 import Task, _pool"),
    ],
)
def test_a_right_import_is_let_through(module: str, line: str) -> None:
    """Imports from below, from the same layer and from elsewhere are fine."""
    assert violations({f"majordomo2.{module}": line}) == []


def test_modules_are_short() -> None:
    """A module of more than 500 lines holds more than one idea."""
    lengths = {name: len(text.splitlines()) for name, text in sources().items()}
    assert {name: n for name, n in lengths.items() if n > 500} == {}


def test_exports_are_exact() -> None:
    """`__all__` has every public name, once, sorted."""
    public = {
        name
        for name, value in vars(majordomo2).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert majordomo2.__all__ == sorted(public - {"annotations"})


def test_exports_say_where_they_are_public() -> None:
    """Classes and functions name the package as their module, not a private part of it."""
    exports = {name: getattr(majordomo2, name) for name in majordomo2.__all__}
    private = {
        name: value.__module__
        for name, value in exports.items()
        if inspect.isclass(value) or inspect.isfunction(value)
        if "._" in value.__module__
    }
    assert private == {}


def closure(name: str) -> set[str]:
    """A distribution and all that it needs, without extras."""
    found: set[str] = set()
    todo = [name]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name not in found:
            found.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or [])
            todo += [
                need.name
                for need in needs
                if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return found


def test_import_brings_only_what_is_needed() -> None:
    """`import majordomo2` imports Trio, typing_extensions and what they need."""
    program = (
        "import sys; before = set(sys.modules); import majordomo2; "
        "print(*{name.partition('.')[0] for name in sys.modules.keys() - before})"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split()) - set(sys.stdlib_module_names)
    distributions = importlib.metadata.packages_distributions()
    brought = {d.lower() for name in imported for d in distributions.get(name, [name])}
    assert "trio" in brought
    assert {re.sub(r"[-_.]+", "-", name) for name in brought} <= closure("majordomo2")
    assert closure("majordomo2") == (
        {"majordomo2"} | closure("trio") | closure("typing_extensions")
    )


@pytest.mark.skipif("MAJORDOMO2_WHEEL" not in os.environ, reason="nox sets it")
def test_the_wheel_is_tested() -> None:
    """Under nox the tests run against the installed wheel, in child processes too."""
    command = [sys.executable, "-c", "import majordomo2; print(majordomo2.__file__)"]
    child = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for file in (str(majordomo2.__file__), child.stdout.strip()):
        assert "site-packages" in Path(file).parts


@pytest.mark.skipif("MAJORDOMO2_WHEEL" not in os.environ, reason="nox sets it")
def test_the_wheel_holds_the_package_alone() -> None:
    """The wheel has every module, py.typed and the licences, and nothing else."""
    info = f"majordomo2-{importlib.metadata.version('majordomo2')}.dist-info"
    files = {str(file) for file in importlib.metadata.files("majordomo2") or []}
    files = {file for file in files if "__pycache__" not in file}
    inside = {file for file in files if file.startswith("majordomo2/")}
    assert inside == {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*")
        if file.suffix == ".py" or file.name == "py.typed"
    }
    beside = {file for file in files - inside if not file.startswith(info)}
    assert {Path(file).name for file in beside} <= {"majordomo2"}  # the command
    for licence in ("LICENSE", "LICENSE.MIT", "LICENSE.APACHE2"):
        assert f"{info}/licenses/{licence}" in files


def commands(page: str) -> list[str]:
    """The shell blocks of a Markdown page."""
    return re.findall(
        r"^```(?:sh|bash|console)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """What .ci/run runs in the end is the README's second command, to the letter."""
    _, test, *_ = commands((ROOT / "README.md").read_text())
    assert (ROOT / ".ci" / "run").read_text().rpartition("\n\n")[2] == test
