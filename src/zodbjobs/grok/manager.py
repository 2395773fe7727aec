"""The job manager as a utility."""

from __future__ import annotations

from typing import Any

import grok
from zope.component.hooks import getSite
from zope.component.interfaces import ISite

from zodbjobs import manager
from zodbjobs.grok.rights import current_principal, realm_of
from zodbjobs.interfaces import IJobManager


class JobManager(manager.JobManager, grok.GlobalUtility):
    """The unnamed global utility for IJobManager.

    What is put in a request is its principal's, and belongs to the site, unless the job or the
    put says otherwise.
    """

    grok.provides(IJobManager)

    def _default_owner(self) -> str | None:
        """The principal of the request."""
        return current_principal()

    def _default_realm(self, site: Any) -> str | None:
        """The path of the site; of the current one, if `site` only says which database it is."""
        found = site if ISite.providedBy(site) else getSite()
        return None if found is None else realm_of(found)
