"""Collects the examples of the README and the docs as tests."""

from sybil import Sybil

from markdown_examples import find_examples

pytest_collect_file = Sybil(
    parsers=[find_examples], patterns=["README.md", "docs/*.md"]
).pytest()
