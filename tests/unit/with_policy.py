"""Jobs with a retry policy, put and run."""

from __future__ import annotations

from typing import Any

import transaction

import zodbjobs
from zodbjobs.testing import run_jobs


def put(queue: Any, job: zodbjobs.Job, policy: Any = None, **terms: Any) -> zodbjobs.Job:
    """Put with a policy, and commit."""
    job.retry_policy = policy
    queue.put(job, **terms)
    transaction.commit()
    return job


def run(db: Any) -> int:
    """Run what is due, and begin a transaction that sees it."""
    number = run_jobs(db)
    transaction.begin()
    return number
