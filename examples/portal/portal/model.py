"""What is stored: the portal, its faculties, and their students."""

from __future__ import annotations

import grok
from zope.authentication.interfaces import IAuthentication

from portal.people import People


class Portal(grok.Application, grok.Container):
    """The site: the faculties by name, and who may log in."""

    grok.local_utility(People, provides=IAuthentication, name_in_container="people", public=True)

    title = "Register of students"

    def faculties(self):
        """The faculties, by their titles."""
        found = [each for each in self.values() if isinstance(each, Faculty)]
        return sorted(found, key=lambda faculty: faculty.title)


class Faculty(grok.Container):
    """A faculty: its students by their matriculation numbers."""

    def __init__(self, title, departments):
        super().__init__()
        self.title = title
        self.departments = departments


class Student(grok.Model):
    """A student."""

    def __init__(self, matric, name, department, level):
        self.matric = matric
        self.name = name
        self.department = department
        self.level = level
