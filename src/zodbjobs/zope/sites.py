"""The current site, and the realm of its jobs."""

from __future__ import annotations

from typing import Any

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
