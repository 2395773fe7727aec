"""The scenarios of `make chaos` in a small form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaos.plays import PLAYS, Play

SHOWN = {
    "killing": (127,),
    "outage": (111, 132, 134),
    "pausing": (96, 129),
    "producing": (67,),
    "producing-alone": (67,),
}


def marked(play: Play) -> Any:
    """The play with the promises that its scenario shows."""
    numbers = SHOWN.get(play.scenario, ())
    return pytest.param(play, id=str(play), marks=[pytest.mark.promise(*numbers)])


@pytest.mark.process
@pytest.mark.timeout(600)  # the stage knows when there is no progress
@pytest.mark.parametrize("play", [marked(play) for play in PLAYS])
def test_nothing_is_lost_or_doubled(play: Play, tmp_path: Path) -> None:
    row = play.play(tmp_path, play.small)
    row.show()
    assert not row.faults
