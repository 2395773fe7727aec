"""Which students of a faculty are meant."""

from __future__ import annotations

from typing import NamedTuple


class Choice(NamedTuple):
    """All of a faculty, those of a department or a level or both, or only these."""

    department: str | None = None
    level: int | None = None
    matrics: tuple[str, ...] = ()

    def of(self, faculty):
        """The students, by their numbers."""
        return [student for student in faculty.values() if self.has(student)]

    def has(self, student):
        """Whether a student is meant."""
        return (
            (self.department is None or student.department == self.department)
            and (self.level is None or student.level == self.level)
            and (not self.matrics or student.matric in self.matrics)
        )
