"""docs/promises.md and the markers of the tests say the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from promises import Promise, faults, listing, read

ROOT = Path(__file__).parents[2]

KNOWN = {
    1: Promise("It runs.", "kept"),
    2: Promise("It flies.", "later"),
    3: Promise("It swims.", "changed"),
}


def test_all_are_there() -> None:
    assert sorted(read()) == list(range(1, 179))


@pytest.mark.process
def test_what_holds_is_shown_and_nothing_else_is() -> None:
    """As `make promises` does, in a process of its own: this one may have a part of the tests."""
    command = [sys.executable, "-m", "pytest", "-q", "--promises", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert ended.returncode == 0, f"{ended.stdout[-3_000:]}\n{ended.stderr}"
    assert "  1  kept: A job calls a function" in ended.stdout


def test_what_does_not_fit_is_named() -> None:
    shown = {1: ["test_one"], 2: ["test_two"], 9: ["test_two", "test_x"]}
    assert faults(KNOWN, shown) == [
        "promise 2, the marker of test_two, is later there",
        "promise 9, the marker of test_two, test_x, isn't in docs/promises.md",
        "promise 3 is changed, and no test is marked to show it",
    ]
    assert faults(KNOWN, {1: ["test_one"], 3: ["test_three"]}) == []


def test_what_has_no_test_is_listed_with_a_dash() -> None:
    assert list(listing(KNOWN, {1: ["test_one", "test_x"]})) == [
        *("  1  kept: It runs.", "     test_one", "     test_x"),
        *("  2  later: It flies.", "     -", "  3  changed: It swims.", "     -"),
    ]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("| 1 | It runs. | perhaps |", "not | 1 |"),
        ("| 1 | It runs. | later |", "say how or why"),
        ("| 1 | It runs. | kept |\n| 1 | It flies. | kept |", "twice"),
    ],
)
def test_a_row_that_cannot_be_understood(rows: str, text: str, tmp_path: Path) -> None:
    page = tmp_path / "promises.md"
    page.write_text(rows)
    with pytest.raises(ValueError, match=r"promises\.md") as caught:
        read(page)
    assert text in str(caught.value)
