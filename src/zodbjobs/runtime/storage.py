"""What has to be known about storages: who else can open them, and what their troubles are."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

from transaction.interfaces import TransientError
from ZODB.blob import BlobStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IMVCCStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError, ReadOnlyError, StorageError
from ZODB.utils import z64

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Packages of storages that have a server, and what their database drivers raise without one.
_CLIENTS = frozenset({"ZEO", "relstorage"})
_DRIVER_ERRORS = frozenset({"OperationalError", "InterfaceError"})

# As many object ids a ZEO client fetches at a time.
_IDS_IN_STORE = 100


def is_for_one_process(db: Any) -> bool:
    """Whether no other process can have the database open while this one has.

    All workers of other processes are taken for dead then, so it is False of a storage that
    isn't known: that of a server, one that wraps another, or a file that was opened to read.
    """
    return _is_unshared(db.storage)


def _is_unshared(storage: Any) -> bool:
    if isinstance(storage, BlobStorage):
        return _is_unshared(storage._BlobStorage__storage)
    if isinstance(storage, DemoStorage):
        # Its own part may be on a server, and in its base may be workers that live.
        return _is_unshared(storage.base) and _is_unshared(storage.changes)
    if isinstance(storage, FileStorage):
        return not storage.isReadOnly()  # to read, it takes no lock
    return isinstance(storage, MappingStorage)


def must_be_polled(db: Any) -> bool:
    """Whether the storage has to be asked for the commits of others, and each connection's
    part of it for itself, as with RelStorage. Elsewhere ``db.lastTransaction()`` tells.
    """
    return bool(IMVCCStorage.providedBy(db.storage))


def is_transient(error: BaseException) -> bool:
    """Whether the same may well go right in another transaction."""
    if isinstance(error, TransientError) or is_used_id(error):
        return True
    return isinstance(error, StorageError) and not isinstance(error, ReadOnlyError)


def is_lost(error: BaseException) -> bool:
    """Whether the storage's server can't be reached, or doesn't answer as it should.

    A database driver's error says so only if the storage has called the driver: a job may
    use one by itself.
    """
    if isinstance(error, ConflictError):
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # PostgreSQL's driver raises the plain base class when the server dies in a query.
    named = kinds & _DRIVER_ERRORS or type(error).__name__ == "DatabaseError"
    if not named and not isinstance(error, TransientError):
        return False
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _CLIENTS:
            return True
        trace = trace.tb_next
    return False


def is_used_id(error: BaseException) -> bool:
    """Whether a new object got an object id that another object has.

    A ZEO server that crashed counts on from the last id in its file, so that it gives out
    once more what its clients had in store.
    """
    if isinstance(error, ConflictError):
        return error.serials is not None and error.serials[1] == z64
    return isinstance(error, ValueError) and "already has the same oid" in str(error)


def spoils(error: BaseException) -> bool:
    """Whether the connection that raised it can't be used any more with what it has loaded.

    The object whose id was used once more has lost it in that connection's memory: changes
    of it aren't seen any more, and it would be stored as another one.
    """
    return is_used_id(error) and isinstance(error, ValueError)


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


def is_trouble(error: BaseException) -> bool:
    """Whether the storage can't be reached or has no room, said by a commit.

    Then it makes sense to wait and try again, however often, for no job is at fault.
    """
    return _errno(error) in _NO_ROOM or is_lost(error)


def _errno(error: BaseException) -> object:
    """What the operating system said, here or to a ZEO server; None if it was something else."""
    if isinstance(error, OSError):
        return error.errno
    if type(error).__name__ == "ServerException" and len(error.args) == 2:
        # ZEO tells the class and the arguments of what the server has raised.
        kind, arguments = error.args
        if kind == "builtins.OSError" and arguments:
            return arguments[0]
    return None
