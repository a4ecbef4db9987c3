"""The README's code runs as it stands, its commands and links are right, and it stays short."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code(page):
    """Return all Python blocks of a page, in one piece with the lines where they stand."""
    text, lines, inside = page.read_text(encoding="utf-8"), [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line.strip() == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines)


@pytest.mark.parametrize("page", [p for p in PAGES if code(p).strip()], ids=lambda p: p.name)
def test_the_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "page"}
    exec(compile(code(page), str(page), "exec"), scope)
    if page.name == "README.md":
        assert scope["loss"].item() < 0.02  # the cell has learned
        assert (tmp_path / "cell.svg").stat().st_size > 1000


def test_the_commands_are_one_line_each():
    commands = re.findall(r"^(pip install .*)$", README, re.MULTILINE)
    assert commands == [
        'pip install -e ".[fast,viz]" && python -m tinyseq demo',
        'pip install -e ".[test]" && python -m pytest',
    ]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"fast", "viz", "test"} <= set(extras)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_it_fits_two_screens():
    assert len(README.splitlines()) <= 120
