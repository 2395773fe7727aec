"""What a storage can: who else can open it, how it tells of commits, where its ids come from."""

from __future__ import annotations

import contextlib
from typing import Any

from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IMVCCStorage
from ZODB.MappingStorage import MappingStorage

# Storages that no other process can have open.
_ONE_PROCESS = (FileStorage, MappingStorage, DemoStorage)

# As many object ids a ZEO client fetches at a time.
_IDS_IN_STORE = 100


def is_for_one_process(db: Any) -> bool:
    """Whether no other process can have the database open while this one has."""
    return isinstance(db.storage, _ONE_PROCESS)


def must_be_polled(db: Any) -> bool:
    """Whether the storage has to be asked for the commits of others, and each connection's
    part of it for itself, as with RelStorage. Elsewhere ``db.lastTransaction()`` tells.
    """
    return bool(IMVCCStorage.providedBy(db.storage))


def is_away(db: Any) -> bool:
    """Whether the client of a ZEO server has no connection to it right now."""
    return str(db.storage.getName()).endswith("(disconnected)")


def skip_ids(db: Any) -> None:
    """Drop the object ids that the client of a ZEO server has in store.

    Waits for the server, not longer than the client does, if that is away.
    """
    with contextlib.suppress(Exception):  # which the next transaction will meet again
        for _ in range(_IDS_IN_STORE):
            db.new_oid()
