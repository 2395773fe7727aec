"""Who asks, and what Pyramid's security policy lets them do, as the pages ask for it."""

from __future__ import annotations

from typing import Any

from zodbjobs.web.rights import ACTIONS, MANAGE, VIEW, Rights

#: The permissions that the policy is asked for on the object that a job is about.
VIEW_JOBS = "zodbjobs.ViewJobs"
MANAGE_JOBS = "zodbjobs.ManageJobs"

_PERMISSIONS = {VIEW: VIEW_JOBS, MANAGE: MANAGE_JOBS}


def owner_of(request: Any) -> str | None:
    """Who asks, as in `job.owner`: the id of the policy, as text; None for nobody."""
    userid = request.authenticated_userid
    return None if userid is None else str(userid)


def rights_of(request: Any, permission: str | None) -> Rights:
    """What who asks may do. With `permission` on the root of the request that is everything, to
    the jobs of all; without one there are no managers.
    """
    owner = owner_of(request)
    if owner is None:
        return Rights()

    def allows(wanted: str, obj: Any) -> bool:
        return bool(request.has_permission(_PERMISSIONS[wanted], obj))

    is_manager = permission is not None and request.has_permission(permission, request.root)
    return Rights(owner, overall=ACTIONS if is_manager else frozenset(), allows=allows)
