"""Every read that the edges share, the command line for one.

Each function takes a `place`: a connection, or any object stored in the database. It reads
in the caller's current transaction, writes nothing, and returns plain frozen values that
outlive the connection; but `stored_agents` gives stored objects, which can be changed. Raises
NotStored, NotInstalled or UnknownQueue like `get_queue`.
"""

from __future__ import annotations

from zodbjobs.insights.agents import find_agents, find_worker, jobs_for, stored_agents
from zodbjobs.insights.audit import list_audit
from zodbjobs.insights.conflicts import ConflictInfo, list_conflicts
from zodbjobs.insights.counting import most_jobs
from zodbjobs.insights.health import Health, Problem, check_health
from zodbjobs.insights.infos import (
    AttemptInfo,
    AuditEntry,
    JobDeed,
    JobDetails,
    JobInfo,
    Minute,
    PauseInfo,
    QueueStats,
    Times,
    WorkerInfo,
)
from zodbjobs.insights.jobs import find_job, job_details, job_info
from zodbjobs.insights.numbers import all_queue_stats, is_empty, list_workers, queue_stats
from zodbjobs.insights.periods import Period, list_periods
from zodbjobs.insights.quotas import QuotaInfo, list_quotas
from zodbjobs.insights.schedules import (
    RunInfo,
    ScheduleDetails,
    ScheduleInfo,
    list_schedules,
    schedule_details,
    schedule_lateness,
)
from zodbjobs.insights.search import JobList, list_jobs
from zodbjobs.insights.totals import (
    HeldJobs,
    Histogram,
    QueueTotals,
    ShardJobs,
    Totals,
    count_held,
    count_shard,
    read_totals,
)
from zodbjobs.insights.tree import TreeRow, job_tree

__all__ = [
    "AttemptInfo",
    "AuditEntry",
    "ConflictInfo",
    "Health",
    "HeldJobs",
    "Histogram",
    "JobDeed",
    "JobDetails",
    "JobInfo",
    "JobList",
    "Minute",
    "PauseInfo",
    "Period",
    "Problem",
    "QueueStats",
    "QueueTotals",
    "QuotaInfo",
    "RunInfo",
    "ScheduleDetails",
    "ScheduleInfo",
    "ShardJobs",
    "Times",
    "Totals",
    "TreeRow",
    "WorkerInfo",
    "all_queue_stats",
    "check_health",
    "count_held",
    "count_shard",
    "find_agents",
    "find_job",
    "find_worker",
    "is_empty",
    "job_details",
    "job_info",
    "job_tree",
    "jobs_for",
    "list_audit",
    "list_conflicts",
    "list_jobs",
    "list_periods",
    "list_quotas",
    "list_schedules",
    "list_workers",
    "most_jobs",
    "queue_stats",
    "read_totals",
    "schedule_details",
    "schedule_lateness",
    "stored_agents",
]
