"""Allowing: plone.protect is told that a request means to write, as plone.restapi's own
services tell it.
"""

from __future__ import annotations

from typing import Any

import plone.protect.interfaces
from zope.interface import alsoProvides


def allow_writing(request: Any) -> None:
    """Let a request write without a token of plone.protect."""
    alsoProvides(request, plone.protect.interfaces.IDisableCSRFProtection)
