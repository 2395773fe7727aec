"""The jobs of the demo, which are put in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice
from typing import Any

from zodbjobs.demo import portal
from zodbjobs.manager import compute
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle.root import get_queue, get_queues
from zodbjobs.stored.schedule import Schedule
from zodbjobs.stored.sweep import Sweep

#: Small jobs that are put.
SMALL = 2_000

#: When the late job is due.
LATE = timedelta(seconds=3)

#: How often the schedule puts a job.
EVERY = timedelta(seconds=1)

#: What a student is charged at a time.
FEE = 250

#: The matric number of a payment that is of no student.
UNKNOWN = "X25000000"

#: The argument of the test job.
NUMBER = 23


@dataclass(frozen=True)
class Workload:
    """The jobs that were put, the schedule that was made, and the balances of the students before.

    `charged`: the matric number of each of the `small` jobs. `names`: what the jobs are
    called on the screen; the last one is of the small ones together.
    """

    export: Job
    compute: Job
    failing: Job
    late: Job
    cards: Sweep
    bell: Schedule
    small: list[Job]
    charged: list[str]
    before: dict[str, int]
    names: tuple[str, ...]

    def named(self) -> list[tuple[str, Job]]:
        """The jobs that are shown one by one."""
        return list(zip(self.names, self._single(), strict=False))

    def all(self) -> list[Job]:
        """Every job, but for those that the schedule puts."""
        return [*self._single(), *self.small]

    def _single(self) -> list[Job]:
        return [self.export, self.compute, self.failing, self.late, self.cards]


def put_all(connection: Any, seconds: float) -> Workload:
    """Put all jobs, and make the schedule, in one transaction and commit.

    `seconds` is how long the test job computes.
    Raises ConflictError if five attempts conflict.
    """
    for attempt in connection.transaction_manager.attempts(5):
        with attempt:
            workload = _put(connection, seconds)
    return workload


def _put(connection: Any, seconds: float) -> Workload:
    root = connection.root()
    the_portal, students = root["portal"], root["students"]
    queue = get_queue(connection)
    charged = list(islice(cycle(islice(students, SMALL)), SMALL))
    payments = [(charged[0], 10 * FEE), (UNKNOWN, FEE)]
    cards = Sweep(students, portal.issue_card, root["cards"])
    queue.put(cards)
    return Workload(
        export=queue.put(ProgressableJob(portal.export_students, the_portal, students)),
        compute=queue.put(ProgressableJob(compute, NUMBER, seconds)),
        failing=queue.put(Job(portal.import_payments, students, payments)),
        late=queue.put(Job(portal.close_registration, the_portal), begin_after=LATE),
        cards=cards,
        bell=get_queues(connection).schedules.create(
            "bell", Job(portal.ring, root["bell"]), every=EVERY
        ),
        # A lower priority, so that a thread takes the others first.
        small=queue.put_many(
            [Job(portal.charge, students[matric], FEE) for matric in charged], priority=-1
        ),
        charged=charged,
        before={matric: students[matric]["balance"] for matric in charged},
        names=(
            f"export {len(students):,} students",
            f"compute({NUMBER}), {seconds:g} s",
            "import bad payments",
            "close registration",
            f"issue {len(students):,} cards",
            f"charge {SMALL:,} times",
        ),
    )
