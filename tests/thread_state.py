"""Jobs that leave something in their thread, and one that tells what it finds there."""

from __future__ import annotations

import decimal
import threading
from contextvars import ContextVar
from typing import Any

import transaction
from AccessControl.SecurityManagement import getSecurityManager, newSecurityManager
from AccessControl.users import system
from sample import Account, deposit_with_a_rival
from ZODB.POSException import ConflictError
from zope.component import hooks
from zope.globalrequest import getRequest, setRequest
from zope.interface.registry import Components
from zope.security.management import (
    endInteraction,
    newInteraction,
    queryInteraction,
    restoreInteraction,
)

import zodbjobs
from zodbjobs import local

variable = ContextVar("variable", default="default")

#: Of an application, which may have registered a cleaner for it.
own = threading.local()

#: What the jobs found when they began, and at their commit or abort; their threads.
found_at_begin: list[dict[str, Any]] = []
found_at_end: list[dict[str, Any]] = []
threads: list[threading.Thread] = []

#: What is to be found in a clean thread, and after `leave`.
CLEAN = {
    "site": None,
    "interaction": False,
    "earlier interaction": False,
    "request": None,
    "user": "Anonymous User",
    "variable": "default",
    "precision": decimal.DefaultContext.prec,
}
LEFT = {
    "site": "left site",
    "interaction": True,
    "earlier interaction": True,
    "request": "left request",
    "user": system.getUserName(),
    "variable": "left value",
    "precision": 3,
}


class Site:
    """A site that refers to no database."""

    __name__ = "left site"

    def getSiteManager(self) -> Components:
        return Components("left site")


def find() -> dict[str, Any]:
    """What is in the thread; `restoreInteraction` is a way to find an earlier interaction."""
    interaction = queryInteraction()
    restoreInteraction()
    earlier = queryInteraction()
    if interaction is None:
        endInteraction()
    return {
        "site": getattr(hooks.getSite(), "__name__", None),
        "interaction": interaction is not None,
        "earlier interaction": earlier is not None,
        "request": getRequest(),
        "user": getSecurityManager().getUser().getUserName(),
        "variable": variable.get(),
        "precision": decimal.getcontext().prec,
    }


def leave(account: Account | None = None) -> None:
    """Leave in the thread all that there is."""
    threads.append(threading.current_thread())
    found_at_begin.append(find())
    hooks.setSite(Site())
    endInteraction()
    newInteraction()
    endInteraction()
    restoreInteraction()
    setRequest("left request")
    newSecurityManager(None, system)
    variable.set("left value")
    decimal.getcontext().prec = 3
    if account is not None:
        account.deposit(1)
        transaction.get().addBeforeCommitHook(lambda: found_at_end.append(find()))
        transaction.get().addAfterAbortHook(lambda: found_at_end.append(find()))


async def leave_async(account: Account) -> None:
    leave(account)


def leave_and_fail(account: Account) -> None:
    leave(account)
    raise ValueError("with a site")


def leave_and_exit(account: Account) -> None:
    leave(account)
    raise SystemExit


def leave_and_conflict(account: Account) -> None:
    leave(account)
    if len(found_at_begin) < 3:
        raise ConflictError("of the job's own making")


def leave_and_conflict_always() -> None:
    leave()
    raise ConflictError("of the job's own making")


def leave_and_conflict_at_commit(account: Account) -> None:
    leave()
    deposit_with_a_rival(account, 1)
    transaction.get().addBeforeCommitHook(lambda: found_at_end.append(find()))


def leave_and_return_what_cannot_be_stored(account: Account) -> Any:
    leave(account)
    return threading.Lock()


def leave_and_cancel_itself(account: Account) -> None:
    leave(account)
    local.get_job().cancel()


def leave_and_be_cancelled(account: Account) -> None:
    leave(account)
    manager = transaction.TransactionManager()
    connection = account._p_jar.db().open(manager)
    zodbjobs.get_queue(connection).get(local.get_job().id).cancel()
    manager.commit()
    connection.close()


class Policy:
    """A retry policy that leaves something as well, and allows so many further attempts."""

    def __init__(self, times: int) -> None:
        self.times = times

    def job_error(self, failure: object, data: dict[str, Any]) -> bool:
        leave()
        data["times"] = data.get("times", 0) + 1
        return bool(data["times"] <= self.times)

    commit_error = job_error

    def interrupted(self, data: dict[str, Any]) -> bool:
        return True


class Loaded:
    """An argument that leaves something when it is loaded."""

    def __setstate__(self, state: object) -> None:
        leave()

    def __getstate__(self) -> object:
        return {"any": "state"}


def look(value: object = None) -> dict[str, Any]:
    """What it finds, as a result."""
    threads.append(threading.current_thread())
    return find()


def leave_own() -> None:
    """Leave something that only the application's own cleaner takes away."""
    threads.append(threading.current_thread())
    own.value = "left value"


def look_for_own() -> Any:
    threads.append(threading.current_thread())
    return getattr(own, "value", None)
