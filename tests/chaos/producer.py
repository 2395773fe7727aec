"""Puts jobs one by one, each in a transaction of its own, until all are put."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

import transaction
from BTrees.Length import Length
from ZODB.POSException import ConflictError, StorageError

import zodbjobs
from chaos.books import Books, run_job

log = logging.getLogger(__name__)

#: What is logged when a put fails because the disk is full.
REFUSED = "a put was refused"


@dataclasses.dataclass
class Produced:
    """The ids of what was put, how many commits conflicted, and how many found no room."""

    ids: list[str]
    conflicts: int = 0
    refused: int = 0


def produce(db: Any, puts: int, first: int, done: Path, drain: bool) -> None:
    """Put the jobs, each again after a conflict; then write what came of it to `done`.

    `drain`: not before all are in the history.
    """
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    ledger = connection.root()["ledger"]
    produced = Produced([])
    for number in range(first, first + puts):
        produced.ids.append(_put(queue, ledger, number, produced))
    while drain and Books(connection).finished() < puts:
        time.sleep(0.02)
        transaction.begin()
    transaction.abort()
    connection.close()
    unfinished = done.with_suffix(".part")
    unfinished.write_text(json.dumps(vars(produced)))
    unfinished.rename(done)


def read_produced(done: Path) -> Produced:
    """What a producer has written."""
    return Produced(**json.loads(done.read_text()))


def _put(queue: Any, ledger: Any, number: int, produced: Produced) -> str:
    while True:
        job = queue.put(run_job(Length(), ledger, number))
        try:
            transaction.commit()
        except ConflictError:
            transaction.abort()
            produced.conflicts += 1
        except (OSError, StorageError) as error:
            transaction.abort()
            produced.refused += 1
            log.warning("%s: %s", REFUSED, error)
            time.sleep(0.05)
        else:
            return zodbjobs.get_job_id(job)
