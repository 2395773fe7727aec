"""What the demo puts in one go, and whether all of it ended as promised."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from ZODB.blob import Blob

from zodbjobs.cli import portal
from zodbjobs.interfaces import FAILED, SUCCEEDED
from zodbjobs.manager import compute
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle.root import get_queue

#: Small jobs that are put.
SMALL = 2_000

#: When the late job is due.
LATE = timedelta(seconds=3)

_FEE = 250
_UNKNOWN = "X25000000"
_NUMBER = 23


@dataclass(frozen=True)
class Orders:
    """The jobs that were put, and the balances of the students before.

    `charged`: the matric number of each of the `small` jobs. `names`: what the jobs are
    called on the screen; the last one is of the small ones together.
    """

    export: Job
    compute: Job
    failing: Job
    late: Job
    small: list[Job]
    charged: list[str]
    before: dict[str, int]
    names: tuple[str, ...]

    def named(self) -> list[tuple[str, Job]]:
        """The jobs that are shown one by one."""
        return list(
            zip(self.names, (self.export, self.compute, self.failing, self.late), strict=False)
        )

    def all(self) -> list[Job]:
        """Every job."""
        return [self.export, self.compute, self.failing, self.late, *self.small]


def put_all(connection: Any, seconds: float) -> Orders:
    """Put all jobs in one transaction."""
    for attempt in connection.transaction_manager.attempts(5):
        with attempt:
            orders = _put(connection, seconds)
    return orders


def _put(connection: Any, seconds: float) -> Orders:
    root = connection.root()
    the_portal, students = root["portal"], root["students"]
    queue = get_queue(connection)
    charged = list(islice(cycle(islice(students, SMALL)), SMALL))
    payments = [(charged[0], 10 * _FEE), (_UNKNOWN, _FEE)]
    return Orders(
        export=queue.put(ProgressableJob(portal.export_students, the_portal, students)),
        compute=queue.put(ProgressableJob(compute, _NUMBER, seconds)),
        failing=queue.put(Job(portal.import_payments, students, payments)),
        late=queue.put(Job(portal.close_registration, the_portal), begin_after=LATE),
        # A lower priority, so that a thread takes the others first.
        small=queue.put_many(
            [Job(portal.charge, students[matric], _FEE) for matric in charged], priority=-1
        ),
        charged=charged,
        before={matric: students[matric]["balance"] for matric in charged},
        names=(
            f"export {len(students):,} students",
            f"compute({_NUMBER}), {seconds:g} s",
            "import bad payments",
            "close registration",
            f"charge {SMALL:,} times",
        ),
    )


def broken_promises(connection: Any, orders: Orders) -> list[str]:
    """What didn't end as promised, a line each."""
    root = connection.root()
    return [
        *_of_export(orders, root["students"]),
        *_of_compute(orders),
        *_of_failing(orders),
        *_of_late(orders, root["portal"]),
        *_of_small(orders, root["students"]),
    ]


def exported(job: Job) -> list[str] | None:
    """The matric numbers in the file that the export left, or None without a file."""
    if not isinstance(job.result, Blob):
        return None
    with Path(job.result.committed()).open(encoding="utf-8", newline="") as file:
        return [row["matric_number"] for row in csv.DictReader(file)]


def _of_export(orders: Orders, students: Any) -> Iterator[str]:
    yield from _ended(orders.export, "the export", SUCCEEDED)
    yield from _told_100(orders.export, "the export")
    rows = exported(orders.export)
    if rows is None:
        yield "the export left no file"
    elif rows != list(students):
        yield f"the CSV's {len(rows):,} rows aren't those of the {len(students):,} students"


def _of_compute(orders: Orders) -> Iterator[str]:
    yield from _ended(orders.compute, "the test job", SUCCEEDED)
    yield from _told_100(orders.compute, "the test job")
    if orders.compute.result != 2 * _NUMBER:
        yield f"the test job returned {orders.compute.result!r}, not {2 * _NUMBER}"


def _of_failing(orders: Orders) -> Iterator[str]:
    yield from _ended(orders.failing, "the import of bad payments", FAILED)
    result = orders.failing.result
    if not isinstance(result, Failure) or _UNKNOWN not in result.message:
        yield f"the failure doesn't tell of {_UNKNOWN}: {result}"


def _of_late(orders: Orders, the_portal: portal.Record) -> Iterator[str]:
    yield from _ended(orders.late, "the late job", SUCCEEDED)
    started, due = orders.late.started, orders.late.begin_after
    if started is not None and due is not None and started < due:
        yield f"the late job began {(due - started).total_seconds():.3f} s before its time"
    if the_portal["registration"] != "closed":
        yield f"registration is {the_portal['registration']}, not closed"


def _of_small(orders: Orders, students: Any) -> Iterator[str]:
    outcomes = Counter(job.outcome or job.status for job in orders.small)
    if outcomes != {SUCCEEDED: SMALL}:
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
        yield f"of {SMALL:,} small jobs are {counts}"
    # A student may have been charged several times: each time must be in the results once.
    found = sorted(
        (matric, job.result)
        for matric, job in zip(orders.charged, orders.small, strict=True)
        if job.outcome == SUCCEEDED
    )
    times = Counter(orders.charged)
    due = sorted(
        (matric, orders.before[matric] + _FEE * number)
        for matric, count in times.items()
        for number in range(1, count + 1)
    )
    wrong = len(set(due) - set(found))
    if found != due:
        yield f"{wrong:,} small jobs didn't return what the student owes then"
    wrong = sum(
        students[matric]["balance"] != orders.before[matric] + _FEE * count
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
