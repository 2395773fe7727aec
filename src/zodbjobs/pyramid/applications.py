"""The applications of this process that have jobs, and their databases."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from pyramid.exceptions import ConfigurationError

#: The setting with the name of an application.
NAME = "zodbjobs.application"

# The name of the primary database of pyramid_zodbconn.
_PRIMARY = ""

# What the registry of an application has under this name is its database. The command line
# finds it there.
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
    """Note the database. Raises ConfigurationError if there is none."""
    db = databases(registry).get(_PRIMARY)
    if db is None:
        raise ConfigurationError(
            "zodbjobs.pyramid finds no database; include pyramid_zodbconn, and set zodbconn.uri"
        )
    registry[DB] = db
