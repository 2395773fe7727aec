"""Who puts where."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sample
import transaction
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs.stored.lifecycle import delivery

FORKS = """
import os
from zodbjobs.stored.lifecycle.delivery import _producer

for _ in range(3):
    print(_producer.number, flush=True)
    if os.fork():
        os.wait()
        break
"""


@pytest.mark.process
def test_a_forked_producer_draws_for_itself() -> None:
    command = [sys.executable, "-c", FORKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = done.stdout.split()
    assert len(numbers) == 3
    assert len(set(numbers)) == 3


def test_a_producer_whose_commit_conflicts_draws_another_inbox() -> None:
    db = DB(MappingStorage())  # which merges nothing
    zodbjobs.install(db)
    managers = [transaction.TransactionManager() for _ in range(2)]
    for manager in managers:
        zodbjobs.get_queue(db.open(manager)).put(sample.nothing)
    number = delivery._producer.number
    managers[0].commit()
    assert delivery._producer.number == number
    with pytest.raises(ConflictError):
        managers[1].commit()
    assert delivery._producer.number != number
    for manager in managers:
        manager.abort()
    db.close()
