"""Elementwise kernels for float32, printed as LLVM IR and compiled in this process (needs the extra `fast`).

A kernel is keyed by its structure alone: sizes, addresses and strides stand in a table that it reads, so T time steps
share one kernel and a new T compiles nothing. The loops are printed already vectorised, so that LLVM's optimiser need
not run: a kernel of 37 operations compiles in 60 ms, where numba takes half a second.

exp, tanh and sigmoid are polynomials and rationals of our own, accurate to 5e-7: a call of libm for each element costs
16 times as much as NumPy's vector loop.
"""

import ast
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Operand(NamedTuple):
    """How a kernel reaches an array: one value a row (`spread`) or one for each column, and the element type."""

    spread: bool
    kind: str  # "f" for float32, "b" for bool


class Step(NamedTuple):
    """One operation inside a kernel: its formula, and for each name in it an operand, a step or a number."""

    expr: str
    args: tuple[tuple[str, Any], ...]  # ("load", operand) | ("step", index) | ("number", value.hex())
    kind: str
    store: int  # operand that receives the result, or -1


class Kernel(NamedTuple):
    """The structure of a kernel: what it reads and writes, and what it computes."""

    operands: tuple[Operand, ...]
    steps: tuple[Step, ...]


FUNCTIONS = frozenset(
    ["tanh", "sigmoid", "exp", "sqrt", "abs", "floor", "maximum", "minimum", "select", "sign", "cast", "relu"]
)
COMPARISONS: dict[type, str] = {
    ast.Eq: "oeq",
    ast.NotEq: "une",
    ast.Lt: "olt",
    ast.LtE: "ole",
    ast.Gt: "ogt",
    ast.GtE: "oge",
}
ARITHMETIC: dict[type, str] = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}

# tanh as x P(x²) / Q(x²), degrees 13 and 6: the minimax fit that Eigen and XLA use, |error| < 5e-7 on the clamped range
TANH_LIMIT = 7.90531110763549805
TANH_P = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
# exp(r) on |r| <= log(2) / 2, and log(2) in two parts (Cephes, expf)
EXP_P = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440e-4


@functools.cache
def parsed(expr: str) -> tuple[ast.expr, tuple[str, ...]] | None:
    """Return a formula as a syntax tree with its names in order, or None if no kernel can compute it."""
    text = expr.replace("{", "").replace("}", "").replace("&&", " and ").replace("||", " or ").replace("(!", "(not ")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
            return None
        if isinstance(node, ast.IfExp | ast.Attribute | ast.Subscript | ast.Pow | ast.Mod | ast.FloorDiv):
            return None
    functions = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    names = tuple(dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in functions))
    return tree, names


class _Printer:
    """Prints the body of a loop for `width` elements at a time."""

    def __init__(self, prefix: str, width: int) -> None:
        self.prefix, self.width, self.count = prefix, width, 0
        self.lines: list[str] = []
        self.f = f"<{width} x float>" if width > 1 else "float"
        self.i = f"<{width} x i32>" if width > 1 else "i32"
        self.b = f"<{width} x i1>" if width > 1 else "i1"
        self.bytes = f"<{width} x i8>" if width > 1 else "i8"
        self.suffix = f"v{width}f32" if width > 1 else "f32"

    def new(self, text: str) -> str:
        """Print an instruction and return the name of its result."""
        self.count += 1
        name = f"%{self.prefix}{self.count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def splat(self, literal: str, element: str = "float") -> str:
        """Return a literal for all lanes."""
        return literal if self.width == 1 else "<" + ", ".join([f"{element} {literal}"] * self.width) + ">"

    def number(self, value: float) -> str:
        """Return a float32 literal for all lanes."""
        with np.errstate(over="ignore"):
            bits = np.float64(np.float32(value)).view(np.uint64)
        return self.splat(f"0x{int(bits):016X}")

    def arith(self, name: str, x: str, y: str) -> str:
        """Return the result of a floating-point instruction."""
        return self.new(f"{name} contract {self.f} {x}, {y}")

    def call(self, name: str, *args: str) -> str:
        """Return the result of an LLVM intrinsic."""
        return self.new(f"call {self.f} @llvm.{name}.{self.suffix}({', '.join(f'{self.f} {a}' for a in args)})")

    def choose(self, condition: str, x: str, y: str) -> str:
        """Return x where the condition holds, else y."""
        return self.new(f"select {self.b} {condition}, {self.f} {x}, {self.f} {y}")

    def compare(self, how: str, x: str, y: str) -> str:
        """Return the result of a comparison."""
        return self.new(f"fcmp {how} {self.f} {x}, {y}")

    def polynomial(self, coefficients: Sequence[float], x: str) -> str:
        """Return the polynomial with the highest coefficient first, at x."""
        out = self.number(coefficients[0])
        for c in coefficients[1:]:
            out = self.arith("fadd", self.arith("fmul", out, x), self.number(c))
        return out

    def clamp(self, x: str, low: float, high: float) -> str:
        """Return x limited to a range; a NaN stays one."""
        x = self.choose(self.compare("olt", x, self.number(low)), self.number(low), x)
        return self.choose(self.compare("ogt", x, self.number(high)), self.number(high), x)

    def tanh(self, x: str) -> str:
        """Return the hyperbolic tangent."""
        x = self.clamp(x, -TANH_LIMIT, TANH_LIMIT)
        square = self.arith("fmul", x, x)
        top = self.arith("fmul", self.polynomial(TANH_P, square), x)
        return self.arith("fdiv", top, self.polynomial(TANH_Q, square))

    def sigmoid(self, x: str) -> str:
        """Return the logistic function."""
        half = self.number(0.5)
        return self.arith("fadd", self.arith("fmul", half, self.tanh(self.arith("fmul", half, x))), half)

    def exp(self, x: str) -> str:
        """Return e to the power x; above 88.37 infinity, below -87.34 zero."""
        inside = self.clamp(x, -87.3365447505531, 88.3762626647949)
        scaled = self.arith("fadd", self.arith("fmul", inside, self.number(1.44269504088896341)), self.number(0.5))
        n = self.call("floor", scaled)
        r = self.arith("fsub", inside, self.arith("fmul", n, self.number(LOG2_HIGH)))
        r = self.arith("fsub", r, self.arith("fmul", n, self.number(LOG2_LOW)))
        y = self.arith("fmul", self.polynomial(EXP_P, r), self.arith("fmul", r, r))
        y = self.arith("fadd", self.arith("fadd", y, r), self.number(1.0))
        whole = self.new(f"fptosi {self.f} {n} to {self.i}")
        biased = self.new(f"add {self.i} {whole}, {self.splat('127', 'i32')}")
        shifted = self.new(f"shl {self.i} {biased}, {self.splat('23', 'i32')}")
        power = self.new(f"bitcast {self.i} {shifted} to {self.f}")
        out = self.arith("fmul", y, power)
        out = self.choose(self.compare("ogt", x, self.number(88.3762626647949)), self.number(float("inf")), out)
        out = self.choose(self.compare("olt", x, self.number(-87.3365447505531)), self.number(0.0), out)
        return self.choose(self.compare("uno", x, x), x, out)

    def as_float(self, value: tuple[str, str]) -> str:
        """Return a value as float32."""
        name, kind = value
        return name if kind == "f" else self.new(f"uitofp {self.b} {name} to {self.f}")

    def as_bool(self, value: tuple[str, str]) -> str:
        """Return whether a value is not 0."""
        name, kind = value
        return name if kind == "b" else self.compare("une", name, self.number(0.0))

    def formula(self, tree: ast.expr, names: dict[str, tuple[str, str]]) -> tuple[str, str]:
        """Print a formula; return the name and the kind of its value."""
        if isinstance(tree, ast.Name):
            return names[tree.id]
        if isinstance(tree, ast.Constant):
            return self.number(float(str(tree.value))), "f"
        if isinstance(tree, ast.UnaryOp):
            value = self.formula(tree.operand, names)
            if isinstance(tree.op, ast.Not):
                return self.new(f"xor {self.b} {self.as_bool(value)}, {self.splat('true', 'i1')}"), "b"
            return self.new(f"fneg {self.f} {self.as_float(value)}"), "f"
        if isinstance(tree, ast.BoolOp):
            left, right = (self.as_bool(self.formula(v, names)) for v in tree.values)
            return self.new(f"{'and' if isinstance(tree.op, ast.And) else 'or'} {self.b} {left}, {right}"), "b"
        if isinstance(tree, ast.Compare):
            x = self.as_float(self.formula(tree.left, names))
            y = self.as_float(self.formula(tree.comparators[0], names))
            return self.compare(COMPARISONS[type(tree.ops[0])], x, y), "b"
        if isinstance(tree, ast.BinOp):
            x, y = (self.as_float(self.formula(v, names)) for v in (tree.left, tree.right))
            return self.arith(ARITHMETIC[type(tree.op)], x, y), "f"
        assert isinstance(tree, ast.Call)
        assert isinstance(tree.func, ast.Name)
        return self.function(tree.func.id, [self.formula(a, names) for a in tree.args])

    def function(self, name: str, args: list[tuple[str, str]]) -> tuple[str, str]:
        """Print a call of one of FUNCTIONS."""
        if name == "select":
            return self.choose(self.as_bool(args[0]), self.as_float(args[1]), self.as_float(args[2])), "f"
        x = self.as_float(args[0])
        if name in ("tanh", "sigmoid", "exp"):
            return getattr(self, name)(x), "f"
        if name in ("maximum", "minimum"):
            return self.call(name, x, self.as_float(args[1])), "f"
        if name == "relu":
            return self.call("maximum", x, self.number(0.0)), "f"
        if name == "sign":
            up = self.choose(self.compare("ogt", x, self.number(0.0)), self.number(1.0), self.number(0.0))
            return self.choose(self.compare("olt", x, self.number(0.0)), self.number(-1.0), up), "f"
        return (self.call({"sqrt": "sqrt", "abs": "fabs", "floor": "floor"}[name], x) if name != "cast" else x), "f"


def _body(kernel: Kernel, prefix: str, width: int, at: str) -> list[str]:
    """Print loads, formulas and stores for `width` elements from column `at` on."""
    p = _Printer(prefix, width)
    loaded: dict[int, tuple[str, str]] = {}
    results: list[tuple[str, str]] = []

    def load(j: int) -> tuple[str, str]:
        if j not in loaded:
            operand = kernel.operands[j]
            if operand.spread:
                name = f"%c{j}"
                if width > 1:
                    kind = "float" if operand.kind == "f" else "i8"
                    lanes = f"<{width} x {kind}>"
                    first = p.new(f"insertelement {lanes} poison, {kind} {name}, i32 0")
                    everywhere = f"<{width} x i32> zeroinitializer"
                    name = p.new(f"shufflevector {lanes} {first}, {lanes} poison, {everywhere}")
                if operand.kind == "b":
                    name = p.new(f"icmp ne {p.bytes} {name}, {p.splat('0', 'i8')}")
            elif operand.kind == "f":
                where = p.new(f"getelementptr float, ptr %q{j}, i64 {at}")
                name = p.new(f"load {p.f}, ptr {where}, align 4")
            else:
                where = p.new(f"getelementptr i8, ptr %q{j}, i64 {at}")
                raw = p.new(f"load {p.bytes}, ptr {where}, align 1")
                name = p.new(f"icmp ne {p.bytes} {raw}, {p.splat('0', 'i8')}")
            loaded[j] = (name, operand.kind)
        return loaded[j]

    for step in kernel.steps:
        tree_and_names = parsed(step.expr)
        assert tree_and_names is not None
        tree, names = tree_and_names
        values = {}
        for name, (source, value) in zip(names, step.args, strict=True):
            values[name] = (
                load(value)
                if source == "load"
                else results[value]
                if source == "step"
                else (p.number(float.fromhex(value)), "f")
            )
        out = p.formula(tree, values)
        out = (p.as_float(out), "f") if step.kind == "f" else (p.as_bool(out), "b")
        results.append(out)
        if step.store >= 0:
            element = "float" if step.kind == "f" else "i8"
            where = p.new(f"getelementptr {element}, ptr %q{step.store}, i64 {at}")
            if step.kind == "f":
                p.lines.append(f"  store {p.f} {out[0]}, ptr {where}, align 4")
            else:
                p.lines.append(f"  store {p.bytes} {p.new(f'zext {p.b} {out[0]} to {p.bytes}')}, ptr {where}, align 1")
    return p.lines


def printed(kernel: Kernel, name: str, width: int) -> str:
    """Return the LLVM IR of a kernel: over rows, then over columns `width` at a time, then the rest one by one.

    Its only argument is a table of 64-bit integers: rows, columns, and an address and a row stride in bytes for each
    operand.
    """
    text = [f"define void @{name}(ptr %t) {{", "entry:", "  %rows = load i64, ptr %t"]
    text += ["  %pc = getelementptr i64, ptr %t, i64 1", "  %cols = load i64, ptr %pc"]
    for j in range(len(kernel.operands)):
        text += [f"  %pb{j} = getelementptr i64, ptr %t, i64 {2 + 2 * j}", f"  %b{j} = load ptr, ptr %pb{j}"]
        text += [f"  %ps{j} = getelementptr i64, ptr %t, i64 {3 + 2 * j}", f"  %s{j} = load i64, ptr %ps{j}"]
    text += ["  br label %row", "row:", "  %r = phi i64 [0, %entry], [%r1, %rowend]"]
    for j, operand in enumerate(kernel.operands):
        text += [f"  %o{j} = mul i64 %r, %s{j}", f"  %q{j} = getelementptr i8, ptr %b{j}, i64 %o{j}"]
        if operand.spread:
            text.append(f"  %c{j} = load {'float' if operand.kind == 'f' else 'i8'}, ptr %q{j}")
    text += ["  br label %vec", "vec:", "  %k = phi i64 [0, %row], [%kn, %vbody]", f"  %kn = add i64 %k, {width}"]
    text += ["  %kok = icmp sle i64 %kn, %cols", "  br i1 %kok, label %vbody, label %tail", "vbody:"]
    text += _body(kernel, "v", width, "%k")
    text += ["  br label %vec", "tail:", "  %j = phi i64 [%k, %vec], [%jn, %tbody]", "  %jok = icmp slt i64 %j, %cols"]
    text += ["  br i1 %jok, label %tbody, label %rowend", "tbody:"]
    text += _body(kernel, "x", 1, "%j")
    text += ["  %jn = add i64 %j, 1", "  br label %tail", "rowend:", "  %r1 = add i64 %r, 1"]
    text += ["  %more = icmp slt i64 %r1, %rows", "  br i1 %more, label %row, label %exit", "exit:", "  ret void", "}"]
    return "\n".join(text) + "\n"
