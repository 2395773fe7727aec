"""Who may what. Roles are given on a faculty, or on the root for all that there is."""

from __future__ import annotations

import grok


class ReadStudents(grok.Permission):
    """To see the students of a faculty, and to have files made of them."""

    grok.name("portal.readStudents")


class Officer(grok.Role):
    """Of a faculty: sees how far the jobs about it are, also those of colleagues."""

    grok.name("portal.Officer")
    grok.permissions("portal.readStudents", "waeup.viewJobs")


class Manager(grok.Role):
    """Of everything."""

    grok.name("portal.Manager")
    grok.permissions("portal.readStudents", "waeup.viewJobs", "waeup.manageJobs")
