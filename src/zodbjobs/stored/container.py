"""Where the job manager keeps its jobs."""

from __future__ import annotations

from zope.container.btree import BTreeContainer
from zope.interface import implementer

from zodbjobs.interfaces import IJobContainer


@implementer(IJobContainer)
class JobContainer(BTreeContainer):
    """The jobs that were put through a job manager, by id, until they are removed."""
