"""What waits for what: a job with those that it waits for, its parts and its callbacks."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any

from zodbjobs.errors import BadArgument
from zodbjobs.insights.infos import MOST_BLOCKERS, Info, JobInfo
from zodbjobs.insights.jobs import find_job, job_info, unreadable_reason
from zodbjobs.stored.composition import Composition
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import after, followers

#: Rows of a tree.
MOST_ROWS = 200

ITSELF = "itself"
WAITS_FOR = "waits for"
PART = "part"
CALLBACK = "callback"


@dataclasses.dataclass(frozen=True)
class TreeRow(Info):
    """A job of a tree, `depth` below the one that was asked for.

    `relation` to the row above with a smaller depth: 'waits for' (that one waits for this), 'part'
    (of a composition), 'callback'; 'itself' for the first row.
    """

    depth: int
    relation: str
    job: JobInfo


def job_tree(place: Any, job_id: str) -> list[TreeRow]:
    """The job with that decimal id, and below it what it still waits for, its parts, and its
    callbacks, with theirs.

    At most 20 of each kind below one job, 200 rows in all. Raises BadArgument if there is none.
    """
    root = find_job(place, job_id)
    if root is None:
        raise BadArgument(f"there is no job {job_id} in the database; list_jobs lists the ids")
    rows: list[TreeRow] = []
    seen: set[int] = set()
    todo: list[tuple[int, str, Job]] = [(0, ITSELF, root)]
    while todo and len(rows) < MOST_ROWS:
        depth, relation, job = todo.pop()
        rows.append(TreeRow(depth, relation, job_info(job)))
        if id(job) in seen or unreadable_reason(job):
            continue
        seen.add(id(job))
        parts = tuple(job.args) if isinstance(job, Composition) else ()
        below = [
            *((WAITS_FOR, each) for each in islice(after.blockers(job), MOST_BLOCKERS)),
            *((PART, each) for each in islice(parts, MOST_BLOCKERS)),
            *((CALLBACK, each) for each in islice(followers.direct(job), MOST_BLOCKERS)),
        ]
        todo += [(depth + 1, word, each) for word, each in reversed(below)]
    return rows
