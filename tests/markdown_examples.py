"""Runs the Python blocks of a Markdown page, and compares what they print.

    ```python
    print(1 + 1)
    ```

    ```text
    2
    ```

A `text` block directly after a `python` block is exactly what that one prints. The blocks
of a page share their names. One with the comment `<!-- not run: REASON -->` in the line
above it isn't run.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sybil import Document, Example, Region

BLOCK = re.compile(
    r"""
    (?P<not_run> ^<!--[ ]not[ ]run:[ ][^\n]+[ ]-->\n )?
    ^```python\n (?P<code> .*? ) ^```$
    (?: \n+ ^```text\n (?P<output> .*? ) ^```$ )?
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
ALMOST = re.compile(r"^[ >\t]*(?:```|~~~)[ ]*\{?py", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    code: str
    code_line: int
    output: str | None


def find_examples(document: Document) -> Iterator[Region]:
    """The blocks to run, for Sybil."""
    blocks = list(BLOCK.finditer(document.text))
    if len(ALMOST.findall(document.text)) != len(blocks):
        raise ValueError(
            f"{document.path}: a Python block isn't fenced by ```python at the start of "
            f"a line and ``` alone, so it would never be run"
        )
    for found in blocks:
        if not found["not_run"]:
            line = document.text.count("\n", 0, found.start("code"))
            block = Block(found["code"], line, found["output"])
            yield Region(found.start(), found.end(), block, run)


def run(example: Example) -> str | None:
    """What is wrong with the output, or None."""
    block: Block = example.parsed
    # Empty lines in front, so that a traceback shows the page's own line.
    source = "\n" * block.code_line + block.code
    code = compile(source, example.path, "exec", dont_inherit=True)
    example.namespace.setdefault("__name__", "__main__")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, example.namespace)  # noqa: S102  - the point of the module
    if block.output is None or block.output == printed.getvalue():
        return None
    lines = (block.output.splitlines(), printed.getvalue().splitlines())
    return "\n".join(difflib.unified_diff(*lines, "page", "printed", lineterm=""))
