"""The examples run in their short mode; real data are what they are said to be."""

import ast
import hashlib
import lzma
import os
import re
import runpy
import subprocess
import symtable
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyseq.data import sources
from tinyseq.errors import ArgumentError

EXAMPLES = Path(__file__).parent.parent / "examples"
DICTIONARY = EXAMPLES / "data" / "cmudict.dict.xz"
NEEDS = {
    "experiments": ["matplotlib"],
    "forecasting": ["matplotlib", "statsmodels"],
    "many_to_one": ["faker", "matplotlib"],
    "one_to_many": ["faker", "matplotlib"],
    "one_to_one": ["matplotlib", "sklearn"],
    "synced": ["pypinyin"],
    "synced_identifiers": [],
    "unsynced": ["matplotlib"],
}


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_runs_and_prints_a_baseline(name, tmp_path):
    for module in NEEDS[name]:
        pytest.importorskip(module)
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:tinyseq", EXAMPLES / f"{name}.py", "--short"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d+\.\d", done.stdout)) >= 2  # its own figure, and the baseline's
    if f"{name}.png" in (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_every_example_of_real_data_is_tested_and_listed():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.name in listed
        if path.stem == "synced_roles":  # a part of synced_identifiers
            continue
        assert path.stem in NEEDS or path.stem in ("own_cell", "sample_text")
        assert '"--short"' in path.read_text(encoding="utf-8")


def test_verified_reads_the_right_bytes_and_refuses_others(tmp_path):
    content = b"some data\n" * 100
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(content))
    assert sources.verified(tmp_path / "a.txt", digest) == sources.verified(tmp_path / "a.txt.xz", digest) == content
    (tmp_path / "b.txt").write_bytes(content[:-1] + b" ")
    with pytest.raises(ArgumentError, match="SHA-256"):
        sources.verified(tmp_path / "b.txt", digest)
    (tmp_path / "b.xz").write_bytes(b"no archive")
    for missing in ("b.xz", "c.txt"):
        with pytest.raises(ArgumentError, match="cannot read"):
            sources.verified(tmp_path / missing, digest)


def test_the_dictionary_is_whole_and_stands_beside_its_licence():
    listed = (EXAMPLES / "data" / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256(lzma.decompress(DICTIONARY.read_bytes())).hexdigest()
    assert digest in listed
    assert digest in (EXAMPLES / "unsynced.py").read_text(encoding="utf-8")
    pairs = sources.pronunciations(DICTIONARY, digest)
    words = dict(pairs)
    assert len(pairs) == len(words) > 110_000
    assert words["recurrent"] == ["R", "IH", "K", "ER", "AH", "N", "T"]
    assert len({p for _, found in pairs for p in found}) == 39
    assert "Carnegie Mellon" in (EXAMPLES / "data" / "cmudict.LICENSE").read_text(encoding="utf-8")


def test_the_utterances_are_whole_and_stand_beside_their_licence():
    folder = EXAMPLES / "data" / "japanese_vowels"
    listed = (EXAMPLES / "data" / "README.md").read_text(encoding="utf-8")
    code = (EXAMPLES / "many_to_one.py").read_text(encoding="utf-8")
    # What the data's authors say: so many utterances of each of the nine speakers, and so many frames at most
    said = {"TRAIN": ([30] * 9, 26), "TEST": ([31, 35, 88, 44, 29, 24, 40, 50, 29], 29)}
    for part, (counts, longest) in said.items():
        path = folder / f"JapaneseVowels_{part}.ts.xz"
        digest = hashlib.sha256(lzma.decompress(path.read_bytes())).hexdigest()
        assert digest in listed
        assert digest in code
        frames, speakers = sources.utterances(path, digest)
        assert np.bincount(speakers).tolist() == counts
        assert {x.shape[1] for x in frames} == {12}
        assert {x.dtype for x in frames} == {np.dtype(np.float32)}
        lengths = [len(x) for x in frames]
        assert min(lengths) == 7
        assert max(lengths) == longest
    licence = (folder / "LICENSE").read_text(encoding="utf-8")
    assert "Kudo" in licence
    assert "CC BY 4.0" in licence


def test_utterances_are_read_channel_by_channel(tmp_path):
    text = b"#a comment\n@data\n1,2,3:4,5,6:2\n-1.5,0:7,8:1\n"
    (tmp_path / "a.ts").write_bytes(text)
    frames, speakers = sources.utterances(tmp_path / "a.ts", hashlib.sha256(text).hexdigest())
    assert [x.tolist() for x in frames] == [[[1, 4], [2, 5], [3, 6]], [[-1.5, 7], [0, 8]]]
    assert speakers.tolist() == [1, 0]
    with pytest.raises(ArgumentError, match="SHA-256"):
        sources.utterances(tmp_path / "a.ts", "0" * 64)


def test_tables_of_statsmodels():
    pytest.importorskip("statsmodels")
    years, ppm = sources.weekly_co2()
    assert years.shape == ppm.shape == (2284,)
    assert np.isfinite(ppm).all()
    assert 1958.2 < years[0] < 1958.3
    assert 2001.9 < years[-1] < 2002.1
    assert 310 < ppm.min() < 320 < 370 < ppm.max() < 380
    years, spots = sources.yearly_sunspots()
    assert years[0] == 1700
    assert years[-1] == 2008
    assert spots.argmax() == 1957 - 1700


def test_surnames_are_plain_letters():
    pytest.importorskip("faker")
    found = sources.surnames()
    assert len(found) == 20
    assert sum(map(len, found.values())) > 10_000
    assert set("".join("".join(names) for names in found.values())) <= set("abcdefghijklmnopqrstuvwxyz '-")
    assert "garcia" in found["Spanish"]
    assert "korhonen" in found["Finnish"]


def test_pinyin_has_a_reading_for_each_character():
    pytest.importorskip("pypinyin")
    phrases = sources.pinyin_phrases()
    assert len(phrases) > 40_000
    assert all(len(phrase) == len(readings) for phrase, readings in phrases)
    assert dict(phrases)["银行"] == ["yín", "háng"]


LINES_AND_ROLES = {
    "import a.b as c; from d import e": "import import import import import",
    "class C(B, metaclass=M):": "def global key global",
    "    x: int = 1": "write global",
    "    y = [x for z in x if x]": "write global write local global",  # only the first iterable sees the class
    "    @property": "global",
    "    def f(self, a, *b, c=x, **d) -> C:": "def param param param param local param global",
    "        global g": "global",
    "        g = self.h.i(a, k=c)[x]": "write local attr call local key local global",
    "        self.h = lambda v, w=v: v + a": "local write param param global local local",
    "        for n, m in d.items(): del n": "write write local call local",
    "        try: n = f'{a}'": "write",
    "        except (E, a.F) as e: raise e from None": "global local attr write local",
    "        async def q(): nonlocal n; n += g": "def local write global",
    "        with open(a) as t, c: return {w(t): w for w in n}": "call local write local call local local write local",
}


def test_roles_of_identifiers(tmp_path):
    (tmp_path / "a.py").write_text("\n".join(LINES_AND_ROLES) + "\n", encoding="utf-8")
    lines = runpy.run_path(EXAMPLES / "synced_roles.py")["read_lines"](tmp_path / "a.py")
    found = [""] * len(LINES_AND_ROLES)
    for token in (token for line in lines for token in line if token.role):
        found[token.start[0] - 1] += f" {token.role}"
    assert [roles.strip() for roles in found] == list(LINES_AND_ROLES.values())


def test_local_and_global_are_what_symtable_says():
    path = Path(ast.__file__).parent / "configparser.py"
    source = path.read_text(encoding="utf-8")
    lines = runpy.run_path(EXAMPLES / "synced_roles.py")["read_lines"](path)
    roles = {token.start: token.role for line in lines for token in line}
    tables, todo = {}, [symtable.symtable(source, "configparser", "exec")]
    while todo:
        table = todo.pop()
        tables[table.get_name(), table.get_lineno()] = table
        todo += table.get_children()
    checked = 0
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        for name in (node for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.Name)):
            role = roles.get((name.lineno, name.col_offset))
            own = tables[function.name, function.lineno]
            if role in ("local", "global") and name.id in own.get_identifiers():
                symbol = own.lookup(name.id)
                assert (role == "local") == (symbol.is_local() or symbol.is_free()), (name.id, name.lineno)
                checked += 1
    assert checked > 500


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    with pytest.raises(ArgumentError, match=r"statsmodels.*tinyseq\[data\]"):
        sources.weekly_co2()
