"""Jobs of all kinds, while workers are killed, and the queue is paused now and then: with
callbacks, quotas, unique keys and time limits, put after others, composed, and returned by others.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from BTrees.Length import Length
from ZODB.utils import u64

import zodbjobs
from chaos import work
from chaos.scenarios.killing import kill_until_done
from chaos.stage import Stage, staged
from chaos.table import Row

#: Names of the quota of one slot each.
_NAMES = 3


def run(row: Row, folder: Path, *, rounds: int, pause: float, most: int) -> None:
    """Put a set of jobs of all kinds so many times; kill at most about `most` times."""
    with staged(row, folder, {}) as stage:
        with stage.db.transaction() as connection:
            zodbjobs.get_queue(connection).quotas.create("one:*")
        for number in range(rounds):
            _put(stage, folder, number)
        kill_until_done(
            stage, row, max(1, len(stage.ids) // most), pause, lambda: _pause_a_while(stage)
        )
        row.done += "; jobs of all kinds"


def _pause_a_while(stage: Stage) -> None:
    if random.random() < 0.3:
        with stage.db.transaction() as connection:
            zodbjobs.get_queue(connection).pause("for a while")
        time.sleep(random.uniform(0, 0.5))  # the moment is what it is about
        with stage.db.transaction() as connection:
            zodbjobs.get_queue(connection).resume()


def _put(stage: Stage, folder: Path, number: int) -> None:
    """One job of each kind, in one transaction."""
    with stage.db.transaction() as connection:
        queue, ledger = zodbjobs.get_queue(connection), connection.root()["ledger"]
        numbers = iter(range(number * 100, number * 100 + 100))

        def job(function: object, *args: object) -> zodbjobs.Job:
            return zodbjobs.Job(function, Length(), ledger, next(numbers), *args)

        parent = job(work.run)
        callback = parent.add_callback(job(work.follow))
        chained = callback.add_callback(job(work.follow))
        alone = [job(work.run_alone, str(folder / f"lock {n}")) for n in range(_NAMES)]
        limited = [
            queue.put(each, quota_names=[f"one:{n}"], unique=f"{number} {n}")
            for n, each in enumerate(alone)
        ]
        for n in range(_NAMES):
            assert queue.put(work.read, unique=f"{number} {n}") is limited[n]
        slow = job(work.tarry_once, str(folder / f"flag {number}"))
        slow.retry_policy = zodbjobs.Retry(3)
        queue.put(slow, timeout=0.3)
        queue.put(parent)
        last = job(work.run_after, parent, *limited)
        last.quota_names = ["one:0"]
        queue.put(last, after=[parent, *limited])
        together = [job(work.run) for _ in range(4)]
        queue.put_many(together, transactional=True)
        parts = [job(work.run), job(work.run)]
        after = zodbjobs.Job(work.outcomes_of)
        whole = queue.put(zodbjobs.parallel(*parts, postprocess=after))
        made = [parent, callback, chained, *limited, slow, last, *together, *parts, after, whole]
    stage.ids += [str(u64(each._p_oid)) for each in made]
