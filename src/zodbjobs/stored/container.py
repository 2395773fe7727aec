"""Where the job manager keeps its jobs."""

from __future__ import annotations

from zope.container.btree import BTreeContainer
from zope.container.interfaces import IContainer
from zope.interface import implementer


class IJobContainer(IContainer):
    """A container of jobs by their decimal id."""


@implementer(IJobContainer)
class JobContainer(BTreeContainer):
    """The jobs that were put through a job manager, by id, until they are removed."""
