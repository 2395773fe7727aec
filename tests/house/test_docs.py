"""What the documentation shows works, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import zodbjobs
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.queues import Queues

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", DOCS / "tutorial.md", *sorted(DOCS.glob("how-to/*.md"))]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
EXPLAINED = [CONTRIBUTING, DOCS / "glossary.md", *sorted(DOCS.glob("explanation/*.md"))]
LINKED = [ROOT / "README.md", CONTRIBUTING, *sorted(DOCS.rglob("*.md"))]

_RUNNER = Path(__file__).with_name("run_page.py")
# What Pyramid and WebOb import may warn of its own end.
_WARNINGS = ["-W", "error"]
for _end in ("'cgi' is deprecated", "pkg_resources is deprecated"):
    _WARNINGS += ["-W", f"ignore:{_end}"]
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`?\b((?:src|tests|docs|stored|runtime|insights|cli|demo|grok)/[\w/.*-]*)")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_reference_is_made_from_the_docstrings() -> None:
    made = runpy.run_path(str(DOCS / "make_reference.py"))["reference"]()
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert made == written, "run python docs/make_reference.py"


@pytest.mark.process
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", *_WARNINGS, str(_RUNNER), str(page)]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for path, anchor in _LINK.findall(text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} of {name_of(page)}"
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor} of {name_of(page)}"


def test_what_contributors_are_told_of_is_there() -> None:
    named = re.findall(r"`([\w./]+)`", CONTRIBUTING.read_text("utf-8"))
    paths = {name for name in named if "/" in name or name.endswith((".py", ".md"))}
    assert len(paths) > 40
    missing = {
        path
        for path in paths
        if not path.startswith("build/")  # what tests leave is there only after them
        and not (ROOT / path).exists()
        and not (ROOT / "src" / "zodbjobs" / path).exists()
    }
    assert not missing
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([\w-]+)", CONTRIBUTING.read_text("utf-8"))) <= targets


@pytest.mark.parametrize("page", EXPLAINED, ids=name_of)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        where = [folder / path.rstrip(".") for folder in (ROOT, ROOT / "src" / "zodbjobs")]
        assert any(found.exists() for found in where), path


def test_the_names_to_port_to_are_there() -> None:
    """Those with a dagger aren't yet; take it off when one comes."""
    page = (DOCS / "how-to" / "port-from-zc-async.md").read_text("utf-8")
    owners = {
        "zodbjobs": zodbjobs,
        "local": zodbjobs.local,
        "testing": zodbjobs.testing,
        "insights": zodbjobs.insights,
        "job": zodbjobs.Job,
        "queue": Queue("", Queues(), 1),
    }
    cells = [line.rpartition(" | ")[2] for line in page.splitlines() if line.startswith("| `")]
    named = [found for cell in cells for found in re.findall(r"`(\w+)\.(\w+)[^`]*`( †)?", cell)]
    known = [(owner, name, dagger) for owner, name, dagger in named if owner in owners]
    assert len(known) > 50
    wrong = {
        f"{owner}.{name}"
        for owner, name, dagger in known
        if hasattr(owners[owner], name) == bool(dagger)
    }
    assert wrong <= {"zodbjobs.grok", "zodbjobs.plone"}  # packages, which need what they are for


def test_the_words_of_the_glossary_are_in_order_each_once() -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    words = re.findall(r"^\*\*(.+)\.\*\* ", text, re.MULTILINE)
    assert words == sorted(set(words), key=str.lower)
    assert len(words) > 40


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
