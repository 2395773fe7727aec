"""What the errors of storages mean: try again, wait, or begin anew."""

from __future__ import annotations

import errno

from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError, ReadOnlyError, StorageError
from ZODB.utils import z64

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Packages of storages that have a server, and what their database drivers raise without one.
_CLIENTS = frozenset({"ZEO", "relstorage"})
_DRIVER_ERRORS = frozenset({"OperationalError", "InterfaceError"})


def is_transient(error: BaseException) -> bool:
    """Whether the same may well go right in another transaction."""
    if isinstance(error, TransientError) or is_used_id(error):
        return True
    return isinstance(error, StorageError) and not isinstance(error, ReadOnlyError)


def is_disconnect(error: BaseException) -> bool:
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


def poisons(error: BaseException) -> bool:
    """Whether the connection that raised it can't be used any more with what it has loaded.

    The object whose id was used once more has lost it in that connection's memory: changes
    of it aren't seen any more, and it would be stored as another one.
    """
    return is_used_id(error) and isinstance(error, ValueError)


def is_unavailable(error: BaseException) -> bool:
    """Whether the storage can't be reached or has no room, said by a commit.

    Then it makes sense to wait and try again, however often, for no job is at fault.
    """
    return _errno(error) in _NO_ROOM or is_disconnect(error)


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
