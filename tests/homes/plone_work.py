"""What the jobs of the real Plone do to 500 documents, each by the rights of the user."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from zodbjobs import local


def publish(folder: Any, hold: str | None = None) -> None:
    """Publish all documents of a folder. In the middle it writes its process into the file
    `hold`, and waits for the file of that name with ".go".
    """
    names = list(folder.objectIds())
    for number, name in enumerate(local.track(names)):
        if hold is not None and number == len(names) // 2:
            _wait(Path(hold))
        folder.portal_workflow.doActionFor(folder.restrictedTraverse(name), "publish")


def _wait(hold: Path) -> None:
    hold.write_text(str(os.getpid()))
    while not hold.with_suffix(".go").exists():
        time.sleep(0.05)


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
