"""The effect that the jobs have: one object each, in a ZODB, changed and committed."""

from __future__ import annotations

from typing import Any

import transaction
import ZODB
from BTrees.LOBTree import LOBTree
from persistent import Persistent


class Thing(Persistent):
    """An object with one attribute."""

    def __init__(self) -> None:
        self.value = 0

    def add_one(self) -> int:
        """The job."""
        self.value += 1
        return 1


def open_db(at: str) -> Any:
    """The database in the file, or at the `HOST:PORT` of a ZEO server."""
    if at.startswith("/"):
        from ZODB.FileStorage import FileStorage

        return ZODB.DB(FileStorage(at))
    from ZEO.ClientStorage import ClientStorage

    host, port = at.split(":")
    return ZODB.DB(ClientStorage((host, int(port)), wait_timeout=10))


def make(connection: Any, number: int) -> Any:
    """So many objects in the root, committed; a tree by number."""
    things = connection.root()["things"] = LOBTree({n: Thing() for n in range(number)})
    transaction.commit()
    return things


def changed(connection: Any) -> int:
    """How many were changed exactly once."""
    return sum(thing.value == 1 for thing in connection.root()["things"].values())


def find(connection: Any, number: int) -> Any:
    """The object with that number."""
    return connection.root()["things"][number]


def prepare(at: str, number: int) -> None:
    """`make`, for those whose jobs are elsewhere."""
    db = open_db(at)
    connection = db.open()
    make(connection, number)
    connection.close()
    db.close()


def changed_at(at: str) -> int:
    """`changed`, for those whose jobs are elsewhere."""
    db = open_db(at)
    with db.transaction() as connection:
        number = changed(connection)
    db.close()
    return number
