"""The portal of the demo: made-up students, and the functions that its jobs call.

Nothing here is a persistent class: a student is a PersistentMapping, and all of them are
in ``root()["students"]`` by their matric number. So are the library cards in ``root()["cards"]``.
"""

from __future__ import annotations

import csv
import io
import logging
import random
from collections.abc import Iterator, MutableMapping, MutableSequence
from datetime import date, datetime, timedelta
from typing import Any

from BTrees.OOBTree import OOBTree
from persistent.list import PersistentList  # type: ignore[import-untyped]
from persistent.mapping import PersistentMapping  # type: ignore[import-untyped]
from ZODB.blob import Blob

from zodbjobs import local

log = logging.getLogger(__name__)

#: A student, or the portal itself.
Record = MutableMapping[str, Any]

#: The columns of the export, and the keys of a student.
FIELDS = (
    *("matric_number", "family_name", "given_name", "middle_name", "date_of_birth", "email"),
    *("faculty", "department", "level", "entry_year", "entry_mode", "gpa", "balance", "state"),
)

_GIVEN = (
    *("Ada", "Amina", "Anna", "Bola", "Carlos", "Chidi", "Daniel", "Elena", "Emeka", "Fatima"),
    *("Femi", "Grace", "Hana", "Ibrahim", "Ines", "James", "Jana", "Kemi", "Khalid", "Lena"),
    *("Lucas", "Maria", "Mei", "Musa", "Nadia", "Ngozi", "Omar", "Paul", "Rosa", "Samuel"),
    *("Sofia", "Tunde", "Uche", "Victor", "Wei", "Yusuf", "Zainab", "Zoë", "Ömer", "Łucja"),
)
_FAMILY = (
    *("Abdullah", "Adeyemi", "Afolabi", "Bakare", "Bauer", "Bello", "Brown", "Chen", "Cohen"),
    *("Danjuma", "Diaz", "Eze", "Fischer", "Garcia", "Green", "Haruna", "Hughes", "Idris"),
    *("Jansen", "Johnson", "Kim", "Kovač", "Lawal", "Lopez", "Martin", "Meyer", "Mohammed"),
    *("Ndiaye", "Nowak", "Nwosu", "O'Neill", "Obi", "Okafor", "Okoro", "Park", "Peters", "Rossi"),
    *("Sani", "Santos", "Silva", "Smith", "Suzuki", "Tanaka", "Umar", "Weber", "Williams"),
)
_FACULTIES = {
    "Agriculture": ("Animal Science", "Crop Production", "Soil Science"),
    "Arts": ("English", "History", "Linguistics", "Philosophy"),
    "Engineering": ("Civil Engineering", "Electrical Engineering", "Mechanical Engineering"),
    "Law": ("Private Law", "Public Law"),
    "Medicine": ("Anatomy", "Nursing", "Physiology"),
    "Science": ("Biology", "Chemistry", "Computer Science", "Mathematics", "Physics"),
}
_DEPARTMENTS = [(faculty, name) for faculty, names in _FACULTIES.items() for name in names]
_YEAR = 2025
_FEE = 45_000

#: Who has a lower average is on probation.
_PROBATION = 0.8


# The data


def new_portal(connection: Any) -> None:
    """Put a portal without students into the root; the caller commits."""
    root = connection.root()
    root["portal"] = PersistentMapping(registration="open", session=f"{_YEAR}/{_YEAR + 1}")
    root["students"] = OOBTree()
    root["cards"] = OOBTree()
    root["bell"] = PersistentList()


def make_students(count: int) -> Iterator[PersistentMapping]:
    """`count` students, the same ones each time."""
    chance = random.Random(23)
    for number in range(1, count + 1):
        yield PersistentMapping(_student(chance, number))


def _student(chance: random.Random, number: int) -> dict[str, Any]:
    faculty, department = chance.choice(_DEPARTMENTS)
    given, middle = chance.sample(_GIVEN, 2)
    years = chance.randrange(5)
    entry = _YEAR - years
    matric = f"{faculty[0]}{entry % 100}{number:06}"
    born = date(entry - chance.randrange(17, 26), 1, 1) + timedelta(chance.randrange(365))
    return {
        "matric_number": matric,
        "family_name": chance.choice(_FAMILY),
        "given_name": given,
        "middle_name": middle if chance.random() < 0.6 else "",
        "date_of_birth": born,
        "email": f"{matric.lower()}@example.org",
        "faculty": faculty,
        "department": department,
        "level": 100 * (years + 1),
        "entry_year": entry,
        "entry_mode": chance.choice(("examination", "examination", "direct", "transfer")),
        "gpa": round(min(5.0, max(0.0, chance.gauss(3.2, 0.8))), 2),
        "balance": chance.choice((0, 0, 0, _FEE // 2, _FEE)),
        "state": chance.choice(("admitted", "registered", "registered", "returning")),
    }


# The jobs


def export_students(portal: Record, students: OOBTree) -> Blob:
    """All students as a CSV file, read from the live records."""
    blob = Blob()
    with io.TextIOWrapper(io.BufferedWriter(blob.open("w")), encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, FIELDS)
        writer.writeheader()
        for student in local.track(students.values(), len(students)):
            writer.writerow(student)
    log.info("exported %s students of %s", len(students), portal["session"])
    return blob


def import_payments(students: OOBTree, payments: list[tuple[str, int]]) -> int:
    """Book each payment of a matric number, and return how many there are.

    Raises LookupError for a number of no student.
    """
    for number, (matric, amount) in enumerate(payments, 1):
        student = students.get(matric)
        if student is None:
            raise LookupError(
                f"payment {number} of {len(payments)} is of {matric}, who is no student"
            )
        student["balance"] -= amount
        log.info("%s paid %s", matric, amount)
    return len(payments)


def close_registration(portal: Record) -> str:
    """Let nobody register from now on."""
    portal["registration"] = "closed"
    return f"registration for {portal['session']} is closed"


def is_on_probation(student: Record) -> bool:
    """Whether a student gets no library card."""
    return bool(student["gpa"] < _PROBATION)


def issue_card(student: Record, cards: OOBTree) -> None:
    """Give a student a library card. Raises ValueError for one on probation."""
    matric = student["matric_number"]
    if is_on_probation(student):
        raise ValueError(f"{matric} is on probation")
    cards[matric] = cards.get(matric, 0) + 1


def ring(bell: MutableSequence[datetime]) -> str:
    """Ring the bell, for the time that was planned."""
    planned = local.get_job().planned
    assert planned is not None  # a schedule has put it
    bell.append(planned)
    return f"the bell of {planned:%H:%M:%S}"


def charge(student: Record, amount: int) -> int:
    """Charge a student, and return what is owed then."""
    student["balance"] += amount
    owed: int = student["balance"]
    return owed
