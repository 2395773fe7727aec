"""Users of Zope: by the path of their user folder and their id, for ids are unique in one only."""

from __future__ import annotations

from typing import Any

from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import emergency_user, nobody, system
from Acquisition import aq_base, aq_inner, aq_parent

from zodbjobs.errors import BadArgument, UserGone
from zodbjobs.zope import paths

#: The user who may do everything, for `run_as` of trusted code.
SYSTEM = "zodbjobs.zope.SYSTEM"

#: Nobody in particular, as it is stored.
ANONYMOUS = "anonymous"


def owner_of(user: Any) -> str | None:
    """Whose the jobs of a user are: the path of the user folder and the id, as
    ``/Plone/acl_users/ada``; None for nobody in particular, and for the system.
    """
    if user is None or aq_base(user) is aq_base(nobody) or aq_base(user) is aq_base(system):
        return None
    user_id = user.getId()
    folder = aq_parent(aq_inner(user))
    path = None if folder is None else paths.path_of(folder)
    if user_id is None or path is None:
        return None
    return f"{'/'.join(path)}/{user_id}"


def current_owner() -> str | None:
    """The same of the current user."""
    return owner_of(getSecurityManager().getUser())


def current() -> str:
    """The current user, as the run context stores it."""
    user = getSecurityManager().getUser()
    if aq_base(user) is aq_base(system):
        return SYSTEM
    return owner_of(user) or ANONYMOUS


def named(user_id: str, site: Any) -> str:
    """The user of that id, of the user folder of `site` or of one above it, as it is stored;
    BadArgument for one that there isn't.
    """
    if user_id == SYSTEM:
        return SYSTEM
    place = site
    while place is not None:
        folder = getattr(aq_base(place), "acl_users", None)
        if folder is not None:
            folder = aq_base(folder).__of__(place)
            if _in_folder(folder, user_id) is not None:
                return f"{'/'.join(folder.getPhysicalPath())}/{user_id}"
        place = aq_parent(aq_inner(place))
    raise BadArgument(
        f"there is no user {user_id!r} in the site or above it; run_as takes the id of one, or "
        "zodbjobs.zope.SYSTEM"
    )


def become(app: Any, request: Any, stored: str) -> None:
    """Be the user that was stored, with the roles of now. Raises UserGone."""
    newSecurityManager(request, _user(app, stored))


def _user(app: Any, stored: str) -> Any:
    if stored == SYSTEM:
        return system
    if stored == ANONYMOUS:
        return nobody
    folder_path, separator, user_id = stored.partition("/acl_users/")
    path = (*folder_path.split("/"), "acl_users")
    folder = paths.at(app, path) if separator else None
    user = None if folder is None else _in_folder(folder, user_id)
    if user is None:
        raise UserGone(
            f"the job was to run as {stored}, who isn't there any more; put another job, or let "
            "this user be there again and retry it"
        )
    return user


def _in_folder(folder: Any, user_id: str) -> Any:
    """The user of a folder, wrapped in it; None if there is none."""
    user = folder.getUserById(user_id, None)
    if user is None and user_id == emergency_user.getId() and _has_emergency_user(folder):
        user = emergency_user
    if user is None:
        return None
    return user if aq_parent(user) is not None else user.__of__(folder)


def _has_emergency_user(folder: Any) -> bool:
    """Whether it is the folder of the application, which alone knows the emergency user."""
    above = aq_base(aq_parent(aq_inner(folder)))
    is_top = getattr(above, "isTopLevelPrincipiaApplicationObject", False)
    return bool(is_top and emergency_user.getUserName())
