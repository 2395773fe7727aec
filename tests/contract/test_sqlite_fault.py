"""RelStorage's fault on SQLite: known, avoided in the tests, and not there elsewhere.

When the first test fails, RelStorage has been repaired: then `sqlite_fault` can go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from storages import MAKERS, SHARED
from storages.place import Place
from ZODB.POSException import ConflictError


def commit(db: Any, name: str, balance: int) -> None:
    """Set the balance of an account, in a transaction of its own."""
    with db.transaction() as connection:
        connection.root()[name].balance = balance


def balance_after_abort(place: Place) -> int:
    """What there is of a transaction that has failed, once another one was committed."""
    db, rival = place.open(), place.open("rival")
    with db.transaction() as connection:
        for name in ("written", "read", "other"):
            connection.root()[name] = sample.Account()
    manager = transaction.TransactionManager(explicit=True)
    connection = db.open(manager)
    manager.begin()
    connection.root()["written"].balance = 99
    connection.readCurrent(connection.root()["read"])
    commit(rival, "read", 1)
    with pytest.raises(ConflictError):
        manager.commit()
    manager.abort()
    connection.close()
    commit(db, "other", 1)
    rival.close()
    reader = place.open("reader")
    with reader.transaction() as connection:
        balance: int = connection.root()["written"].balance
    reader.close()
    db.close()
    return balance


def test_the_fault_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relstorage.adapters.sqlite.drivers import Sqlite3Driver

    as_it_comes = Sqlite3Driver.connection_may_need_rollback
    with MAKERS["SQLite"](tmp_path) as place, monkeypatch.context() as patch:
        patch.setattr(Sqlite3Driver, "connection_may_need_rollback", as_it_comes)
        assert balance_after_abort(place) == 99


@pytest.mark.parametrize("storage", SHARED)
def test_what_was_aborted_is_not_there(tmp_path: Path, storage: str) -> None:
    with MAKERS[storage](tmp_path) as place:
        assert balance_after_abort(place) == 0
