"""Who asks, and what Grok's permissions let them do, as the pages ask for it."""

from __future__ import annotations

from typing import Any

from zope.authentication.interfaces import IUnauthenticatedPrincipal
from zope.security import checkPermission
from zope.security.management import queryInteraction

from zodbjobs.grok.permissions import MANAGE_JOBS, VIEW_JOBS
from zodbjobs.web.rights import ACTIONS, MANAGE, VIEW, Rights

_PERMISSIONS = {VIEW: VIEW_JOBS, MANAGE: MANAGE_JOBS}


def rights_at(site: Any, principal: Any) -> Rights:
    """What a principal may do at a site, in the interaction of the request.

    Who has `ManageJobs` on the site may do everything to its jobs, who has `ViewJobs` may see
    them. Who has as much on the root of the database, by a grant in ZCML for one, may do it to the
    jobs of all sites, and to queues and workers, which sites share.
    """
    if principal is None or IUnauthenticatedPrincipal.providedBy(principal):
        return Rights()
    here, everywhere = _overall(site), _overall(_root_of(site))
    return Rights(
        principal.id,
        principal.title,
        realm=None if here and here == everywhere else realm_of(site),
        overall=here,
        allows=_allows,
    )


def realm_of(site: Any) -> str:
    """The realm of the jobs of a site: its path from the root of the database."""
    names = []
    while site is not None:
        if name := getattr(site, "__name__", None):
            names.append(name)
        site = getattr(site, "__parent__", None)
    return "/" + "/".join(reversed(names))


def current_principal() -> str | None:
    """The id of the principal of the interaction; None without one, and for an unknown one."""
    interaction = queryInteraction()
    for participation in () if interaction is None else interaction.participations:
        principal = participation.principal
        if principal is not None and not IUnauthenticatedPrincipal.providedBy(principal):
            found: str = principal.id
            return found
    return None


def _overall(place: Any) -> frozenset[str]:
    if _allows(MANAGE, place):
        return ACTIONS
    return frozenset({"view"}) if _allows(VIEW, place) else frozenset()


def _allows(permission: str, obj: Any) -> bool:
    return bool(checkPermission(_PERMISSIONS[permission], obj))


def _root_of(site: Any) -> Any:
    while (above := getattr(site, "__parent__", None)) is not None:
        site = above
    return site
