"""Operations for operators: cancel, retry, remove and forget, of one job or many; pause, resume
and drain, of a queue; change, add and remove, of the agents of a worker; create, edit, pause,
resume, run and remove, of schedules.

The command line uses them. Each function takes the open ZODB.DB. Those of jobs take ids, and
return an `OperationResult` for each, in their order; an id that is given twice is one.

The functions commit. They work in transactions of their own on a connection of their own, up
to OPERATION_BATCH jobs in each. What the caller has not committed isn't seen and stays as it
is; the caller sees what was done in its next transaction. `zodbjobs.operations.deeds`,
`agent_deeds` and `schedule_deeds` do the same in the caller's transaction, as the pages do it in
that of a request.

One bad job stops no other: when a transaction fails, each half of its jobs gets one of its
own, down to a job alone, and that one is refused with the reason. A conflict is retried
before. What isn't the fault of a job is raised: NotInstalled without queues, and what the
storage raises if it is away, full or read-only. What was committed before that stays done.

Each is noted in the audit trail, in the transaction that does it: `by` is the id of who does it,
None for code that doesn't say, and `why` a reason in words. `zodbjobs.insights.list_audit` reads
it.
"""

from __future__ import annotations

from zodbjobs.operations.committing import (
    act,
    add_agent,
    cancel,
    change_agent,
    change_quota,
    drain,
    forget,
    pause,
    remove,
    remove_agent,
    resume,
    retry,
)
from zodbjobs.operations.matching import act_on_matching
from zodbjobs.operations.results import OperationResult
from zodbjobs.operations.schedules import (
    create_schedule,
    edit_schedule,
    pause_schedule,
    remove_schedule,
    resume_schedule,
    run_schedule,
)

__all__ = [
    "OperationResult",
    "act",
    "act_on_matching",
    "add_agent",
    "cancel",
    "change_agent",
    "change_quota",
    "create_schedule",
    "drain",
    "edit_schedule",
    "forget",
    "pause",
    "pause_schedule",
    "remove",
    "remove_agent",
    "remove_schedule",
    "resume",
    "resume_schedule",
    "retry",
    "run_schedule",
]
