"""What each student owes; nobody has said yet what a year costs."""

from __future__ import annotations

from portal.pace import take_time
from zodbjobs import local

PRICES: dict[int, int] = {}


def export_fees(faculty, choice):
    """Fail at the first student, as a job does whose author has forgotten something."""
    local.set_progress(0, "looking up the prices")
    for student in choice.of(faculty):
        take_time()
        PRICES[student.level]
