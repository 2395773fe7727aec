"""A ZEO server that crashed gives out object ids once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from patience import until, wait_for
from transaction.interfaces import TransientError

import zodbjobs
from chaos.servers import ZEO
from zodbjobs.runtime.storage import abilities


def put(db: Any, number: int) -> zodbjobs.Job:
    """A job that makes an object; its arguments are as many new ones."""
    connection = db.open()
    try:
        transaction.begin()
        accounts = [sample.Account() for _ in range(number)]
        job = zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.new_account_for, accounts))
        transaction.commit()
        wait_for(job)
        transaction.begin()
        assert job.outcome == "succeeded"
        assert job.result.balance == number
        return job
    finally:
        transaction.abort()
        connection.close()


def answers(db: Any) -> bool:
    connection = db.open()
    try:
        transaction.begin()
        connection.root()["asked"] = True
        transaction.commit()
    except TransientError:
        return False
    else:
        return True
    finally:
        transaction.abort()
        connection.close()


@pytest.mark.process
@pytest.mark.parametrize("noticed", [True, False])
def test_ids_that_are_given_out_once_more_harm_no_job(
    noticed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not noticed:  # as when the server is back before anybody has looked
        monkeypatch.setattr(abilities, "is_away", lambda db: False)
    server = ZEO()
    place = server.place(tmp_path)
    db = place.open("worker")
    zodbjobs.install(db)
    with zodbjobs.Worker(db, threads=1):
        put(db, 1)
        server.crash()
        server.start()
        until(lambda: answers(db))
        other = place.open("other")
        put(other, 300)
        other.close()
    db.close()
    server.stop()
