"""Whether the jobs of the demo ended as promised."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ZODB.blob import Blob

from zodbjobs.demo.portal import Record, is_on_probation
from zodbjobs.demo.workload import EVERY, FEE, NUMBER, UNKNOWN, Workload
from zodbjobs.interfaces import FAILED, SUCCEEDED
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job


def broken_promises(connection: Any, workload: Workload) -> list[str]:
    """What didn't end as promised, a line each; reads in the connection's transaction."""
    root = connection.root()
    return [
        *_of_export(workload, root["students"]),
        *_of_compute(workload),
        *_of_failing(workload),
        *_of_late(workload, root["portal"]),
        *_of_cards(workload, root["students"], root["cards"]),
        *_of_bell(workload, root["bell"]),
        *_of_small(workload, root["students"]),
    ]


def exported(job: Job) -> list[str] | None:
    """The matric numbers in the file that the export left, or None without a file.

    Raises KeyError if it isn't an export.
    """
    if not isinstance(job.result, Blob):
        return None
    with Path(job.result.committed()).open(encoding="utf-8", newline="") as file:
        return [row["matric_number"] for row in csv.DictReader(file)]


def _of_export(workload: Workload, students: Any) -> Iterator[str]:
    yield from _ended(workload.export, "the export", SUCCEEDED)
    yield from _told_100(workload.export, "the export")
    rows = exported(workload.export)
    if rows is None:
        yield "the export left no file"
    elif rows != list(students):
        yield f"the CSV's {len(rows):,} rows aren't those of the {len(students):,} students"


def _of_compute(workload: Workload) -> Iterator[str]:
    yield from _ended(workload.compute, "the test job", SUCCEEDED)
    yield from _told_100(workload.compute, "the test job")
    if workload.compute.result != 2 * NUMBER:
        yield f"the test job returned {workload.compute.result!r}, not {2 * NUMBER}"


def _of_failing(workload: Workload) -> Iterator[str]:
    yield from _ended(workload.failing, "the import of bad payments", FAILED)
    result = workload.failing.result
    if not isinstance(result, Failure) or UNKNOWN not in result.message:
        yield f"the failure doesn't tell of {UNKNOWN}: {result}"


def _of_late(workload: Workload, the_portal: Record) -> Iterator[str]:
    yield from _ended(workload.late, "the late job", SUCCEEDED)
    started, due = workload.late.started, workload.late.begin_after
    if started is not None and due is not None and started < due:
        yield f"the late job began {(due - started).total_seconds():.3f} s before its time"
    if the_portal["registration"] != "closed":
        yield f"registration is {the_portal['registration']}, not closed"


def _of_cards(workload: Workload, students: Any, cards: Any) -> Iterator[str]:
    yield from _ended(workload.cards, "the sweep", SUCCEEDED)
    barred = [matric for matric, student in students.items() if is_on_probation(student)]
    aside = [each.item["matric_number"] for each in workload.cards.set_aside]
    if aside != barred:
        yield f"the sweep has set {len(aside):,} students aside, not the {len(barred):,} it should"
    wrong = sum(cards.get(matric, 0) != (matric not in aside) for matric in students)
    if wrong:
        yield f"{wrong:,} students haven't the one card that they should, or one too many"


def _of_bell(workload: Workload, rung: Sequence[datetime]) -> Iterator[str]:
    if (reason := workload.bell.paused) is not None:
        yield f"the schedule is paused ({reason})"
    if not rung:
        yield "the bell didn't ring"
        return
    # One for each planned time, and each on the beat.
    if any((time - rung[0]) % EVERY for time in rung) or len(set(rung)) < len(rung):
        yield "the bell rang at a time that wasn't planned, or twice"


def _of_small(workload: Workload, students: Any) -> Iterator[str]:
    outcomes = Counter(job.outcome or job.status for job in workload.small)
    if outcomes != {SUCCEEDED: len(workload.small)}:
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
        yield f"of {len(workload.small):,} small jobs are {counts}"
    # A student may have been charged several times: each time must be in the results once.
    found = sorted(
        (matric, job.result)
        for matric, job in zip(workload.charged, workload.small, strict=True)
        if job.outcome == SUCCEEDED
    )
    times = Counter(workload.charged)
    due = sorted(
        (matric, workload.before[matric] + FEE * number)
        for matric, count in times.items()
        for number in range(1, count + 1)
    )
    wrong = len(set(due) - set(found))
    if found != due:
        yield f"{wrong:,} small jobs didn't return what the student owes then"
    wrong = sum(
        students[matric]["balance"] != workload.before[matric] + FEE * count
        for matric, count in times.items()
    )
    if wrong:
        yield f"{wrong:,} students don't owe what they should"


def _ended(job: Job, name: str, outcome: str) -> Iterator[str]:
    if job.outcome != outcome:
        text = f"{job.outcome or job.status}, not {outcome}"
        reason = job.parked or job.failure
        yield f"{name} is {text}" + (f" ({reason})" if reason else "")


def _told_100(job: Job, name: str) -> Iterator[str]:
    percent = job.annotations.get("percent")
    if percent != 100:
        yield f"{name} says that {percent} % are done, not 100"
