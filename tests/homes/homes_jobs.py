"""What the jobs of the tests in homes call."""

from __future__ import annotations

from typing import Any

from AccessControl import getSecurityManager
from Acquisition import aq_base, aq_parent
from OFS.Folder import manage_addFolder
from zope.component.hooks import getSite
from zope.globalrequest import getRequest
from zope.publisher.interfaces import IRequest

from zodbjobs import local


class ILayer(IRequest):
    """A layer of a site."""


def look_around(folder: Any) -> dict[str, Any]:
    """What a job finds."""
    from zope.security import checkPermission

    user, request = getSecurityManager().getUser(), getRequest()
    return {
        "user": user.getId(),
        "roles": list(user.getRoles()),
        "site": "/".join(getSite().getPhysicalPath()),
        "url": folder.absolute_url(),
        "path": "/".join(folder.getPhysicalPath()),
        "request": folder.REQUEST is request,
        "language": request.get("LANGUAGE"),
        "layer": ILayer.providedBy(request),
        "form": dict(request.form),
        "permitted": bool(
            checkPermission("zope2.DeleteObjects", folder)
            or getSecurityManager().checkPermission("Delete objects", folder)
        ),
    }


def who() -> list[Any]:
    """The current user."""
    user = getSecurityManager().getUser()
    return [user.getUserName(), user.getId()]


def paths_of(things: Any, more: Any = ()) -> str:
    """The paths of content, wherever it is."""
    return " ".join(_paths([*things, *more]))


def _paths(things: Any) -> list[str]:
    found: list[str] = []
    for each in things:
        if isinstance(each, dict):
            found += _paths(each.values())
        elif isinstance(each, list):
            found += _paths(each)
        else:
            path = getattr(each, "getPhysicalPath", None)
            found.append(str(each) if path is None else "/".join(path()))
    return found


def add_folder(container: Any, name: str) -> Any:
    """Add a folder, and return it as its container has it."""
    manage_addFolder(container, name)
    return container[name]


def retitle(content: Any, title: str) -> None:
    """Change content."""
    content.title = title


def root_of_the_application() -> bool:
    """Whether the connection of the job is that of the application."""
    return "Application" in local.get_connection().root()


def delete_restricted(container: Any, name: str) -> None:
    """Delete as the user may."""
    container.restrictedTraverse("manage_delObjects")([name])


def attach_bytes(size: int) -> None:
    """Attach a file of a size."""
    local.attach("data.bin", bytes(range(256)) * (size // 256) + bytes(size % 256))


def containers_of(content: Any) -> list[str]:
    """The ids of content and of all around it, by acquisition."""
    found = []
    while content is not None and hasattr(content, "getId"):
        found.append(content.getId())
        content = aq_parent(content)
    return found


def is_in_the_application(content: Any) -> bool:
    """Whether the root above content is the application of the job's connection."""
    above = aq_base(content.getPhysicalRoot())
    return above is local.get_connection().root()["Application"]


def parents() -> list[str]:
    """The places that the request says it has come by."""
    return ["/".join(each.getPhysicalPath()) for each in getRequest()["PARENTS"]]
