"""Tells the error of a record that can't be made an object here from one of the storage."""

from __future__ import annotations

from typing import Any

from transaction.interfaces import TransientError
from ZODB import POSException
from ZODB.serialize import ObjectReader

# What ZODB 6 raises from the error of the class. ZODB 5 lets that error itself come through.
_StateLoadError: Any = getattr(POSException, "StateLoadError", None)

# Where both load a state. What the storage raises comes from elsewhere.
_LOADING = frozenset({ObjectReader.getState.__code__, ObjectReader.setGhostState.__code__})


def why_unreadable(error: BaseException) -> BaseException | None:
    """What the classes in a record raised while it was loaded; None for any other error.

    Such a record is there, so nothing is wrong with the storage: a class of it, or what that
    imports, fails in this process.
    """
    if isinstance(error, SystemExit):  # a module may call sys.exit when it is imported
        return error
    if _StateLoadError is not None:
        return (error.__cause__ or error) if isinstance(error, _StateLoadError) else None
    if isinstance(error, POSException.POSError | TransientError):
        return None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in _LOADING:
            return error
        trace = trace.tb_next
    return None
