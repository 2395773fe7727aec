"""Finds an object by its path, and makes sure that it is that object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from Acquisition import aq_base, aq_inner, aq_parent
from persistent import Persistent
from ZODB.POSException import POSKeyError
from zope.component.hooks import getSite

from zodbjobs.runtime.storage import errors

#: The names from the application to an object, the first one "".
Path = tuple[str, ...]


def path_of(obj: Any) -> Path | None:
    """The path of a wrapped object, from its containers; None if it has none, or one that can't be
    written as text.
    """
    if not hasattr(aq_base(obj), "getPhysicalPath"):  # it would acquire that of its container
        return None
    try:
        path = tuple(aq_inner(obj).getPhysicalPath())
    except AttributeError:  # it, or one above it, has no id
        return None
    return path if path[:1] == ("",) and not any("/" in name for name in path) else None


def top_of(value: Any) -> Any:
    """The application above a wrapped value, wrapped; None without one."""
    above = aq_inner(value)
    while above is not None:
        if getattr(aq_base(above), "isTopLevelPrincipiaApplicationObject", False):
            return above
        above = aq_parent(aq_inner(above))
    return None


def at(app: Any, path: Path, obj: Any = None) -> Any:
    """What is at a path below the application, without asking whether anybody may; None if there
    is nothing, or something else than the bare object `obj`, or only by acquisition.

    Raises what the storage raises where another attempt may find it.
    """
    found = app
    if len(path) > 1:
        try:
            found = app.unrestrictedTraverse(path[1:])
        except Exception as error:  # whatever the traversal of some object raises
            if errors.is_transient(error) or errors.is_disconnect(error):
                raise  # it may be there
            return None
    if found is None or (obj is not None and aq_base(found) is not obj):
        return None
    # Within its containers, and not those on the way to it, in case its path names others.
    return aq_inner(found) if path_of(found) == path else None


def add_where_it_is(value: Any) -> None:
    """Add a new object, which is wrapped, to the database of what is above it."""
    above = aq_parent(aq_inner(value))
    while above is not None:
        jar = getattr(aq_base(above), "_p_jar", None)
        if jar is not None:
            jar.add(aq_base(value))
            return
        above = aq_parent(aq_inner(above))


def find(app: Any, obj: Any, path: Path, uid: str | None) -> Any:
    """A bare object with its acquisition context, at its path or where it was moved; or None."""
    for candidate in _candidates(app, obj, path, uid):
        found = at(app, candidate, obj)
        if found is not None:
            return found
    return None


def _candidates(app: Any, obj: Any, path: Path, uid: str | None) -> Iterator[Path]:
    yield path
    if uid is not None:
        yield from _by_uid(app, uid)
    own = _by_parents(obj)
    if own is not None:
        yield own


def uid_of(obj: Any) -> str | None:
    """The id of content that it keeps when it is moved, as Plone gives it; None for others."""
    uuid: Any = sys.modules.get("plone.uuid.interfaces")
    found = None if uuid is None else uuid.IUUID(obj, None)
    return None if found is None else str(found)


def _by_uid(app: Any, uid: str) -> Iterator[Path]:
    """Where the catalog of the site says that content with that id is."""
    site = getSite()
    catalog = getattr(site, "portal_catalog", None)
    if catalog is None:
        return
    for brain in catalog.unrestrictedSearchResults(UID=uid):
        yield tuple(brain.getPath().split("/"))


def _by_parents(obj: Any) -> Path | None:
    """The path by the parents that an object and those above it store themselves."""
    names: list[str] = []
    while (above := _stored_parent(obj)) is not None and len(names) < 100:
        names.append(str(obj.getId()))
        obj = above
    is_top = bool(names) and getattr(obj, "isTopLevelPrincipiaApplicationObject", False)
    return ("", *reversed(names)) if is_top else None


def _stored_parent(obj: Any) -> Any:
    """The bare object that an object stores as its parent, or None."""
    if isinstance(obj, Persistent):
        try:
            obj._p_activate()
        except POSKeyError:  # it was deleted, and the database packed
            return None
    return aq_base(vars(obj).get("__parent__"))
