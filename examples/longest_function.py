"""The longest function of a Python file."""

from __future__ import annotations

import ast
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

# What the compiler warns of is for the authors of those files. Here and not around the
# call: warnings are switched off for all threads at once.
warnings.simplefilter("ignore")


@dataclass(frozen=True)
class Longest:
    name: str
    lines: int
    line: int


def longest_function(path: Path) -> Longest | None:
    """Its name, how many lines it has, and the line where it starts."""
    with tokenize.open(path) as file:  # in the encoding that the file declares
        tree = ast.parse(file.read(), path)
    functions = (
        Longest(node.name, (node.end_lineno or 0) - node.lineno + 1, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return max(functions, key=lambda function: function.lines, default=None)
