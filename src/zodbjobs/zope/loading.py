"""Lets the jobs of this process run in Zope, and be put in it."""

from __future__ import annotations

from typing import Any

from zodbjobs import context, references
from zodbjobs.context import included
from zodbjobs.zope import run_context
from zodbjobs.zope.references import describe, load_object, place_of, recognizes

#: The name of the run context and of the kind of reference: they are in databases.
NAME = "zope"


def load() -> None:
    """Register the run context and the references of Zope; as often as one likes.

    The run contexts `site` and `interaction` capture nothing then: that of Zope has both.
    """
    context.unregister("site")
    context.unregister("interaction")
    context.register(NAME, run_context.capture, run_context.restore)
    references.register(NAME, recognizes, place_of, load_object, describe)


def unload() -> None:
    """Undo `load`."""
    references.unregister(NAME)
    context.unregister(NAME)
    included.register_all()


def load_when_opened(event: Any) -> None:
    """Load as Zope opens its database."""
    load()
