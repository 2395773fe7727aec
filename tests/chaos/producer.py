"""A process that puts jobs, each in a transaction of its own."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import transaction
import ZODB.config
from BTrees.Length import Length
from ZODB.POSException import ConflictError

import zodbjobs
from chaos.books import run_job
from chaos.worker_process import Orders, await_start


@dataclasses.dataclass
class Produced:
    """The ids of what was put, and how many commits conflicted."""

    ids: list[str]
    conflicts: int = 0


def produce(orders: Orders) -> None:
    """Put the jobs, each again after a conflict, and tell of it."""
    db = ZODB.config.databaseFromString(orders.config)
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    ledger = connection.root()["ledger"]
    await_start(orders)
    produced = Produced([])
    for number in range(orders.first, orders.first + orders.puts):
        produced.ids.append(_put(queue, ledger, number, produced))
    transaction.abort()
    connection.close()
    db.close()
    assert orders.done is not None
    with open(orders.done + ".part", "w") as file:
        json.dump(vars(produced), file)
    os.rename(orders.done + ".part", orders.done)


def _put(queue: Any, ledger: Any, number: int, produced: Produced) -> str:
    while True:
        job = queue.put(run_job(Length(), ledger, number))
        try:
            transaction.commit()
        except ConflictError:
            transaction.abort()
            produced.conflicts += 1
        else:
            return zodbjobs.get_job_id(job)
