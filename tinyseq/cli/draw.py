"""Draw what a function or a module in a Python file computes, as SVG, PNG, PDF, DOT, or a page to step through.

MODULE:NAME is a file or a dotted module, and what to draw there: a function that returns a tensor, or a module, a
cell, a tensor, or a function or class without arguments that makes one. A parameter called `steps` gets --steps, other
parameters get the inputs. Arguments may follow, as in "tinyseq.nn:LSTM(4, 8)".
"""

import argparse
import ast
import importlib
import importlib.util
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

from tinyseq import nn
from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import randn
from tinyseq.errors import ArgumentError
from tinyseq.ops.random import manual_seed
from tinyseq.render import Drawing, draw
from tinyseq.render.drawing import VIEWS

ENDINGS = (".svg", ".png", ".html", ".dot", ".gv", ".pdf")
LOADED = "__drawn__"  # the name of a loaded file: it is neither run as a program nor in the way of other modules
MOST_NAMES = 16  # in a message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.formatter_class = argparse.HelpFormatter  # None says nothing: the defaults are told in words
    parser.add_argument("target", metavar="MODULE:NAME", help="what to draw, as in cells.py:make or tinyseq.nn:LSTM")
    parser.add_argument("--view", choices=VIEWS, help="default: unrolled; rolled above 50 steps; ops without any")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("graph.svg"), metavar="FILE", help=f"{', '.join(ENDINGS)}; graph.svg"
    )
    parser.add_argument("--steps", type=_positive, default=6, metavar="T", help="time steps (default: 6)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the random weights and inputs (default: 0)"
    )
    parser.add_argument(
        "--input",
        type=_shape,
        action="append",
        metavar="T,B,I",
        help="the shape of a random input, once for each (default: --steps, 1, and the module's input_size)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted at least 1")
    return number


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple([_positive(part) for part in text.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted sizes such as 6,2,4") from error


def run(options: argparse.Namespace) -> int:
    """Draw, and say what was drawn."""
    if options.out.suffix.lower() not in ENDINGS:
        raise ArgumentError(f"cannot write {str(options.out)!r}: the endings that work are {', '.join(ENDINGS)}")
    if not options.out.parent.is_dir():
        raise ArgumentError(f"cannot write {str(options.out)!r}: there is no folder {str(options.out.parent)!r}")
    manual_seed(options.seed)
    target, arguments = load(options.target)
    drawing = _drawing(target, arguments, options)
    drawing.save(options.out)
    model = drawing.model
    counts = f"{len(model.items):,} nodes, {len(model.links):,} edges, {len(model.steps):,} time steps"
    print(f"{options.out}: {counts}, view {drawing.view}")
    return 0


def load(text: str) -> tuple[Any, list[Any] | None]:
    """Return what `text` (module:name) names, and the arguments that follow it, None if none do.

    Raises
    ------
    ArgumentError
        If there is no such file, module or name.

    Examples
    --------
    >>> load("tinyseq.nn:LSTM(4, 8)")
    (<class 'tinyseq.nn.rnn.LSTM'>, [4, 8])
    """
    parts = re.fullmatch(r"(.+?\.py|[\w.]+):([\w.]+)(\(.*\))?", text, re.DOTALL)
    if parts is None:
        raise ArgumentError(f"got {text!r}, wanted MODULE:NAME, as in cells.py:make or tinyseq.nn:LSTM")
    where, name, call = parts.groups()
    module = _file(Path(where)) if where.endswith(".py") else _module(where)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"{where} has no {name!r}; {_offers(module)}")
        found = getattr(found, part)
    return found, None if call is None else _arguments(call)


def _file(path: Path) -> types.ModuleType:
    """Run the file as a module. As if it were started, it finds the modules beside it."""
    if not path.is_file():
        raise ArgumentError(f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(LOADED, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[LOADED] = module
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise ArgumentError(
            f"there is no module {name!r} here; a file needs its ending, as in {name}.py:make"
        ) from error


def _offers(module: types.ModuleType) -> str:
    """Return what a module has to draw, in words."""
    own = [n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", "") == LOADED]
    held = [n for n, v in vars(module).items() if isinstance(v, nn.Module | Tensor)]
    names = list(dict.fromkeys([*own, *held] or getattr(module, "__all__", [])))
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"it has {', '.join(names[:MOST_NAMES])}{more}" if names else "there is nothing to draw in it"


def _arguments(call: str) -> list[Any]:
    try:
        return list(ast.literal_eval(f"[{call[1:-1]}]"))
    except (ValueError, SyntaxError) as error:
        raise ArgumentError(f"cannot read the arguments {call}: only numbers, strings and the like work") from error


def _drawing(target: Any, arguments: list[Any] | None, options: argparse.Namespace) -> Drawing:
    if arguments is not None or not isinstance(target, nn.Module | Tensor):
        arguments = _fitting(target, arguments) if arguments is not None else _filled(target, options)
        made = target(*arguments)
        if isinstance(made, nn.Module):
            target, arguments = made, None
    if isinstance(target, nn.Module):
        target = nn.Recurrent(target) if isinstance(target, nn.Cell) else target
        arguments = _inputs(target, options)
    manual_seed(options.seed)
    return draw(target, *(arguments or ()), view=options.view)


def _parameters(target: Any) -> list[inspect.Parameter]:
    if not callable(target):
        raise ArgumentError(f"got a {type(target).__name__}, wanted a function, a class, a module or a tensor")
    try:
        return list(inspect.signature(target).parameters.values())
    except ValueError:  # some builtins have none
        return []


def _fitting(target: Any, arguments: list[Any]) -> list[Any]:
    """Return `arguments` if `target` takes them."""
    _parameters(target)
    try:
        inspect.signature(target).bind(*arguments)
    except TypeError as error:
        raise ArgumentError(f"{_name(target)}({str(arguments)[1:-1]}): {error}") from error
    return arguments


def _filled(target: Any, options: argparse.Namespace) -> list[Any]:
    """Return arguments for the parameters up to the last one without a default: --steps, and random inputs."""
    found = [p for p in _parameters(target) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    while found and found[-1].default is not inspect.Parameter.empty and found[-1].name != "steps":
        found.pop()
    shapes, values = list(options.input or ()), []
    for p in found:
        if p.name == "steps":
            values.append(options.steps)
        elif p.default is not inspect.Parameter.empty:
            values.append(p.default)
        elif shapes:
            values.append(randn(*shapes.pop(0)))
        elif inspect.isclass(target):
            needed = ", ".join(q.name for q in found)
            raise ArgumentError(f'{_name(target)} needs {needed}: give numbers, as in "...:{_name(target)}(4, 8)"')
        else:
            raise ArgumentError(f"{_name(target)} needs {p.name}: give its shape, as in --input {options.steps},1,4")
    return values


def _inputs(module: nn.Module, options: argparse.Namespace) -> list[Any]:
    """Return random inputs of the wanted shapes, or one of --steps steps that fits the module's `input_size`."""
    if options.input:
        return [randn(*shape) for shape in options.input]
    sizes = [vars(m)["input_size"] for m in module.modules() if isinstance(vars(m).get("input_size"), int)]
    if not sizes:
        raise ArgumentError(
            f"{_name(type(module))} does not tell its input_size: give the shape of its input, as in "
            f"--input {options.steps},1,4"
        )
    swapped = any(vars(m).get("batch_first") for m in module.modules())
    return [randn(*((1, options.steps) if swapped else (options.steps, 1)), sizes[0])]


def _name(target: Any) -> str:
    return getattr(target, "__name__", type(target).__name__)
