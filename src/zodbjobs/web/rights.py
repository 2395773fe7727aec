"""Who may what: the one place that decides, closed by default.

A host says who asks, as `Rights`; `may` and `may_in_realm` say what they may do. No page has a
rule of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from zodbjobs.errors import BadArgument
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.stored.lifecycle.unreadable import why_unreadable

#: What can be done to one job, or seen of it.
JOB_ACTIONS = frozenset(
    {"view", "view_arguments", "view_traceback", "download", "cancel", "discard", "retry"}
    | {"put_again", "remove"}
)

#: What can be done to what is no job.
OTHER_ACTIONS = frozenset(
    {"pause", "change_quota", "change_agent", "change_schedule", "view_audit"}
)

#: Every action, for a host to give to its managers.
ACTIONS = JOB_ACTIONS | OTHER_ACTIONS

#: What can be done to all jobs of a realm, or seen of them.
REALM_ACTIONS = JOB_ACTIONS | {"view_audit"}

#: What the owner of a job may do to it.
OWNER_ACTIONS = frozenset({"view", "download", "cancel", "discard"})

#: The permissions that a host is asked for, on the object that a job is about.
VIEW, MANAGE = "view", "manage"

#: What each of the two gives. To manage includes to view: its actions stand on that page.
PERMITTED = {VIEW: frozenset({"view"}), MANAGE: OWNER_ACTIONS}


def nothing(permission: str, obj: object) -> bool:
    """No permission on any object."""
    return False


@dataclasses.dataclass(frozen=True)
class Rights:
    """Who asks, and what the host says of them; a new one for each request.

    `principal`: the id of the user, as in `job.owner`; None for nobody in particular, who may do
    nothing. `name`: how people call the user, the principal if left out. `realm`: the only realm
    of which they see anything; None for all, and for hosts that have no realms. `overall`: the
    actions, of ACTIONS, that they may do to all jobs of the realm: those of a manager; without
    'view' all but 'view_audit' give nothing, for their pages show what they act on. `allows`:
    whether they have a permission, 'view' or 'manage', on a stored object.

    Raises BadArgument for an action that there isn't, which would silently permit nothing.
    """

    principal: str | None = None
    name: str | None = None
    realm: str | None = None
    overall: frozenset[str] = frozenset()
    allows: Callable[[str, Any], bool] = nothing

    def __post_init__(self) -> None:
        unknown = sorted(set(self.overall) - ACTIONS)
        if unknown:
            raise BadArgument(
                f"there are no actions {', '.join(unknown)}; those of "
                f"zodbjobs.web.rights.ACTIONS are: {', '.join(sorted(ACTIONS))}"
            )

    @property
    def shown_name(self) -> str:
        """How the user is called on pages."""
        return self.name or self.principal or ""

    @property
    def is_known(self) -> bool:
        """Whether it is known who asks."""
        return bool(self.principal)


def may(rights: Rights, action: str, job: Any = None) -> bool:
    """Whether who asks may do `action` to `job`; without one, to what all realms have in common,
    such as a queue.

    Raises BadArgument for an action that there isn't.
    """
    if action not in ACTIONS:
        raise BadArgument(f"there is no action {action!r}; use one of {sorted(ACTIONS)}")
    if not rights.is_known:
        return False
    if job is None:
        return rights.realm is None and _is_overall(rights, action)
    if action not in JOB_ACTIONS:
        return False
    if unreadable_reason(job) is not None:  # whose it is can't be told
        return rights.realm is None and _is_overall(rights, action)
    if rights.realm is not None and job.realm != rights.realm:
        return False
    # What is done to a job stands on pages that show it: who may not view it may do nothing to it.
    return _may_here(rights, action, job) and (action == VIEW or _may_here(rights, VIEW, job))


def may_in_realm(rights: Rights, action: str) -> bool:
    """Whether who asks may do `action` to all jobs of their realm, or to all if they have none.

    For lists: each shows no more than the jobs, and the deeds, of `rights.realm`.
    """
    if action not in REALM_ACTIONS:
        return may(rights, action)
    return rights.is_known and _is_overall(rights, action)


def may_object(rights: Rights, action: str, obj: Any) -> bool:
    """Whether a permission on `obj` lets who asks do `action` to the jobs that are about it, as
    far as these are of their realm.
    """
    return rights.is_known and any(
        action in actions and rights.allows(permission, obj)
        for permission, actions in PERMITTED.items()
    )


def _is_overall(rights: Rights, action: str) -> bool:
    """Whether the host gives an action; one of those on pages of what one has to view, which shows
    it, with the right to that alone.
    """
    needs_view = action != "view_audit"
    return action in rights.overall and (not needs_view or "view" in rights.overall)


def _may_here(rights: Rights, action: str, job: Any) -> bool:
    """Whether who asks has an action on a job of their realm, by itself."""
    if action in rights.overall:
        return True
    if action in OWNER_ACTIONS and job.owner == rights.principal:
        return True
    return _is_permitted(rights, action, job)


def _is_permitted(rights: Rights, action: str, job: Any) -> bool:
    if action not in PERMITTED[MANAGE]:
        return False
    about = _about(job)
    return about is not None and may_object(rights, action, about)


def _about(job: Any) -> Any:
    """What a job is about; None too if that can't be loaded here, so that it tells nothing."""
    try:
        return job.about
    except (Exception, SystemExit) as error:
        if why_unreadable(error) is None:
            raise
        return None
