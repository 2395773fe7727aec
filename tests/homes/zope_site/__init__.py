"""An application of Zope for the tests: views that put jobs, and the jobs."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from AccessControl import getSecurityManager
from Products.Five.browser import BrowserView
from zope.globalrequest import getRequest

import zodbjobs
from zodbjobs.zope import accepted, put


class Put(BrowserView):
    """Puts a job of this module on its context, with words."""

    def __call__(self) -> str:
        form = self.request.form
        words = [word for word in form.get("words", "").split(",") if word]
        return accepted(self.request, put(_JOBS[form["job"]], self.context, *words))


def look(folder: Any) -> dict[str, Any]:
    """Where and as whom it runs."""
    user = getSecurityManager().getUser()
    return {
        "user": user.getId(),
        "roles": sorted(user.getRolesInContext(folder)),
        "url": folder.absolute_url(),
        "path": "/".join(folder.getPhysicalPath()),
        "request": getRequest().__class__.__name__,
        "pid": os.getpid(),
        "worker threads": os.environ.get("ZODBJOBS_THREADS"),
    }


def add_folder(folder: Any, name: str) -> str:
    """Adds a folder, if its user may."""
    folder.restrictedTraverse("manage_addFolder")(name)
    return str(folder[name].absolute_url())


def wait(folder: Any, begun: str, go_on: str) -> int:
    """Counts its calls that were committed; says that it runs, and waits until it may go on."""
    folder.calls = getattr(folder, "calls", 0) + 1
    with Path(begun).open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(go_on).exists():
        time.sleep(0.02)
    return int(folder.calls)


def calls(folder: Any) -> int:
    """How many calls of `wait` were committed."""
    return int(folder.calls)


_JOBS = {"calls": calls, "look": look, "add_folder": add_folder, "wait": wait}


def tick() -> None:
    """What is done again and again."""


installer = zodbjobs.QueueInstaller(
    schedules=[zodbjobs.Schedule("tick", tick, every=timedelta(days=1))]
)
