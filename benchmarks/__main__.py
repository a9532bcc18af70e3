"""`python -m benchmarks [ROUNDS] [--json FILE]`: the table, in Markdown."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path

from . import core, journal, memory, others, processes, retries, scale
from .measure import Measured

PEERS = (
    *("tenacity", "stamina", "aiometer", "trio-parallel"),
    *("msgspec", "huey", "dbos"),
)
ROWS = [
    *core.ROWS,
    *retries.ROWS,
    *scale.ROWS,
    *processes.ROWS,
    *memory.ROWS,
    *journal.ROWS,
]


def circumstances() -> str:
    """The date and the versions."""
    packages = [f"{name} {version(name)}" for name in ("majordomo2", "trio", *PEERS)]
    today = dt.datetime.now(dt.UTC).date()
    return f"{today}: {', '.join(packages)}, Python {platform.python_version()}"


def line(row: Measured) -> str:
    verdict = " **missed**" if row.missed else ""
    cells = row.what, row.against, f"{row.value:.3g}{verdict}", row.most, row.aim
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("rounds", nargs="?", type=int, help="no more than so many")
    parser.add_argument("--only", default="", help="lines that hold this text")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    # What a storm of restarts logs is not what is measured.
    logging.getLogger("majordomo2").setLevel(logging.CRITICAL)
    measured_on = circumstances()
    print(f"Measured on {measured_on}.\n")
    print("| what | against | ratio | at most | aim |\n|---|---|---|---|---|")
    rows: list[dict[str, object]] = []
    for row in ROWS:
        if args.only not in row.what:
            continue
        measured = row.measure(args.rounds)
        print(line(measured), flush=True)
        rows.append(measured.as_json())
    result: dict[str, object] = {"measured_on": measured_on, "rows": rows}
    if args.only in others.WHAT:
        compared = others.compare(args.rounds)
        print(f"\n{others.WHAT}:\n\n{others.tables(compared)}")
        result["others"] = compared.as_json()
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
