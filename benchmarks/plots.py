"""`python -m benchmarks.plots FILE FOLDER`: two plots of what `--json FILE` wrote."""

# pyright: reportUnknownMemberType=false
# (matplotlib leaves its `**kwargs` without types)

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 8.5  # inches
OURS, MISSED, LIMIT = "#2a6f97", "#c1121f", "#555555"


class Line(TypedDict):
    """`measure.Measured` as JSON has it."""

    what: str
    against: str
    kind: str
    value: float
    most: float
    aim: float
    curve: dict[str, float]


class Results(TypedDict):
    """What `--json` writes."""

    measured_on: str
    rows: list[Line]


def length_plot(results: Results) -> Figure:
    """Seconds for each task against the length of the queue."""
    figure, axes = _figure(results, height=4)
    for row in results["rows"]:
        if row["curve"]:
            sizes = [int(size) for size in row["curve"]]
            micros = [seconds * 1e6 for seconds in row["curve"].values()]
            axes.plot(sizes, micros, marker="o", label=row["what"].split(", ")[-1])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tasks queued")
    axes.set_ylabel("µs for each, added and worked off")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def alternatives_plot(results: Results) -> Figure:
    """The ratios to other ways to the same end."""
    rows = [row for row in reversed(results["rows"]) if row["kind"] == "alternative"]
    figure, axes = _figure(results, height=1.5 + 0.5 * len(rows))
    values = [row["value"] for row in rows]
    missed = [row["value"] > row["most"] for row in rows]
    labels = [
        f"{_plain(row['what'])}\nagainst {_plain(row['against'])}" for row in rows
    ]
    bars = axes.barh(labels, values, color=[MISSED if it else OURS for it in missed])
    axes.bar_label(bars, [f" {value:.3g}" for value in values], fontsize=8)
    axes.axvline(1, color=LIMIT, linewidth=1)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("majordomo2 / the other; below 1 it costs less")
    return figure


def _plain(markdown: str) -> str:
    return markdown.replace("`", "")


def _figure(results: Results, *, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(results["measured_on"], fontsize=7, color=LIMIT)
    return figure, axes


def main(file: Path, folder: Path) -> None:
    # Text stays text, and the same numbers give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "majordomo2"})
    results: Results = json.loads(file.read_text(encoding="utf-8"))
    plots = {"length": length_plot(results), "alternatives": alternatives_plot(results)}
    for name, figure in plots.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
