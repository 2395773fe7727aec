"""The current site, and the realm of its jobs."""

from __future__ import annotations

from typing import Any

from Acquisition import aq_base
from persistent import Persistent
from zope.component.hooks import getSite

from zodbjobs.errors import BadArgument
from zodbjobs.zope import paths


def realm_of(site: Any) -> str:
    """The realm of the jobs of a site: its path, as ``/Plone``; ``/`` for the application, and
    without a site.
    """
    path = None if site is None else paths.path_of(site)
    return "/".join(path or ()) or "/"


def current_path() -> str | None:
    """The path of the current site as text; None without one. Raises BadArgument for a site that
    has none: a job couldn't be in it.
    """
    site = getSite()
    if site is None:
        return None
    path = paths.path_of(site)
    if path is None:
        raise BadArgument(
            f"the current site, {site!r}, has no place below the application by which a job would "
            "find it; call setSite() with the site as you get it from its container"
        )
    return "/".join(path)


def current_mark() -> str | None:
    """What tells the current site from another one that is at its path when a job runs: the id of
    the object in its database. None for a site that isn't stored.

    One that is new is added to the database of its container, which gives it the id.
    """
    site = getSite()
    bare = aq_base(site)
    if isinstance(bare, Persistent) and bare._p_jar is None:
        paths.add_where_it_is(site)
    return mark_of(site)


def mark_of(site: Any) -> str | None:
    """The same of a site that is stored already."""
    oid = getattr(aq_base(site), "_p_oid", None)
    return None if oid is None else oid.hex()
