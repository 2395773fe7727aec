"""Scripts for zconsole, in a real Plone of 500 documents: ``plone_script.NAME(app)``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plone_work
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from Testing.makerequest import makerequest
from zope.component.hooks import setSite
from zope.globalrequest import setRequest

from zodbjobs.plone import put

#: How many folders there are, and documents in each.
FOLDERS, DOCUMENTS = 10, 50

#: How many of the first jobs wait for their worker to be killed.
HELD = 3

#: Of each folder: the numbers of those that are renamed, moved and deleted.
RENAMED, MOVED, DELETED = range(5), range(5, 10), range(10, 15)


def site_of(app: Any, user: str = "admin") -> Any:
    """The site, as in a request of a user."""
    app = makerequest(app)
    setRequest(app.REQUEST)
    site = app.Plone
    setSite(site)
    folder = app.acl_users if user == "admin" else site.acl_users
    newSecurityManager(app.REQUEST, folder.getUser(user).__of__(folder))
    return site


def fill(app: Any) -> None:
    """Add the users and the documents."""
    site = site_of(app)
    editor = ["Member", "Editor", "Reviewer", "Contributor"]
    for name, roles in (("ed", editor), ("mem", ["Member"])):
        site.acl_users.userFolderAddUser(name, "correct horse battery", roles, [])
    site.invokeFactory("Folder", "archive", title="Archive")
    for number in range(FOLDERS):
        site.archive.invokeFactory("Folder", f"f{number}")
        folder = site[site.invokeFactory("Folder", f"f{number}", title=f"Folder {number}")]
        for document in range(DOCUMENTS):
            folder.invokeFactory("Document", f"d{document}", title=f"Document {document}")
    transaction.commit()
    print(json.dumps({"documents": FOLDERS * DOCUMENTS}))


def install_rest(app: Any) -> None:
    """Install plone.restapi, as a site for Volto has it."""
    site = site_of(app)
    site.portal_setup.runAllImportStepsFromProfile("plone.restapi:default")
    transaction.commit()
    print(json.dumps({"installed": "plone.restapi"}))


def put_all(app: Any) -> None:
    """Put the jobs of the member and of the editor; prints their ids."""
    ids: dict[str, list[str]] = {}
    for user, folders, held in (("mem", 1, 0), ("ed", FOLDERS, HELD)):
        site = site_of(app, user)
        ids[user] = [job.id for job in _put(site, folders, held)]
        transaction.commit()
    print(json.dumps(ids))


def _put(site: Any, folders: int, held: int) -> Iterator[Any]:
    for number in range(folders):
        hold = str(Path.cwd() / f"hold{number}") if number < held else None
        folder = site[f"f{number}"]
        yield put(plone_work.publish, folder, hold=hold)
        yield put(plone_work.rename, folder, _names(RENAMED))
        yield put(plone_work.move, folder, _names(MOVED), site.archive[f"f{number}"])
        yield put(plone_work.delete, folder, _names(DELETED))


def _names(numbers: range) -> list[str]:
    return [f"d{number}" for number in numbers]


# What it must be


def check(app: Any) -> None:
    """Compare the catalog with the content, object by object; prints what is wrong."""
    site = site_of(app)
    found = dict(_content(site))
    print(json.dumps({"wrong": list(_wrong(site.portal_catalog, found)), "paths": sorted(found)}))


def _content(container: Any) -> Iterator[tuple[str, Any]]:
    for obj in container.contentValues():
        yield "/".join(obj.getPhysicalPath()), obj
        if obj.portal_type == "Folder":
            yield from _content(obj)


def _wrong(catalog: Any, found: dict[str, Any]) -> Iterator[str]:
    known = set(catalog._catalog.uids) - {"/Plone"}
    yield from (f"{path} isn't in the catalog" for path in set(found) - known)
    yield from (f"{path} is in the catalog, and isn't there" for path in known - set(found))
    for path in known & set(found):
        yield from _wrong_of(catalog, path, found[path])
    numbers = set(catalog._catalog.paths)
    for name in ("getId", "review_state", "portal_type", "UID"):
        left = set(catalog._catalog.indexes[name]._unindex) - numbers
        yield from (f"{name} knows {number}, which the catalog doesn't" for number in left)


def _wrong_of(catalog: Any, path: str, obj: Any) -> Iterator[str]:
    from plone.indexer.interfaces import IIndexableObject
    from zope.component import getMultiAdapter

    rid = catalog.getrid(path)
    wrapped = getMultiAdapter((obj, catalog), IIndexableObject)
    metadata, indexed = catalog.getMetadataForRID(rid), catalog.getIndexDataForRID(rid)
    for name in ("getId", "Title", "review_state", "UID", "portal_type"):
        value = getattr(wrapped, name)
        value = value() if callable(value) else value
        if metadata[name] != value:
            yield f"{path}: {name} is {metadata[name]!r}, and should be {value!r}"
    for name in ("getId", "review_state", "UID", "portal_type"):
        value = getattr(wrapped, name)
        value = value() if callable(value) else value
        if indexed[name] not in (value, [value]):
            yield f"{path}: the index {name} has {indexed[name]!r}, and should have {value!r}"
    roles = sorted(wrapped.allowedRolesAndUsers)
    if sorted(indexed["allowedRolesAndUsers"]) != roles:
        yield f"{path}: may be seen by {indexed['allowedRolesAndUsers']}, and should by {roles}"
    if catalog._catalog.indexes["path"]._unindex[rid] != path:
        yield f"{path}: the index of paths has {catalog._catalog.indexes['path']._unindex[rid]}"
