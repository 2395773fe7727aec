"""What the jobs of the tests in Plone call, and the views that put them."""

from __future__ import annotations

from typing import Any

import transaction
from AccessControl import getSecurityManager
from plone.protect import CheckAuthenticator, PostOnly
from Products.CMFCore.indexing import REINDEX, getQueue
from Products.Five import BrowserView
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

from zodbjobs.plone import accepted, put

#: What indexers and jobs have seen.
seen: list[Any] = []


def publish(folder: Any, *names: str) -> str:
    """Publish documents of a folder, by the rights of the user."""
    for name in names or list(folder.objectIds()):
        folder.portal_workflow.doActionFor(folder[name], "publish")
    return "published"


def move(target: Any, *documents: Any) -> None:
    """Move documents into another folder, by the rights of the user."""
    for document in documents:
        parent = document.aq_parent
        target.manage_pasteObjects(parent.manage_cutObjects([document.getId()]))


def rename(folder: Any, **names: str) -> None:
    """Rename documents of a folder."""
    folder.manage_renameObjects(list(names), list(names.values()))


def delete(folder: Any, *names: str) -> None:
    """Delete documents of a folder, by the rights of the user."""
    for name in names:
        if not getSecurityManager().checkPermission("Delete objects", folder[name]):
            raise PermissionError(name)
    folder.manage_delObjects(list(names))


def look(context: Any) -> dict[str, Any]:
    """What a job finds around it."""
    from plone import api

    request = getRequest()
    return {
        "user": getSecurityManager().getUser().getId(),
        "site": "/".join(getSite().getPhysicalPath()),
        "language": api.portal.get_current_language(),
        "url": context.absolute_url(),
        "layers": [each.__name__ for each in request.__provides__.interfaces()],
        "indexed": getQueue().length(),
    }


def index_again(context: Any) -> None:
    """Have all indexes look at it."""
    context.reindexObject()


def indexed_by(obj: Any) -> str:
    """An index that needs the user, the site and the request."""
    user = getSecurityManager().getUser().getId()
    seen.append((user, getSite().getId(), getRequest() is not None))
    return str(user)


def leave_something_indexed(context: Any) -> None:
    """Leave in the thread what no commit or abort takes away."""
    getQueue().setState([(REINDEX, context, None, 1)])
    raise ValueError("before its hook is there")


class PutView(BrowserView):
    """Puts a job, and accepts."""

    def __call__(self) -> Any:
        """Publish all documents."""
        job = put(publish, self.context, title="Publish all")
        if self.request.form.get("doom"):
            transaction.doom()
        if self.request.form.get("conflict") and not seen:
            seen.append("conflict")
            raise ConflictError
        return accepted(self.request, job)


class FormView(BrowserView):
    """A view that writes, and asks for a token and a POST, as Plone's own do."""

    def __call__(self) -> Any:
        """Set the title."""
        CheckAuthenticator(self.request)
        PostOnly(self.request)
        self.context.title = self.request.form["title"]
        self.context.reindexObject()
        return self.context.title


class FileView(BrowserView):
    """A view that makes a file."""

    def __call__(self) -> Any:
        """Some bytes."""
        self.request.response.setHeader("Content-Type", "text/csv; charset=utf-8")
        return b"1,2"


class SadView(BrowserView):
    """A view that answers with an error."""

    def __call__(self) -> Any:
        """Say that it can't be found."""
        self.request.response.setStatus(404)
        return "no such thing"
