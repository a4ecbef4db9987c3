"""Python source as logical lines of tokens, each identifier with its role: what synced_identifiers.py learns from.

`tokenize` cuts the source, and `ast` says what each identifier does. No role is given to identifiers inside of
formatted strings, to the words `match`, `case` and `type`, to keywords of patterns, and to parameters of types.
"""

import ast
import io
import keyword
import re
import tokenize
from bisect import bisect_left
from typing import NamedTuple

ROLES = {
    "def": "function or class that is defined",
    "import": "in an import",
    "param": "parameter",
    "key": "name of a keyword argument",
    "call": "function or method that is called",
    "attr": "attribute that is read",
    "write": "variable or attribute written to",
    "local": "local variable that is read",
    "global": "global or builtin that is read",
}
KINDS = {"STRING": '"', "NUMBER": "0", "NEWLINE": "\n", "INDENT": "\t", "DEDENT": "\b"}  # seen as one and the same
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
SCOPES = COMPREHENSIONS | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def is_name(seen):
    """Return whether a token is a name, and no keyword."""
    return seen.isidentifier() and not keyword.iskeyword(seen)


def bound(nodes):
    """Return the names that statements or expressions bind in their own scope."""
    names, elsewhere, todo = set(), set(), list(nodes)
    while todo:
        node = todo.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.ExceptHandler(name=str()) | ast.MatchAs(name=str()) | ast.MatchStar(name=str()):
                names.add(node.name)
            case ast.alias():
                names.add((node.asname or node.name).split(".")[0])
            case ast.Global():
                elsewhere.update(node.names)
            case ast.arg():
                names.add(node.arg)
        if not isinstance(node, SCOPES):
            todo += ast.iter_child_nodes(node)
    return names - elsewhere


def find_roles(tree, places):
    """Return the role of each identifier of a syntax tree; `places` are their lines and columns, sorted."""
    found = {}

    def mark(role, first, last=None):
        """Give a role to the first identifier from a place on, or to all of them up to another place."""
        start = bisect_left(places, first)
        for place in places[start : bisect_left(places, last) if last else start + 1]:
            found.setdefault(place, role)

    # Nodes, with the names of the functions around them, and of the class if one is right around them
    todo = [(tree, frozenset(), frozenset())]
    while todo:
        node, around, here = todo.pop()
        first = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        last = getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)
        inside, inner = frozenset(), (around, here)
        if type(node).__name__ in ("JoinedStr", "TemplateStr"):  # one token here; the latter is of Python 3.14
            continue
        match node:
            case ast.Import() | ast.ImportFrom():
                mark("import", first, last)
            case ast.Global() | ast.Nonlocal():
                mark("global" if isinstance(node, ast.Global) else "local", first, last)
            case ast.Call(func=ast.Name() | ast.Attribute() as called):
                mark("call", end_of(called))
            case ast.Attribute():
                mark("write" if isinstance(node.ctx, ast.Store) else "attr", end_of(node))
            case ast.Name():
                read = "local" if node.id in around | here else "global"
                mark("write" if isinstance(node.ctx, ast.Store) else read, first)
            case ast.arg():
                mark("param", first)
            case ast.keyword(arg=str()):
                mark("key", first)
            case ast.MatchAs(name=str()) | ast.MatchStar(name=str()):
                mark("write", (last[0], last[1] - len(node.name)))
            case ast.ExceptHandler(name=str()):
                mark("write", places[bisect_left(places, (node.body[0].lineno, node.body[0].col_offset)) - 1])
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                body = node.body if isinstance(node.body, list) else [node.body]
                inside, inner = frozenset(body), (around | bound([node.args, *body]), frozenset())
            case ast.ClassDef():
                inside, inner = frozenset(node.body), (around, bound(node.body))
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                inside, inner = frozenset(ast.iter_child_nodes(node)), (around | bound(node.generators), frozenset())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            mark("def", first)
        todo += [(child, *(inner if child in inside else (around, here))) for child in ast.iter_child_nodes(node)]
        if isinstance(node, COMPREHENSIONS):  # what it first goes through stands outside; it is visited first
            todo.append((node.generators[0].iter, around, here))
    return found


def end_of(node):
    """Return where the last identifier of a name or an attribute begins."""
    return node.end_lineno, node.end_col_offset - len(node.id if isinstance(node, ast.Name) else node.attr)


class Token(NamedTuple):
    """A token: what the network may see of it, its text, where it begins and ends, its role if it has one."""

    seen: str
    text: str
    start: tuple[int, int]
    end: tuple[int, int]
    role: str | None = None


def read_lines(path):
    """Return the logical lines of a Python file, as lists of tokens."""
    with tokenize.open(path) as file:
        source = re.sub(r"[^\x00-\x7f]", "x", file.read())  # so that columns are bytes, as `ast` counts them
    lines, depth, begun = [[]], 0, None
    for kind, text, start, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[kind]
        if name.endswith("STRING_END"):  # from Python 3.12 on, a formatted string comes in parts
            depth -= 1
            if not depth:
                lines[-1].append(Token('"', 'f"..."', begun, end))
        elif name.endswith("STRING_START"):
            begun, depth = (begun if depth else start), depth + 1
        elif not depth and name not in ("COMMENT", "NL", "ENDMARKER"):
            lines[-1].append(Token(KINDS.get(name, text), text, start, end))
            if name == "NEWLINE":
                lines.append([])
    named = {t.start for line in lines for t in line if is_name(t.seen)}
    roles = find_roles(ast.parse(source), sorted(named))
    return [[t._replace(role=roles.get(t.start) if is_name(t.seen) else None) for t in line] for line in lines]
