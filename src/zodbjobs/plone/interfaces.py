"""The layer of the add-on."""

from __future__ import annotations

from zope.publisher.interfaces.browser import IDefaultBrowserLayer


class IJobsLayer(IDefaultBrowserLayer):
    """What the requests of a site provide in which the add-on is installed."""
