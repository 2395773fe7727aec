"""Makes the portal: 5,000 students in faculties and departments, and three people."""

from __future__ import annotations

import random
import secrets

import transaction
from grokcore.site.util import create_application
from zope.app.publication.zopepublication import ZopePublication
from zope.securitypolicy.interfaces import IPrincipalRoleManager

from portal.model import Faculty, Portal, Student
from portal.people import Account

STUDENTS = 5000
LEVELS = (100, 200, 300, 400)

FACULTIES = {
    "arts": ("Arts", ("English", "History", "Linguistics", "Music")),
    "engineering": ("Engineering", ("Chemical", "Civil", "Electrical", "Mechanical")),
    "law": ("Law", ("Commercial Law", "International Law", "Private Law", "Public Law")),
    "medicine": ("Medicine", ("Anatomy", "Nursing", "Pharmacology", "Surgery")),
    "science": ("Science", ("Biology", "Chemistry", "Mathematics", "Physics")),
}

#: Who may log in: the title, the role, and the faculty that it is for, or all of them.
PEOPLE = {
    "ada": ("Ada Obi", "portal.Officer", "engineering"),
    "bola": ("Bola Ade", "portal.Officer", "science"),
    "mia": ("Mia Eze", "portal.Manager", None),
}

_FIRST = ("Adaeze", "Bassey", "Chidi", "Efe", "Femi", "Grace", "Halima", "Joy", "Kemi", "Ngozi")
_LAST = ("Balogun", "Chukwu", "Danjuma", "Eze", "Fashola", "Garba", "Idris", "Kalu", "Lawal")


def make_portal(db):
    """Make what is missing, and new passwords for all; they are returned by login."""
    connection = db.open()
    try:
        root = connection.root()[ZopePublication.root_name]
        if "portal" not in root:
            _fill(create_application(Portal, root, "portal"), root)
        passwords = _new_passwords(root["portal"])
        transaction.commit()
    finally:
        transaction.abort()
        connection.close()
    return passwords


def _fill(portal, root):
    chance = random.Random(7)
    per_faculty = STUDENTS // len(FACULTIES)
    for number, (name, (title, departments)) in enumerate(FACULTIES.items(), 1):
        faculty = portal[name] = Faculty(title, departments)
        for count in range(1, per_faculty + 1):
            matric = f"{number}{count:05}"
            full_name = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
            student = Student(matric, full_name, departments[count % 4], chance.choice(LEVELS))
            faculty[matric] = student
    people = portal["people"]
    for login, (title, role, name) in PEOPLE.items():
        people.accounts[login] = Account(title, secrets.token_urlsafe(24))
        place = root if name is None else portal[name]
        IPrincipalRoleManager(place).assignRoleToPrincipal(role, f"portal.{login}")


def _new_passwords(portal):
    passwords = {}
    for login, account in portal["people"].accounts.items():
        passwords[login] = secrets.token_urlsafe(9)
        account.set_password(passwords[login])
    return passwords
