"""The applications of this process that have jobs, and the databases that they are in."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from pyramid.exceptions import ConfigurationError
from pyramid_zodbconn import get_connection

#: The name of the primary database of pyramid_zodbconn.
PRIMARY = ""

#: The settings.
NAME, DATABASE = "zodbjobs.application", "zodbjobs.database"

# What the registry of an application has under this name is the database of its queues. The
# command line finds it there.
DB = "zodbjobs.db"

#: Replaced, not changed, for threads are reading it; the newest first.
_known: tuple[weakref.ref[Any], ...] = ()
_lock = threading.Lock()


def add(registry: Any) -> None:
    """Take note of an application, until its registry is gone."""
    global _known
    with _lock:
        _known = (weakref.ref(registry), *(each for each in _known if each() is not None))


def has(registry: Any) -> bool:
    """Whether it is one of them."""
    return any(each() is registry for each in _known)


def name_of(registry: Any) -> str:
    """What its jobs know it by."""
    return str(registry.settings.get(NAME) or "")


def find(name: str, db: Any) -> Any | None:
    """The registry of that name: the one whose database is `db`, else the one that was made last.

    None if there is none.
    """
    named = [found for each in _known if (found := each()) is not None and name_of(found) == name]
    return next(
        (found for found in named if db in databases(found).values()), next(iter(named), None)
    )


def databases(registry: Any) -> dict[str, Any]:
    """The databases of pyramid_zodbconn by name; none if it wasn't included."""
    return getattr(registry, "_zodb_databases", None) or {}


def set_database(registry: Any) -> None:
    """Note the database of the queues. Raises ConfigurationError if there is none."""
    name = registry.settings.get(DATABASE) or PRIMARY
    db = databases(registry).get(name)
    if db is None:
        setting = f"zodbconn.uri.{name}" if name else "zodbconn.uri"
        raise ConfigurationError(
            f"zodbjobs.pyramid finds no database; include pyramid_zodbconn, and set {setting}"
        )
    registry[DB] = db


def connection_of(request: Any) -> Any:
    """The connection of a request to the database of the queues, in its transaction."""
    return get_connection(request, request.registry.settings.get(DATABASE) or None)
