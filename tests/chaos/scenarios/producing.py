"""Many processes that put jobs one by one: how often do they conflict?"""

from __future__ import annotations

import time
from pathlib import Path

from chaos.producer import read_produced
from chaos.stage import staged
from chaos.table import Row

PRODUCERS = 8
WORKERS = 2

#: Of so many puts less than one may conflict.
PUTS_FOR_ONE = 1_000


def run(row: Row, folder: Path, *, puts: int, draining: bool) -> None:
    """`puts` by each of the processes, with workers there, or with workers afterwards."""
    with staged(row, folder, {}) as stage:
        if draining:
            stage.start_workers(WORKERS)
        producers = []
        outputs = [folder / f"produced-{n}" for n in range(PRODUCERS)]
        for number, output in enumerate(outputs):
            orders = {"puts": puts, "first": number * puts, "done": str(output), "works": False}
            producers.append(stage.workers.start(start=str(folder / "start"), **orders))
        began = time.monotonic()
        (folder / "start").touch()
        stage.wait(lambda now: all(map(Path.exists, outputs)), "all is put")
        seconds = time.monotonic() - began
        produced = [read_produced(output) for output in outputs]
        stage.ids += [job_id for one in produced for job_id in one.ids]
        for producer in producers:
            row.faults += stage.workers.let_end(producer)
        if not draining:
            stage.start_workers(WORKERS)
    conflicts = sum(one.conflicts for one in produced)
    row.done = (
        f"{PRODUCERS} processes put {row.jobs} one by one in {seconds:.0f} s, "
        f"{'with' if draining else 'without'} workers: {conflicts} puts conflicted"
    )
    if conflicts * PUTS_FOR_ONE >= row.jobs:
        row.faults.append(f"{conflicts} puts conflicted, of {row.jobs}")
