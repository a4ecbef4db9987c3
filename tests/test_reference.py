"""Every public name has a page in the API reference, and something to say there."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import tinyseq as ts

PAGES = Path(__file__).parents[1] / "docs" / "api"
TEXTS = {page.stem: page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")}
DOCUMENTED = {m: name for name, text in TEXTS.items() for m in re.findall(r"automodule:: (\S+)", text)}
BESIDE = {"tinyseq.errors", "tinyseq.optim.lr_scheduler", "tinyseq.testing"}  # public, and named by no `__all__`


def modules():
    """Return the names of the public modules: those that public modules name, and those beside them."""
    found = ["tinyseq", *BESIDE]
    for name in found:  # grows while it is walked
        module = importlib.import_module(name)
        inside = [getattr(module, n) for n in getattr(module, "__all__", ())]
        found += [m.__name__ for m in inside if inspect.ismodule(m) and m.__name__ not in found]
    return sorted(found)


def names(module):
    """Return the public names of a module that are not modules: those of `__all__`, or else those that it has."""
    listed = getattr(module, "__all__", None)
    package = "tinyseq" if module.__file__.endswith("__init__.py") else module.__name__  # from where its names come
    found = listed or [n for n, x in vars(module).items() if str(getattr(x, "__module__", "")).startswith(package)]
    return [n for n in found if not n.startswith("_") and not inspect.ismodule(getattr(module, n))]


def test_the_public_modules_are_found():
    assert {"tinyseq", "tinyseq.nn", "tinyseq.nn.utils.rnn", "tinyseq.optim", "tinyseq.inspect"} <= set(modules())
    assert {"Adam", "Optimizer"} <= set(names(ts.optim))
    assert "np" not in names(importlib.import_module("tinyseq.testing"))


@pytest.mark.parametrize("name", modules())
def test_every_public_name_is_documented(name):
    assert name in DOCUMENTED, f"no page in docs/api has automodule:: {name}"
    text, module = TEXTS[DOCUMENTED[name]], importlib.import_module(name)
    first = {id(getattr(ts, n)) for n in ts.__all__}  # other pages leave out what the first one has
    missing = []
    for public in names(module):
        thing = getattr(module, public)
        elsewhere = getattr(thing, "__module__", name) != name and not hasattr(module, "__all__")
        shown = bool(inspect.getdoc(thing)) and (not elsewhere or ":imported-members:" in text)
        here = f"`{Path(name).suffix.lstrip('.') or 'ts'}.{public}`" in text or f"`ts.{public}`" in text
        if not (shown or here or (name != "tinyseq" and id(thing) in first)):
            missing.append(public)
    assert missing == []


def test_the_reference_is_in_the_table_of_contents():
    listed = re.findall(r"^api/(\S+)$", (PAGES.parent / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(TEXTS)


def test_the_methods_of_tensors_are_listed_with_those_they_inherit():
    assert re.search(r"autoclass:: tinyseq\.Tensor\n   :members:\n   :inherited-members:", TEXTS["tensor"])
    inherited = [n for n in dir(ts.Tensor) if not n.startswith("_") and n not in vars(ts.Tensor)]
    inherited = [n for n in inherited if not inspect.ismemberdescriptor(getattr(ts.Tensor, n))]  # its two attributes
    assert len(inherited) > 200
    assert [n for n in inherited if not inspect.getdoc(getattr(ts.Tensor, n))] == []
