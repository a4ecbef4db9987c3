"""The documentation site: python -m sphinx -W docs docs/_build."""

import inspect
import re
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import tinyseq

project = "tinyseq"
copyright = author = "the tinyseq authors"
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
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

MARKUP = re.compile(r"(?<![\w\\])\*(?=\w)|\||(?<=\w)_(?!\w)")
FREE = re.compile(r"[^\s.:>-]")  # how a line of prose begins
INITIAL = re.compile(r"^(\s*)([A-Z]\. )")  # of an author: not the first item of a list
LITERAL = re.compile(r"(``.*?``|`[^`]*`)")


def prepared(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make reStructuredText of a docstring, before napoleon reads its sections.

    |x|, *x and x_ are mathematics, not markup; a paragraph or an example after a section is no part of the section.
    """
    code = section = False
    found: list[str] = []
    for i, line in enumerate(lines):
        after = lines[i + 1] if i + 1 < len(lines) else ""
        if after.startswith("---"):
            section = True
        elif section and line.startswith(">>>") and not code:
            found += ["Examples", "--------"]
            section = False
        elif section and FREE.match(line) and not lines[i - 1].strip() and not after.startswith(" "):
            found += ["Notes", "-----"]
            section = False
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))
        argument = re.fullmatch(r"\s*\*+\w+", line)  # in a list of parameters
        if not code and not argument and not line.lstrip().startswith((":", "..")):
            parts = LITERAL.split(re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line))  # `x`s
            line = "".join(p if k % 2 else MARKUP.sub(r"\\\g<0>", p) for k, p in enumerate(parts))
        found.append(INITIAL.sub(r"\1\\\2", line))
    if what in ("property", "attribute", "data") and found:
        found[0] = f":{found[0]}"  # so that a colon in the sentence does not divide a type from a description
    lines[:] = found


def skipped(app: Any, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """Leave out what comes from elsewhere, modules (which have pages), and on other pages what the first page has."""
    home = str(getattr(obj, "__module__", "tinyseq"))
    page = app.env.docname
    foreign = inspect.ismodule(obj) or not home.startswith("tinyseq")
    foreign = foreign or (home == "tinyseq.errors" and page != "api/errors")
    known = any(obj is vars(tinyseq)[public] for public in tinyseq.__all__)
    skip = skip or str(obj.__doc__).startswith("Alias for field number")  # the class says what its fields are
    whole = page in ("api/tinyseq", "api/linalg", "api/special")
    return skip or (what == "module" and (foreign or (known and not whole)))


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
    app.connect("autodoc-process-docstring", prepared, priority=400)
    app.connect("autodoc-skip-member", skipped)
