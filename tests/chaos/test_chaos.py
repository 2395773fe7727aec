"""The scenarios of `make chaos` in a small form."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.plays import PLAYS, Play


@pytest.mark.process
@pytest.mark.promise(111, 127, 129, 131, 132, 133, 134)
@pytest.mark.parametrize("play", PLAYS, ids=str)
def test_nothing_is_lost_or_doubled(play: Play, tmp_path: Path) -> None:
    row = play.play(tmp_path, play.small)
    row.show()
    assert not row.faults
