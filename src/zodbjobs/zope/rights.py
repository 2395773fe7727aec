"""Who asks, and what Zope's permissions let them do, as the pages ask for it."""

from __future__ import annotations

from typing import Any

from AccessControl import getSecurityManager
from Acquisition import aq_base

from zodbjobs.web.rights import ACTIONS, MANAGE, VIEW, Rights
from zodbjobs.zope import paths
from zodbjobs.zope.permissions import MANAGE_JOBS, VIEW_JOBS
from zodbjobs.zope.sites import realm_of
from zodbjobs.zope.users import owner_of

_PERMISSIONS = {VIEW: VIEW_JOBS, MANAGE: MANAGE_JOBS}


def rights_at(site: Any) -> Rights:
    """What the current user may do at a site, which is wrapped.

    Who has `zodbjobs: Manage jobs` on the site may do everything to its jobs, who has
    `zodbjobs: View jobs` may see them. Who has as much on the application may do it to the jobs of
    all sites, and to queues and workers, which sites share. Nobody in particular may do nothing.
    """
    user = getSecurityManager().getUser()
    owner = owner_of(user)
    if owner is None:
        return Rights()
    app = site.getPhysicalRoot()
    here, everywhere = _overall(site), _overall(app)
    return Rights(
        owner,
        user.getUserName(),
        realm=None if here and here == everywhere else realm_of(site),
        overall=here,
        allows=lambda permission, obj: _allows_at(app, permission, obj),
    )


def _overall(place: Any) -> frozenset[str]:
    if _allows(MANAGE, place):
        return ACTIONS
    return frozenset({"view"}) if _allows(VIEW, place) else frozenset()


def _allows(permission: str, place: Any) -> bool:
    return bool(getSecurityManager().checkPermission(_PERMISSIONS[permission], place))


def _allows_at(app: Any, permission: str, obj: Any) -> bool:
    """Whether the user has a permission on an object where that is; never on one that has no
    place, for the roles that count are those of its place.
    """
    if aq_base(obj) is obj:
        obj = paths.find(app, obj, ("",), paths.uid_of(obj))
    return obj is not None and _allows(permission, obj)
