"""Closes what Grok leaves open: a URL such as ``/++attribute++clear`` would call that method."""

from __future__ import annotations

import grok
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.interface import Interface
from zope.traversing.interfaces import IBeforeTraverseEvent

from zodbjobs.grok import refuse_namespaces


@grok.subscribe(Interface, IBeforeTraverseEvent)
def close(context, event):
    """Let URLs lead to what the portal has, and to views, only."""
    if ISite.providedBy(context):
        setSite(context)  # which is about to be done; the page that says no needs it
    refuse_namespaces(context, event)
