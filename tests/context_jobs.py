"""Jobs that tell what they run in."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import transaction
from opentelemetry import trace
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError
from zope.component import hooks
from zope.interface.registry import Components
from zope.security.management import queryInteraction

from zodbjobs import local

customer: ContextVar[str] = ContextVar("customer", default="nobody")

#: What was found, in the order of looking.
found: list[dict[str, Any]] = []


class Folder(PersistentMapping):
    """A site that is stored."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.__name__ = name

    def getSiteManager(self) -> Components:
        return Components(self.__name__)


class Unstorable:
    """A site that can't be stored."""

    __name__ = "unstorable"

    def getSiteManager(self) -> Components:
        return Components("unstorable")

    def __reduce__(self) -> Any:
        raise TypeError("it can't be pickled")


class Participation:
    interaction: Any = None

    def __init__(self, principal: Any) -> None:
        self.principal = principal


def look_around() -> dict[str, Any]:
    interaction = queryInteraction()
    seen = {
        "site": getattr(hooks.getSite(), "__name__", None),
        "principals": None
        if interaction is None
        else [participation.principal.id for participation in interaction.participations],
    }
    found.append(seen)
    return seen


def look(of: Any) -> dict[str, Any]:
    return look_around()


def look_and_conflict_once(site: Any) -> dict[str, Any]:
    """Look, and look again at the abort or in the commit."""
    site["touched"] = True
    seen = look_around()
    transaction.get().addBeforeCommitHook(look_around)
    transaction.get().addAfterAbortHook(look_around)
    if len(found) == 1:
        raise ConflictError("of the job's own making")
    return seen


def put_look() -> None:
    local.get_queue().put(look_around)


def who() -> str:
    return customer.get()


def trace_id() -> int:
    return trace.get_current_span().get_span_context().trace_id
