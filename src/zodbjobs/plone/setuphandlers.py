"""What GenericSetup calls."""

from __future__ import annotations

from typing import Any

from plone.base.interfaces import INonInstallable
from zope.component.hooks import getSite
from zope.interface import implementer

from zodbjobs.zope.permissions import MANAGE_JOBS, VIEW_JOBS


@implementer(INonInstallable)
class HiddenProfiles:
    """What isn't offered in the list of add-ons."""

    def getNonInstallableProfiles(self) -> list[str]:
        """The profile that the button "uninstall" stands for."""
        return ["zodbjobs.plone:uninstall"]


def give_permissions_back(setup_tool: Any) -> None:
    """Let the site say no more who may see and manage jobs: what is said above it counts."""
    for permission in (VIEW_JOBS, MANAGE_JOBS):
        getSite().manage_permission(permission, roles=[], acquire=1)
