"""What the jobs of the real Plone do to 500 documents, each by the rights of the user."""

from __future__ import annotations

from typing import Any

from zodbjobs import local


def publish(folder: Any) -> None:
    """Publish all documents of a folder."""
    for name in local.track(list(folder.objectIds())):
        folder.portal_workflow.doActionFor(folder.restrictedTraverse(name), "publish")


def rename(folder: Any, names: list[str]) -> None:
    """Give each of them a new name."""
    for name in local.track(names):
        folder.restrictedTraverse(name)
        folder.manage_renameObject(name, f"{name}-renamed")


def move(folder: Any, names: list[str], target: Any) -> None:
    """Move them into another folder."""
    for name in local.track(names):
        folder.restrictedTraverse(name)
        target.manage_pasteObjects(folder.manage_cutObjects([name]))


def delete(folder: Any, names: list[str]) -> None:
    """Delete them."""
    for name in local.track(names):
        folder.restrictedTraverse(name)
        folder.manage_delObjects([name])
