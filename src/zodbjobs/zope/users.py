"""Users of Zope: by the path of their user folder and their id, for ids are unique in one only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import UnrestrictedUser, emergency_user, nobody, system
from Acquisition import aq_base, aq_inner, aq_parent

from zodbjobs.errors import BadArgument, UserGone
from zodbjobs.zope import paths


class _Special(str):
    """A text that is not that of an id which somebody has chosen: it is compared by identity."""


#: The user who may do everything, for `run_as` of trusted code.
SYSTEM = _Special("zodbjobs.zope.SYSTEM")

#: The emergency user, as it is stored: in no user folder, though its name may be an id in one.
EMERGENCY = "zodbjobs.zope.EMERGENCY"

#: Nobody in particular, as it is stored.
ANONYMOUS = "anonymous"

_instead: ContextVar[str | None] = ContextVar("zodbjobs.zope.users", default=None)


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
    """Whose the jobs of the current user are, as `owner_of` says it."""
    return owner_of(getSecurityManager().getUser())


def current() -> str:
    """The current user, as the run context stores it. Raises BadArgument for one whom a job
    couldn't find: without a user folder, or made up for more rights.
    """
    instead = _instead.get()
    if instead is not None:
        return instead
    user = getSecurityManager().getUser()
    for name, special in ((SYSTEM, system), (EMERGENCY, emergency_user), (ANONYMOUS, nobody)):
        if aq_base(user) is aq_base(special):
            return str(name)
    owner = owner_of(user)
    if owner is not None and not _is_made_up(user):
        return owner
    if user is None or _is_nobody(user):
        return ANONYMOUS
    raise BadArgument(
        f"a job can't run as the current user, {user.getUserName()!r}, who isn't in a user "
        "folder; put it as a user of one, user.__of__(acl_users), or in trusted code call "
        "zodbjobs.zope.put() with run_as"
    )


@contextlib.contextmanager
def captured_as(stored: str) -> Iterator[None]:
    """Let the run contexts that are captured in it have another user than the current one."""
    token = _instead.set(stored)
    try:
        yield
    finally:
        _instead.reset(token)


def _is_made_up(user: Any) -> bool:
    """Whether it is a user with all rights of whom the user folder around it knows nothing."""
    if not isinstance(aq_base(user), UnrestrictedUser):
        return False
    return _in_folder(aq_parent(aq_inner(user)), user.getId()) is None


def _is_nobody(user: Any) -> bool:
    """Whether it is one that a user folder has made for those who haven't logged in."""
    if user.getId() is not None or isinstance(aq_base(user), UnrestrictedUser):
        return False
    return set(user.getRoles()) <= {"Anonymous"}


def named(user_id: str, site: Any) -> str:
    """The user of that id, of the user folder of `site` or of one above it, as it is stored;
    BadArgument for one that there isn't.
    """
    if user_id is SYSTEM:
        return str(SYSTEM)
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
    if stored == EMERGENCY:
        return _emergency_user()
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


def _emergency_user() -> Any:
    """That of the file `access`, as it was when this process started. Raises UserGone."""
    if getattr(emergency_user, "__null_user__", False):
        raise UserGone(
            "the job was to run as the emergency user, and there is none here; put another job as "
            "a user of a user folder"
        )
    return emergency_user


def _in_folder(folder: Any, user_id: str) -> Any:
    """The user of a folder, wrapped in it; None if there is none.

    A folder may give the emergency user for the id of one of its own that is the same.
    """
    if not hasattr(aq_base(folder), "getUserById"):
        return None  # something else of that name; it might acquire the method
    user = folder.getUserById(user_id, None)
    if user is None or aq_base(user) is aq_base(emergency_user):
        return None
    return user if aq_parent(user) is not None else user.__of__(folder)
