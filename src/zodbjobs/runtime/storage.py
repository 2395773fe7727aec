"""What has to be known about storages: who else can open them, and what their troubles are."""

from __future__ import annotations

import errno
from typing import Any

from transaction.interfaces import TransientError
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IMVCCStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

# Storages that no other process can have open.
_ONE_PROCESS = (FileStorage, MappingStorage, DemoStorage)

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_for_one_process(db: Any) -> bool:
    """Whether no other process can have the database open while this one has."""
    return isinstance(db.storage, _ONE_PROCESS)


def is_trouble(error: BaseException) -> bool:
    """Whether the storage can't be reached or has no room.

    Then it makes sense to wait and try again, however often, for no job is at fault.
    """
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, TransientError) and not isinstance(error, ConflictError)


def must_be_polled(db: Any) -> bool:
    """Whether the storage has to be asked for the commits of others, and each connection's
    part of it for itself, as with RelStorage. Elsewhere ``db.lastTransaction()`` tells.
    """
    return bool(IMVCCStorage.providedBy(db.storage))
