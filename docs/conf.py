"""The documentation site: python -m sphinx -W docs docs/_build."""

import re
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import tinyseq

project = "tinyseq"
author = "the tinyseq authors"
release = "0.1.0"
html_title = f"tinyseq {release}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute"]  # what a build leaves behind
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_math_renderer = "mathml"  # browsers show it by themselves: no script, no network
default_role = "code"

# Lessons are executed when the site is built; a cell that fails, fails the build
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_show_tb = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

MARKUP = re.compile(r"(?<![\w\\])\*(?=\w)|\||(?<=\w)_(?!\w)")
LITERAL = re.compile(r"(``.*?``|`[^`]*`)")


def escaped(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Take |x|, *x and x_ in docstrings for the mathematics that they are, not for markup."""
    code = False
    for i, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))
        argument = re.fullmatch(r"\s*\*+\w+", line)  # in a list of parameters
        if not code and not argument and not line.lstrip().startswith((":", "..")):
            parts = LITERAL.split(re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line))  # `x`s
            lines[i] = "".join(p if k % 2 else MARKUP.sub(r"\\\g<0>", p) for k, p in enumerate(parts))


def skipped(app: Any, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """Leave out what comes from elsewhere, and on other pages what the first page has."""
    foreign = not str(getattr(obj, "__module__", "tinyseq")).startswith("tinyseq")
    page = app.env.docname
    known = any(obj is vars(tinyseq)[public] for public in tinyseq.__all__)
    return skip or (what == "module" and (foreign or (page != "api/tinyseq" and known)))


def inline_math(writer: Any, node: Any) -> None:
    """Write a formula within a line as MathML."""
    writer.body.append(convert(node.astext()))
    raise SkipNode


def block_math(writer: Any, node: Any) -> None:
    """Write a formula that stands alone as MathML."""
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app: Any) -> None:
    """Connect the above."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("autodoc-process-docstring", escaped, priority=400)
    app.connect("autodoc-skip-member", skipped)
