"""The jobs, a module each, and what there is of them on the page of a faculty."""

from __future__ import annotations

from portal.jobs.export import export_students
from portal.jobs.fees import export_fees
from portal.jobs.report import report

#: What can be made, by its name in the form: the job, its title, and what it is on the page.
KINDS = {
    "export": (export_students, "Students of {faculty}", "Students, as CSV"),
    "report": (report, "Report on {faculty}", "Report, as PDF"),
    "fees": (export_fees, "Fees of {faculty}", "Fees, as CSV (this one fails)"),
}
