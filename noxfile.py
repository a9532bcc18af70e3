"""All that is checked: `nox` runs it, `nox --list` names the parts.

Where a session needs the package it gets the wheel that the session `build` made, never
the folder, so that what is tested is what users install.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import nox

nox.needs_version = ">=2025.2.9"  # the first that has `requires=`
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
RESULTS = ROOT / ".nox" / "results"  # by Python: coverage data and pytest's report
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
SUPPORTED = nox.project.python_versions(PYPROJECT)
# Keeps the folder of the package's name off sys.path, in child processes too.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def is_there(python: str) -> bool:
    """Does it run? pyenv puts commands on the PATH for versions that aren't selected."""
    try:
        done = subprocess.run([python, "-c", ""], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


PYTHONS = [version for version in SUPPORTED if is_there(f"python{version}")]
KILLS = 50  # of a program with a journal, by the tests of all Pythons together
REPORTS: list[Path] = []  # pytest's, of the sessions that ran


@atexit.register
def last_words() -> None:
    """Say what was tested, below nox's own summary, where the reader of a log looks."""
    suites = [ET.parse(file).getroot()[0] for file in REPORTS if file.exists()]
    if not suites:
        return
    if missing := ", ".join(v for v in SUPPORTED if v not in PYTHONS):
        print(f"Not found, so not tested: Python {missing}.")
    ran, *bad, skipped = (
        sum(int(suite.attrib[kind]) for suite in suites)
        for kind in ("tests", "failures", "errors", "skipped")
    )
    passed = ran - sum(bad) - skipped
    print(f"{passed} passed, {sum(bad)} failed, {skipped} skipped")


def group(*names: str) -> list[str]:
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """The wheel, with what these extras and dependency groups bring."""
    (wheel,) = DIST.glob("*.whl")
    session.install(f"{wheel}{extras}", *group(*groups))
    # A reused environment may hold an older wheel of the same version.
    session.install("--force-reinstall", "--no-deps", str(wheel))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and whether the news fragments make a changelog."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("towncrier", "build", "--draft", "--version=next", silent=True)


@nox.session
def build(session: nox.Session) -> None:
    """The sdist, and from it the wheel that the other sessions use."""
    session.install("build")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST), silent=True)


@nox.session(requires=["build"])
def types(session: nox.Session) -> None:
    """Both checkers on every file, and on how much of the public API has types."""
    install(session, "types", extras="[cli]")
    session.run("mypy")
    # Said outright: it would prefer a pyrightconfig.json in any folder above.
    session.run("pyright", "--project=pyproject.toml")
    # In a project of its own, where it finds the wheel and not the folder.
    session.chdir(session.create_tmp())
    Path("pyrightconfig.json").write_text("{}")
    session.run("pyright", "--verifytypes=majordomo2", "--ignoreexternal")


@nox.session(python=PYTHONS, requires=["build"])
def acceptance(session: nox.Session) -> None:
    """Programs that must check, and lines that must not, as a user's checkers see them."""
    install(session, "checkers")
    session.run("python", "tests/typing/check.py")


@nox.session(requires=["build"])
def consumer(session: nox.Session) -> None:
    """The same for one who still has trio-typing, whose stubs stand in for Trio's types.

    With them mypy lets the wrong line in shadowed.py through. The day it no longer does,
    the first command fails: nothing is tested any more, and this session can go.
    """
    install(session, "checkers")
    session.install("trio-typing")
    folder = "tests/typing/consumer"
    strict = ("mypy", "--strict", "--config-file=")
    session.run(*strict, f"{folder}/shadowed.py")
    session.run("python", "tests/typing/check.py", folder)


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """The pages; a broken link or reference fails. Their examples run among the tests."""
    install(session, "docs", extras="[cli]")
    strict = ("--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env")
    session.run("sphinx-build", *strict, "docs", "docs/_build", env=SAFE_PATH)


@nox.session(python=PYTHONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Tests and the examples in the docs; arguments after `--` go to pytest."""
    install(session, "test", extras="[cli]")
    results = RESULTS / str(session.python)
    shutil.rmtree(results, ignore_errors=True)
    report = results / "report.xml"
    REPORTS.append(report)
    data = str(results / "coverage")
    kills = str(-(-KILLS // len(PYTHONS)))
    env = {
        "MAJORDOMO2_WHEEL": "1",
        "MAJORDOMO2_KILLS": kills,
        "COVERAGE_FILE": data,
        **SAFE_PATH,
    }
    pytest = ("pytest", f"--junit-xml={report}", *session.posargs)
    session.run("python", "-m", "coverage", "run", "-m", *pytest, env=env)


@nox.session(requires=[f"tests-{version}" for version in PYTHONS])
def coverage(session: nox.Session) -> None:
    """The coverage of all Pythons together."""
    session.install("coverage")
    env = {"COVERAGE_FILE": str(RESULTS / "coverage")}
    parts = [str(RESULTS / version) for version in PYTHONS]
    session.run("coverage", "combine", "--keep", "--quiet", *parts, env=env)
    session.run("coverage", "report", env=env)


@nox.session(default=False, requires=["build"])
def crashes(session: nox.Session) -> None:
    """A program with a journal, killed 1,000 times; `-- 5000` for another number."""
    install(session, "test", extras="[journal]")
    kills = session.posargs[0] if session.posargs else "1000"
    env = {"MAJORDOMO2_KILLS": kills, **SAFE_PATH}
    report = "--log-cli-level=INFO"  # how many kills, and of what
    session.run("pytest", report, "tests/test_crashes.py", env=env)


@nox.session(default=False, requires=["build"])
def bench(session: nox.Session) -> None:
    """The benchmarks, against the wheel; arguments after `--` go to them.

    `-- --json FILE`, with an absolute path, keeps the numbers for benchmarks/plots.py.
    """
    install(session, "bench", extras="[journal]")
    # Run from a copy elsewhere: from the root `-m` would find the package's folder.
    away = Path(session.create_tmp())
    shutil.copytree("benchmarks", away / "benchmarks", dirs_exist_ok=True)
    session.chdir(away)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Move the news fragments into CHANGELOG.md; `-- --draft` only shows it."""
    session.install(*group("lint"))
    version = str(PYPROJECT["project"]["version"])
    session.run("towncrier", "build", "--yes", f"--version={version}", *session.posargs)
