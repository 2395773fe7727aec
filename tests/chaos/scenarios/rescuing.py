"""Two workers that rescue the same dead one at once, one of them by a clock that jumps."""

from __future__ import annotations

import time
from pathlib import Path

from chaos import work
from chaos.stage import Stage, staged
from chaos.table import Row
from zodbjobs import Job

#: How far the clock jumps, to and fro, in seconds.
JUMP_SECONDS = 3600.0

#: Jobs that the dead worker holds: the rescue takes several transactions.
HELD = 350

#: Jobs that put others while the clock jumps, and how many each.
PARENTS = 20
CHILDREN = 3


def run(row: Row, folder: Path, *, rounds: int) -> None:
    """Play `rounds` rounds."""
    row.recovered = 0.0
    with staged(row, folder, {}) as stage:
        for number in range(rounds):
            own = folder / f"round-{number}"
            own.mkdir()
            row.recovered = max(row.recovered, _round(stage, own, number * HELD))
            row.faults += stage.workers.stop()
    row.done = (
        f"{rounds} times a worker killed with {HELD} jobs, rescued by two at once, the clock of "
        f"one jumping by {JUMP_SECONDS:.0f} s to and fro"
    )


def _round(stage: Stage, folder: Path, first: int) -> float:
    stage.fill(range(first, first + HELD))
    held, start = folder / "held", folder / "start"
    victim = stage.workers.start(hoard=HELD, done=str(held))
    stage.wait_for_file(held)
    for jump in (0.0, JUMP_SECONDS):
        stage.workers.start(start=str(start), ready=f"{folder}/ready-{jump}", jump_seconds=jump)
    for jump in (0.0, JUMP_SECONDS):
        stage.wait_for_file(folder / f"ready-{jump}")
    stage.workers.kill(victim)
    began = time.monotonic()
    start.touch()
    stage.wait(lambda now: victim.pid not in now.pids(), "the dead worker is rescued")
    seconds = time.monotonic() - began
    _put_parents(stage, 10_000 + first)
    stage.wait_until_drained()
    return seconds


def _put_parents(stage: Stage, first: int) -> None:
    """Jobs that put others; the ids of those are known only when all is done."""
    before = len(stage.ids)
    stage.fill(
        range(first, first + PARENTS), lambda c, led, n: Job(work.beget, c, led, n, CHILDREN)
    )
    stage.take_note(before + PARENTS * (1 + CHILDREN))
