"""Namespaces in URLs, such as ``++attribute++cancel``: refused where they would call what isn't
published.

Grok takes the security proxy off what such a name finds, so that anybody could call each method
that a traversed object has. Views, which have permissions, are what URLs are for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grok
from zope.authentication.interfaces import IUnauthenticatedPrincipal
from zope.publisher.interfaces import NotFound
from zope.security.interfaces import Unauthorized
from zope.traversing.interfaces import IBeforeTraverseEvent

from zodbjobs.interfaces import IJob, IJobManager

# Views and resources ask for permissions of their own.
_PROTECTED = frozenset({"view", "resource"})

# These say how, and lead on from the same object, for which a subscriber isn't called again.
_VIRTUAL_HOST = "vh"
_HOW = frozenset({"skin", "lang", "debug"})


def refuse_namespaces(context: Any, event: Any) -> None:
    """A subscriber that refuses the next name of a URL if it is of a namespace that is neither for
    views and resources nor says how they are shown.

    It is registered for the job manager and for jobs. An application should register it for
    Interface and IBeforeTraverseEvent too, and so close what Grok leaves open on all its objects.
    Raises Unauthorized for nobody in particular, who is sent to log in, and else NotFound.
    """
    request = event.request
    name = _next_name(request.getTraversalStack())
    if not name.startswith("++") or _namespace(name) in _PROTECTED:
        return
    if IUnauthenticatedPrincipal.providedBy(request.principal):
        raise Unauthorized("jobs")
    raise NotFound(context, name, request)


def _next_name(stack: Iterable[str]) -> str:
    """The first name to come that leads to another object, or an empty one."""
    names = iter(reversed(list(stack)))
    for name in names:
        space = _namespace(name)
        if space == _VIRTUAL_HOST:
            while next(names, "++") != "++":
                pass  # what the browser sees in place of the path so far
        elif space not in _HOW:
            return name
    return ""


def _namespace(name: str) -> str:
    """The namespace of a name in a URL; empty if it has none."""
    return name[2:].partition("++")[0] if name.startswith("++") else ""


@grok.subscribe(IJobManager, IBeforeTraverseEvent)  # type: ignore[untyped-decorator]
def _at_the_manager(context: Any, event: Any) -> None:
    refuse_namespaces(context, event)


@grok.subscribe(IJob, IBeforeTraverseEvent)  # type: ignore[untyped-decorator]
def _at_a_job(context: Any, event: Any) -> None:
    refuse_namespaces(context, event)
