"""kill -9 of workers while sweeps run: over one tree after another, whole, in parallel, with items
that raise, and in steps by hand.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from BTrees.LOBTree import LOBTree
from ZODB.utils import p64, u64

import zodbjobs
from chaos import work
from chaos.scenarios.killing import kill_until_done
from chaos.stage import Stage, staged
from chaos.table import Row

#: How many jobs a set is: one in parallel has a composition, three parts, and what gathers them.
_JOBS = 3 + 6


def run(row: Row, folder: Path, *, sets: int, items: int, pause: float) -> None:
    """Put so many sets of sweeps, each over a tree of so many items; kill until all are done."""
    with staged(row, folder, {}) as stage:
        for number in range(sets):
            _put(stage, number, items)
        kill_until_done(stage, row, 0, pause)
        stage.take_note(sets * _JOBS)
        row.done += f"; sweeps over {items:,} items each, and jobs in steps"
        with stage.db.transaction() as connection:
            row.faults += _faults(connection.root()["swept"])
            jobs = [connection.get(p64(int(each))) for each in stage.ids]
            row.faults += _blamed(jobs)


def _put(stage: Stage, number: int, items: int) -> None:
    """One of each kind, in one transaction."""
    with stage.db.transaction() as connection:
        root, queue = connection.root(), zodbjobs.get_queue(connection)
        trees = root.setdefault("swept", LOBTree())
        for kind, each in enumerate((work.count, work.count, work.count_or_raise, work.in_steps)):
            tree = trees[number * 4 + kind] = LOBTree({n: work.Swept(n) for n in range(items)})
            if each is work.in_steps:
                job = zodbjobs.Job(each, tree)
            else:
                parallel = 3 if kind == 1 else 1
                job = zodbjobs.Sweep(tree, each, seconds=0.05, most=items, parallel=parallel)
            queue.put(job)
            connection.add(job)
            stage.ids.append(str(u64(job._p_oid)))


def _faults(trees: Any) -> list[str]:
    """What is wrong: each item is to be counted once, but for those that raise."""
    faults = []
    for number, tree in trees.items():
        raises = number % 4 == 2
        wrong = Counter(
            item.count
            for item in tree.values()
            if item.count != (0 if raises and item.number % work.RAISES == 0 else 1)
        )
        faults += [f"{n} items of tree {number} are counted {c} times" for c, n in wrong.items()]
    return faults


def _blamed(jobs: list[Any]) -> list[str]:
    """What was set aside though it is no item that raises."""
    asides = [aside for job in jobs for aside in getattr(job, "set_aside", ())]
    return sorted({repr(each) for each in asides if "is bad" not in str(each.failure)})
