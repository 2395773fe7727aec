"""The server crashes, and the network between it and the workers is bad in several ways."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from chaos.books import Books
from chaos.stage import Stage, staged
from chaos.table import Row

WORKERS = 2

#: How often answers are lost in one blow.
LOSSES = 8

#: Jobs that are put before each blow.
PUT = 150


def crash(stage: Stage, seconds: float) -> None:
    """The server's processes are killed; after a while it is started again."""
    stage.crash(seconds)


def cut(stage: Stage, seconds: float) -> None:
    """All connections are dropped, several times."""
    for _ in range(3):
        time.sleep(random.uniform(0, 0.3))
        stage.proxy.cut()


def lose_answers(stage: Stage, seconds: float) -> None:
    """The server still gets what is sent, its answers are lost, then the connections are.

    So nobody knows whether what was about to be committed has been: ends, and claims, for the
    workers have nothing else to do, and are given a job just before.
    """
    for _ in range(LOSSES):
        stage.wait_until_drained()
        stage.fill([len(stage.ids)])
        time.sleep(random.uniform(0, 0.03))  # the moment is what it is about
        stage.proxy.hold_answers()
        time.sleep(0.1)  # what is under way arrives; nobody can see when
        stage.proxy.cut()
        stage.proxy.let_go()


def black_hole(stage: Stage, seconds: float) -> None:
    """Nothing gets through for a while, and nobody is told; then all arrives."""
    stage.proxy.hold()
    time.sleep(seconds)
    stage.proxy.let_go()


BLOWS: list[Callable[[Stage, float], None]] = [crash, cut, lose_answers, black_hole]


def run(row: Row, folder: Path, *, blows: int, seconds: float) -> None:
    """`blows` of all kinds in turn; crashes and black holes last `seconds`."""
    row.recovered = 0.0
    with staged(row, folder, {}, with_proxy=True) as stage:
        stage.start_workers(WORKERS)
        for number in range(blows):
            stage.fill(range(number * PUT, (number + 1) * PUT))
            stage.wait(_has_begun(number * PUT), "work has begun")
            BLOWS[number % len(BLOWS)](stage, seconds)
            finished = stage.finished()
            recovered = stage.wait(_goes_on(finished, len(stage.ids)), "work goes on")
            row.recovered = max(row.recovered, recovered)
    row.done = (
        f"{WORKERS} workers; {blows} times in turn: server crashed for {seconds} s, connections "
        f"cut, answers lost and cut, nothing passed for {seconds} s"
    )


def _has_begun(before: int) -> Callable[[Books], bool]:
    """Whether some of the jobs that were put last have ended, or begun."""
    return lambda now: now.finished() > before or bool(now.leased())


def _goes_on(finished: int, put: int) -> Callable[[Books], bool]:
    """Whether more has ended since, or all."""
    return lambda now: now.finished() > finished or now.finished() == put
