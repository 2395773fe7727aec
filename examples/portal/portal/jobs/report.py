"""How many students there are, as a document to print."""

from __future__ import annotations

import io
from collections import Counter

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

from portal.pace import take_time
from zodbjobs import local


def report(faculty, choice):
    """Leave a PDF that counts those students of the faculty that are chosen."""
    counts = Counter()
    for student in local.track(choice.of(faculty)):
        counts[student.department, student.level] += 1
        take_time()
    local.set_progress(100, "laying out")
    name = f"report-{faculty.__name__}.pdf"
    local.attach(name, _document(faculty.title, counts), "application/pdf")


def _document(title, counts):
    departments = sorted({department for department, level in counts})
    levels = sorted({level for department, level in counts})
    rows = [["Department", *levels, "all"]]
    for department in departments:
        numbers = [counts[department, level] for level in levels]
        rows.append([department, *numbers, sum(numbers)])
    sums = [sum(counts[department, level] for department in departments) for level in levels]
    rows.append(["all", *sums, counts.total()])
    table = Table(rows, hAlign="LEFT")
    table.setStyle([("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.grey)])
    heading = Paragraph(f"Faculty of {title}", getSampleStyleSheet()["Title"])
    file = io.BytesIO()
    SimpleDocTemplate(file, pagesize=A4, title=f"Faculty of {title}").build(
        [heading, Spacer(1, 12), table]
    )
    return file.getvalue()
