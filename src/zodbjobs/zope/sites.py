"""The current site, and the realm of its jobs."""

from __future__ import annotations

from typing import Any

from zope.component.hooks import getSite

from zodbjobs.zope import paths


def realm_of(site: Any) -> str:
    """The realm of the jobs of a site: its path, as ``/Plone``; ``/`` for the application, and
    without a site.
    """
    path = None if site is None else paths.path_of(site)
    return "/".join(path or ()) or "/"


def current_path() -> str | None:
    """The path of the current site as text; None without one."""
    site = getSite()
    path = None if site is None else paths.path_of(site)
    return None if path is None else "/".join(path)
