"""The pages in somebody's layout: what is ours has names of its own, and a style for it alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zodbjobs.web

_FOLDER = Path(zodbjobs.web.__file__).parent
_NAMED = re.compile(
    r'(?<![\w:-])(?:class|id|for|aria-labelledby|aria-describedby)="((?:\$\{[^}]*\}|[^"$])*)"'
)


@pytest.mark.parametrize(
    "path", sorted((_FOLDER / "templates").glob("*.pt")), ids=lambda p: p.stem
)
def test_each_class_and_each_id_has_the_prefix(path: Path) -> None:
    for said in _NAMED.findall(path.read_text()):
        # What is put in comes after the prefix, or has one by itself.
        for name in re.sub(r"\$\{[^}]*\}", "", said).split():
            assert name == "zj" or name.startswith("zj-"), f'{path.name}: "{said}"'


@pytest.mark.parametrize("name", ["style.css", "operate.css"])
def test_each_rule_is_for_what_is_ours(name: str) -> None:
    style = re.sub(r"/\*.*?\*/", "", (_FOLDER / "static" / name).read_text(), flags=re.DOTALL)
    heads, depth, head = [], 0, ""
    for char in style:
        if char == "{":
            if depth == 0:
                heads.append(head.strip())
            depth, head = depth + 1, ""
        elif char == "}":
            depth, head = depth - 1, ""
        else:
            head += char
    assert heads
    for each in heads:
        assert re.match(r":is\(\.zj, |@keyframes zj-|html:has\((> )?\.zj", each), each
    assert set(re.findall(r"(?<![\w-])--(?!zj-)[\w-]+", style)) == set()
    assert {each for each in re.findall(r"\.([a-z][\w-]*)", style) if each[:2] != "zj"} == set()
