"""The attributes in a job's record, also where the job can't be loaded in this process."""

from __future__ import annotations

import io
import pickle
from typing import Any

from ZODB.broken import Broken
from ZODB.POSException import POSKeyError

from zodbjobs.stored.lifecycle.unreadable import why_unreadable


class Reference:
    """A reference to another record; `database` is the name of that which has it, None for the
    same one.
    """

    def __init__(self, oid: bytes, database: str | None = None) -> None:
        self.oid = oid
        self.database = database

    def load(self, connection: Any) -> Any:
        """What it refers to; `connection` is that of the record with the reference."""
        if self.database is not None:
            connection = connection.get_connection(self.database)
        return connection.get(self.oid)


class _Anything:
    """Stands for whatever is in a record, of whichever class; nothing of it is imported."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take any arguments."""

    def __setstate__(self, state: Any) -> None:
        """Take any state."""

    def __call__(self, *args: Any, **kwargs: Any) -> _Anything:
        return self

    def append(self, value: Any) -> None:
        """Take an item of a list's subclass."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of a dict's subclass."""


class _Reader(pickle.Unpickler):
    """Reads a record and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        return _Anything

    def persistent_load(self, reference: Any) -> Reference | None:
        database = None
        if isinstance(reference, list) and reference[0] in ("m", "n"):  # to another database
            database, reference = reference[1][:2]
        if isinstance(reference, tuple):
            reference = reference[0]
        return Reference(reference, database) if isinstance(reference, bytes) else None


def state_of(job: Any) -> dict[str, Any]:
    """The attributes of a stored job, by name.

    Where it can't be loaded, those that the record tells without its code; references are a
    Reference then. Empty if the record is lost.
    """
    try:
        job._p_activate()
    except POSKeyError:
        return {}
    except (Exception, SystemExit) as error:
        if why_unreadable(error) is None:
            raise
        return _read(job)
    state: dict[str, Any] = job.__Broken_state__ if isinstance(job, Broken) else vars(job)
    return state


def _read(job: Any) -> dict[str, Any]:
    data, _ = job._p_jar._storage.load(job._p_oid)
    reader = _Reader(io.BytesIO(data))
    try:
        reader.load()  # the class
        state = reader.load()
    except Exception:  # what can't be read this way either tells nothing
        return {}
    return state if isinstance(state, dict) else {}
