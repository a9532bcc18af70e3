"""Sphinx's configuration."""

from __future__ import annotations

import importlib.metadata

project = "majordomo2"
author = copyright = "the majordomo2 contributors"  # noqa: A001  - Sphinx's name for it
release = version = importlib.metadata.version("majordomo2")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"majordomo2 {version}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # pages may link to headings of this depth

autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Signatures as the source has them: evaluated, each `Task[T]` and `TaskResult[T]` would be
# spelt out with all the statuses.
autodoc_type_aliases = {"Task": "Task", "TaskResult": "TaskResult"}
napoleon_custom_sections = [("Keys", "params_style")]  # those of a TypedDict
napoleon_use_ivar = True  # attributes as a list, under their class
default_role = "code"  # what single backticks are in docstrings
# Unqualified names: the reader knows where they come from.
add_module_names = False
python_use_unqualified_type_names = True

# References that are right and yet lead nowhere here.
nitpick_ignore_regex = [
    # Other projects' pages: the docs are built without a network.
    (r"py:.*", r"(collections|contextlib|contextvars|typing|typing_extensions)\..*"),
    (r"py:.*", r"(os|outcome|trio)\..*"),
    (r"py:class", r"AbstractAsyncContextManager"),  # as overloads name it
    (r"py:class", r"TypeIs"),
    # What signatures need to say "lists", "any number of arguments", "no success".
    (r"py:class", r"(majordomo2\._job\.)?(ListOf|Nested|NoSuccess|Variadic)"),
    # Type variables, which have no entries: `T`, `T_co`, `Ts`.
    (r"py:.*", r"(majordomo2\.\w+\.)?[A-Z]s?(_co)?"),
]
