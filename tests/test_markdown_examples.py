"""The examples of the docs are really run, and what they print is really compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Document
from sybil.example import SybilFailure

from markdown_examples import find_examples


def run_page(folder: Path, text: str) -> int:
    """Run the page's examples; how many there are."""
    page = folder / "page.md"
    page.write_text(text)
    examples = list(Document.parse(str(page), find_examples))
    for example in examples:
        example.evaluate()
    return len(examples)


def test_output_as_on_the_page(tmp_path: Path) -> None:
    """A block that prints what the page says passes; later blocks see its names."""
    text = """\
```python
x = 1
print(x)
```

```text
1
```

And so:

```python
print(x + 1)
```

```text
2
```
"""
    assert run_page(tmp_path, text) == 2


@pytest.mark.parametrize("output", ["2\n", "1\n1\n", "1 \n", ""])
def test_other_output(tmp_path: Path, output: str) -> None:
    """A block that prints anything else fails, and the message shows both."""
    text = f"```python\nprint(1)\n```\n\n```text\n{output}```\n"
    with pytest.raises(SybilFailure, match=r"--- page\s+\+\+\+ printed"):
        run_page(tmp_path, text)


def test_error_shows_the_line_of_the_page(tmp_path: Path) -> None:
    """A block that raises fails, and the traceback names the line of the page."""
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(tmp_path, "# Page\n\n```python\n1 / 0\n```\n")
    assert caught.traceback[-1].lineno + 1 == 4


def test_without_output_nothing_is_compared(tmp_path: Path) -> None:
    """Only a text block directly after a Python block is its output."""
    text = "```python\nprint(1)\n```\n\nProse.\n\n```text\n2\n```\n"
    assert run_page(tmp_path, text) == 1


def test_not_run(tmp_path: Path) -> None:
    """A block under a comment that gives a reason isn't run."""
    text = "<!-- not run: needs a shell -->\n```python\n1 / 0\n```\n"
    assert run_page(tmp_path, text) == 0


@pytest.mark.parametrize(
    "fence", ["```py", "``` python", "  ```python", "```{python}", "~~~python"]
)
def test_a_block_that_would_be_missed(tmp_path: Path, fence: str) -> None:
    """A Python block in another spelling is refused: it would silently not run."""
    with pytest.raises(ValueError, match="never be run"):
        run_page(tmp_path, f"{fence}\n1 / 0\n```\n")
