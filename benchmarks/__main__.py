"""`python -m benchmarks [ROUNDS]`: the table of ratios, in Markdown."""

from __future__ import annotations

import logging
import platform
import sys
from importlib.metadata import version

from .core import ROWS
from .measure import Row


def line(row: Row, ratio: float) -> str:
    verdict = "" if ratio <= row.most else " (missed)"
    return f"| {row.what} | {row.against} | {ratio:.3g}{verdict} | {row.most} | {row.aim} |"


def main(rounds: int) -> None:
    # What a storm of restarts logs is not what is measured.
    logging.getLogger("majordomo2").setLevel(logging.CRITICAL)
    print(
        f"majordomo2 {version('majordomo2')}, trio {version('trio')}, "
        f"Python {platform.python_version()}; medians of {rounds} rounds\n"
    )
    print("| what | against | ratio | at most | aim |\n|---|---|---|---|---|")
    for row in ROWS:
        print(line(row, row.ratio(rounds)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 15)
