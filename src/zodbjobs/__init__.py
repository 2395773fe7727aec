"""Background jobs for applications that keep their data in a ZODB.

A job is put in the same transaction as the data, runs with the live objects, and its
effects, its result and its completion are one commit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zodbjobs import (
        context,
        errors,
        events,
        insights,
        interfaces,
        redaction,
        references,
        sweep,
        testing,
    )
    from zodbjobs.errors import Snooze
    from zodbjobs.installer import (
        JobContainerInstaller,
        QueueInstaller,
        install,
        job_container_installer,
        multidb_job_container_installer,
        multidb_queue_installer,
        queue_installer,
    )
    from zodbjobs.lists import jobs_about, jobs_in, jobs_of
    from zodbjobs.manager import JobManager, compute, get_job_id
    from zodbjobs.marking import transactional
    from zodbjobs.runtime import cleanup, local
    from zodbjobs.runtime.worker import Worker
    from zodbjobs.stored.agents import Agent
    from zodbjobs.stored.composition import parallel, serial
    from zodbjobs.stored.container import JobContainer
    from zodbjobs.stored.failure import Failure
    from zodbjobs.stored.job import Job, ProgressableJob
    from zodbjobs.stored.lifecycle.root import get_queue, get_queues
    from zodbjobs.stored.result_of import result_of
    from zodbjobs.stored.retry import NeverRetry, Retry, RetryForever
    from zodbjobs.stored.schedule import Schedule
    from zodbjobs.stored.secret import Secret
    from zodbjobs.stored.sweep import Sweep

# Where each public name lives; loaded when it is first asked for.
_HOMES = {
    "Agent": "zodbjobs.stored.agents",
    "Failure": "zodbjobs.stored.failure",
    "Job": "zodbjobs.stored.job",
    "JobContainer": "zodbjobs.stored.container",
    "JobContainerInstaller": "zodbjobs.installer",
    "JobManager": "zodbjobs.manager",
    "NeverRetry": "zodbjobs.stored.retry",
    "ProgressableJob": "zodbjobs.stored.job",
    "QueueInstaller": "zodbjobs.installer",
    "Retry": "zodbjobs.stored.retry",
    "RetryForever": "zodbjobs.stored.retry",
    "Schedule": "zodbjobs.stored.schedule",
    "Secret": "zodbjobs.stored.secret",
    "Snooze": "zodbjobs.errors",
    "result_of": "zodbjobs.stored.result_of",
    "Worker": "zodbjobs.runtime.worker",
    "compute": "zodbjobs.manager",
    "get_job_id": "zodbjobs.manager",
    "parallel": "zodbjobs.stored.composition",
    "serial": "zodbjobs.stored.composition",
    "Sweep": "zodbjobs.stored.sweep",
    "get_queue": "zodbjobs.stored.lifecycle.root",
    "get_queues": "zodbjobs.stored.lifecycle.root",
    "install": "zodbjobs.installer",
    "job_container_installer": "zodbjobs.installer",
    "jobs_about": "zodbjobs.lists",
    "jobs_in": "zodbjobs.lists",
    "jobs_of": "zodbjobs.lists",
    "multidb_job_container_installer": "zodbjobs.installer",
    "multidb_queue_installer": "zodbjobs.installer",
    "queue_installer": "zodbjobs.installer",
    "transactional": "zodbjobs.marking",
}
_MODULES = {
    "cleanup": "zodbjobs.runtime.cleanup",
    "context": "zodbjobs.context",
    "errors": "zodbjobs.errors",
    "events": "zodbjobs.events",
    "insights": "zodbjobs.insights",
    "interfaces": "zodbjobs.interfaces",
    "local": "zodbjobs.runtime.local",
    "redaction": "zodbjobs.redaction",
    "references": "zodbjobs.references",
    "sweep": "zodbjobs.sweep",
    "testing": "zodbjobs.testing",
}

__all__ = [
    "Agent",
    "Failure",
    "Job",
    "JobContainer",
    "JobContainerInstaller",
    "JobManager",
    "NeverRetry",
    "ProgressableJob",
    "QueueInstaller",
    "Retry",
    "RetryForever",
    "Schedule",
    "Secret",
    "Snooze",
    "Sweep",
    "Worker",
    "cleanup",
    "compute",
    "context",
    "errors",
    "events",
    "get_job_id",
    "get_queue",
    "get_queues",
    "insights",
    "install",
    "interfaces",
    "job_container_installer",
    "jobs_about",
    "jobs_in",
    "jobs_of",
    "local",
    "multidb_job_container_installer",
    "multidb_queue_installer",
    "parallel",
    "queue_installer",
    "redaction",
    "references",
    "result_of",
    "serial",
    "sweep",
    "testing",
    "transactional",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("zodbjobs")
    if name in _MODULES:
        found: Any = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'zodbjobs' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
