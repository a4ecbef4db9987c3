"""Compiles kernels with LLVM, in this process (needs the extra `fast`: numba brings llvmlite)."""

import ctypes
import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

from tinyseq.graph import products
from tinyseq.graph.kernels import Kernel, printed


class Compiler:
    """Compiles kernels with LLVM, once each for the life of the process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm  # noqa: PLC0415 -- optional dependency

        self.llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.width = 16 if features.get("avx512f") else 8
        self.machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3
        )
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self.machine)
        self.addresses: dict[Any, int] = {}
        fixed = importlib.resources.files("tinyseq.graph").joinpath("fixed.ll").read_text()
        self.has_products = self.width == products.WIDTH
        if self.has_products:
            self._add(products.printed(), ["product"])
        self._add(fixed, ["gemm", "gemv", "rowsum", "colsum", "transpose", "barrier", "run"])
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.addresses["run"])

    def _add(self, text: str, names: Sequence[Any]) -> None:
        module = self.llvm.parse_assembly(text)
        module.verify()
        self.engine.add_module(module)
        self.engine.finalize_object()
        for name in names:
            self.addresses[name] = self.engine.get_function_address(name)

    def compile(self, kernels: Sequence[Kernel]) -> None:
        """Compile those of `kernels` that are not known yet, in one go."""
        fresh = [k for k in dict.fromkeys(kernels) if k not in self.addresses]
        if not fresh:
            return
        names = {k: f"kernel{len(self.addresses) + i}" for i, k in enumerate(fresh)}
        declared = "".join(
            f"declare {f} @llvm.{name}.{s}({', '.join([f] * count)})\n"
            for f, s in ((f"<{self.width} x float>", f"v{self.width}f32"), ("float", "f32"))
            for name, count in (("floor", 1), ("sqrt", 1), ("fabs", 1), ("maximum", 2), ("minimum", 2))
        )
        self._add(declared + "".join(printed(k, names[k], self.width) for k in fresh), list(names.values()))
        for k in fresh:
            self.addresses[k] = self.addresses.pop(names[k])
            self.addresses[names[k]] = self.addresses[k]


@functools.cache
def compiler() -> Compiler | None:
    """Return the compiler, or None where llvmlite (which numba brings) is missing."""
    try:
        return Compiler()
    except ImportError:
        return None
