"""Programs that lay graphs out: found in a fixed order, run with a time limit, never needed for DOT text.

The order is an explicit choice, the `graphviz-pure` wheel of the extra "viz", a `dot` on the PATH, pygraphviz.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path
from typing import IO, Any

from tinyseq.errors import RenderError

VARIABLE = "TINYSEQ_DOT"
WHEEL = "graphviz-pure"
ADVICE = 'pip install "tinyseq[viz]" brings one; without it, DOT text still works: draw(...).source, .save("g.dot")'
SECONDS = 60.0
MOST_STDERR = 4000  # bytes; Graphviz can warn once for every character
_GRAPH = ("json0",)  # positions only, no drawing operations


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to run Graphviz: a program, or pygraphviz where `program` is empty."""

    name: str
    program: str = ""

    def layout(self, sources: Sequence[str], *, seconds: float = SECONDS) -> list[dict[str, Any]]:
        """Return positions for each DOT text of `sources`, as Graphviz's `json0` format has them (points, y up)."""
        if not sources:
            return []
        if not self.program:
            return [json.loads(self.run(s, _GRAPH[0], seconds=seconds), strict=False) for s in sources]
        text = self.run("\n".join(sources), _GRAPH[0], seconds=seconds).decode("utf-8", "replace")
        found = list(_documents(text))
        if len(found) != len(sources):
            raise RenderError(
                f"draw: {self.name} laid out {len(found)} of {len(sources)} graphs; choose another engine="
            )
        return found

    def run(self, source: str, form: str, *, pinned: bool = False, seconds: float = SECONDS) -> bytes:
        """Return `source` in the format `form`; `pinned` keeps the positions that it states.

        Raises
        ------
        RenderError
            If the engine fails, takes longer than `seconds`, or does not know the format.
        """
        if not self.program:
            return self._run_module(source, form, pinned)
        command = [self.program, f"-T{form}", *(("-Kneato", "-n2") if pinned else ("-Kdot",))]
        code, out, said = _run_limited(command, source.encode(), seconds)
        # 1 with a picture is "trouble in init_rank" and the like: the picture is good
        if code in (0, 1) and out.strip():
            return out
        if "not recognized" in said:
            raise RenderError(f"draw: {self.name} cannot write {form!r}; it says: {said}. SVG, PNG, DOT and HTML work")
        raise RenderError(f"draw: {self.name} ended with code {code} and no picture; it says: {said or 'nothing'}")

    def _run_module(self, source: str, form: str, pinned: bool) -> bytes:
        graph = import_module("pygraphviz").AGraph(string=source)
        try:
            drawn: bytes = graph.draw(format=form, prog="neato" if pinned else "dot", args="-n2" if pinned else "")
        except Exception as error:
            raise RenderError(f"draw: pygraphviz failed: {error}"[:MOST_STDERR]) from error
        return drawn


def find(wanted: str | os.PathLike[str] | None = None) -> Engine:
    """Return the engine to draw with.

    Parameters
    ----------
    wanted
        "graphviz-pure", "dot", "pygraphviz" or the path of a program; the environment variable TINYSEQ_DOT if None.

    Raises
    ------
    RenderError
        If there is none, or not the wanted one.
    """
    asked = os.fspath(wanted) if wanted is not None else os.environ.get(VARIABLE, "")
    engines = {WHEEL: _wheel, "dot": _system, "pygraphviz": _module}
    if asked:
        if asked in engines:
            found = engines[asked]()
        else:
            program = shutil.which(asked)
            found = Engine(Path(asked).name, program) if program else None
        if found is None:
            raise RenderError(f"draw: the engine {asked!r} is not there (engine= or {VARIABLE}); {ADVICE}")
        return found
    for look in engines.values():
        found = look()
        if found is not None:
            return found
    raise RenderError(f"draw: no engine to lay graphs out; {ADVICE}")


def _wheel() -> Engine | None:
    """Find the wheel's program by its own list of files: an environment that is not activated is not on the PATH."""
    try:
        files = metadata.distribution(WHEEL).files or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.stem == WHEEL and file.suffix in ("", ".exe"):
            path = Path(str(file.locate()))
            if path.is_file():
                return Engine(WHEEL, str(path.resolve()))
    return None


def _system() -> Engine | None:
    program = shutil.which("dot")
    return Engine("dot", program) if program else None


def _module() -> Engine | None:
    return Engine("pygraphviz") if util.find_spec("pygraphviz") else None


def _run_limited(command: Sequence[str], given: bytes, seconds: float) -> tuple[int, bytes, str]:
    """Run `command` on `given`; return its code, what it wrote, and the beginning of what it complained."""
    said = bytearray()

    def listen(pipe: IO[bytes]) -> None:
        while part := pipe.read(1 << 16):
            said.extend(part[: max(0, MOST_STDERR - len(said))])

    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(given)
        source.seek(0)
        try:
            process = subprocess.Popen(command, stdin=source, stdout=target, stderr=subprocess.PIPE)
        except OSError as error:
            raise RenderError(f"draw: cannot start {command[0]}: {error}; {ADVICE}") from error
        assert process.stderr is not None
        listener = threading.Thread(target=listen, args=(process.stderr,), daemon=True)
        listener.start()
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RenderError(
                f"draw: the layout took longer than {seconds:g} s and was stopped; draw fewer steps, or view='rolled'"
            ) from None
        finally:
            listener.join(1.0)
            process.stderr.close()
        target.seek(0)
        return code, target.read(), said.decode("utf-8", "replace").strip()


def _documents(text: str) -> Any:
    """Yield the JSON documents that stand one after another in `text`."""
    decoder, at = json.JSONDecoder(strict=False), 0
    while (at := _skip(text, at)) < len(text):
        document, at = decoder.raw_decode(text, at)
        yield from document if isinstance(document, list) else [document]


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
