"""The promises of docs/promises.md, and which tests are marked to show them.

`make promises` prints both, and ends with status 1 if they don't fit together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "promises.md"

_ROW = re.compile(r"\| (\d+) \| (.+?) \| (kept|changed|later|dropped)(: .+)? \|")
_NUMBERED = re.compile(r"\|\s*\d+\s*\|")


class Promise(NamedTuple):
    """A row of the page. `state`: kept, changed, later or dropped."""

    text: str
    state: str

    @property
    def holds(self) -> bool:
        """Whether it is to be shown by a test."""
        return self.state in ("kept", "changed")


def read(page: Path = PAGE) -> dict[int, Promise]:
    """The promises of `page` by number.

    Raises ValueError for a row that can't be understood, and for a number that is there twice.
    """
    found: dict[int, Promise] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if not _NUMBERED.match(line):
            continue
        row = _ROW.fullmatch(line)
        if row is None:
            raise ValueError(f"{page.name}: write | number | promise | state: why |, not {line}")
        number = int(row[1])
        if number in found:
            raise ValueError(f"{page.name}: number {number} is there twice")
        if row[3] != "kept" and not row[4]:
            raise ValueError(f"{page.name}: number {number} is {row[3]}; say how or why")
        found[number] = Promise(row[2], row[3])
    return found


def shown_by(items: Iterable[pytest.Item]) -> dict[int, list[str]]:
    """The names of the tests with the marker of a promise, by number, each once."""
    shown: dict[int, set[str]] = {}
    for item in items:
        for marker in item.iter_markers("promise"):
            for number in marker.args:
                shown.setdefault(number, set()).add(item.nodeid.partition("[")[0])
    return {number: sorted(names) for number, names in shown.items()}


def listing(known: Mapping[int, Promise], shown: Mapping[int, list[str]]) -> Iterator[str]:
    """Lines with number, state and text of each promise, its tests below; `-` if it has none."""
    for number, promise in sorted(known.items()):
        yield f"{number:>3}  {promise.state}: {promise.text}"
        for name in shown.get(number) or ["-"]:
            yield f"     {name}"


def faults(known: Mapping[int, Promise], shown: Mapping[int, list[str]]) -> list[str]:
    """Lines about markers of what isn't promised now, and about promises without a test."""
    found = []
    for number, names in sorted(shown.items()):
        promise = known.get(number)
        if promise is None or not promise.holds:
            why = "isn't in docs/promises.md" if promise is None else f"is {promise.state} there"
            found.append(f"promise {number}, the marker of {', '.join(names)}, {why}")
    for number, promise in sorted(known.items()):
        if promise.holds and number not in shown:
            found.append(f"promise {number} is {promise.state}, and no test is marked to show it")
    return found
