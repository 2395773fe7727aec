"""Titles: how people call what a request has put, in the language of the request."""

from __future__ import annotations

from typing import Any

from zope.i18n import translate
from zope.i18nmessageid import Message

from zodbjobs.plone.restapi.sources import Source

# Characters of the name of an object, or of a transition.
_MOST = 60


def copy(service: Any, sources: list[Source]) -> str:
    """That of a copy."""
    one, many = "Copy “${name}” to “${target}”", "Copy ${count} items to “${target}”"
    return _of_many(service, sources, one, many)


def move(service: Any, sources: list[Source]) -> str:
    """That of a move."""
    one, many = "Move “${name}” to “${target}”", "Move ${count} items to “${target}”"
    return _of_many(service, sources, one, many)


def transition(service: Any) -> str:
    """That of a transition of a workflow: what the menu calls it."""
    name = service.transition
    for workflow in service.wftool.getWorkflowsFor(service.context):
        found = workflow.transitions.get(name, None)
        if found is not None:
            text = found.actbox_name or found.title or name
            name = translate(text, domain="plone", context=service.request)
            break
    return f"{_short(name)}: “{_name_of(service.context)}”"


def _of_many(service: Any, sources: list[Source], one: str, many: str) -> str:
    values = {"name": _name_of(sources[0].obj), "count": len(sources)}
    values["target"] = _name_of(service.context)
    text = one if len(sources) == 1 else many
    title: str = translate(
        Message(text, domain="zodbjobs", mapping=values), context=service.request
    )
    return title


def _name_of(obj: Any) -> str:
    return _short(obj.Title() or obj.getId())


def _short(name: str) -> str:
    return name if len(name) <= _MOST else f"{name[:_MOST]}…"
