"""Loading: the job of a claim, unless it was taken away or can't be run."""

from __future__ import annotations

import contextlib
import logging

from ZODB.broken import Broken
from ZODB.POSException import POSKeyError

from zodbjobs.errors import TimedOut
from zodbjobs.interfaces import CANCELLED
from zodbjobs.runtime.committer import Report
from zodbjobs.runtime.storage import errors
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.stored.failure import dotted_name
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import attempt_result, completion, pausing
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")

_TIMED_OUT = dotted_name(TimedOut)


class Loading:
    """Loads the jobs of claims in the thread of a runner; `report` is given what becomes of those
    that aren't to be run.
    """

    def __init__(self, thread_session: ThreadSession, report: Report) -> None:
        self._thread_session = thread_session
        self._report = report

    def job_of(self, claim: Claim, now: int, conflicts: int) -> Job | None:
        """The job, if it is still this worker's and can be run at all."""
        thread_session = self._thread_session
        job: Job | None = thread_session.session.record.job_of(claim)
        if job is None:
            # The snapshot may be older than the claim: on RelStorage, or after an outage.
            thread_session.begin()
            job = thread_session.session.record.job_of(claim)
        if job is None:
            if conflicts:
                self.tell_taken(claim)
            else:
                log.info("%s was taken away before it began", claim)
            self._report([], [claim])
            return None
        try:
            job._p_activate()
        except (Exception, SystemExit) as error:  # a module that is imported may call sys.exit
            if errors.is_transient(error) or errors.is_disconnect(error):
                raise
            log.critical("%s can't be loaded, it is parked", claim, exc_info=True)
            self._report([attempt_result.parked(claim, None, now)])
            return None
        if isinstance(job, Broken):
            log.error("%r is parked: its class is missing in this process", job)
            self._report([attempt_result.parked(claim, None, now)])
            return None
        if completion.waits_for_returned(job):
            self._report([attempt_result.stored_wait(claim, now)])
            return None
        if completion.has_own_end(job):
            # As after a commit of which the connection was lost before it was confirmed.
            log.error("%r had already ended when it was to be run", job)
            self._report([attempt_result.stored_end(claim, job)])
            return None
        if not conflicts and not claim.too_late:
            pause = pausing.pause_of(thread_session.session.queue_of(claim), job)
            if pause is not None:
                self._report([attempt_result.paused(claim, pause.match, now)])
                return None
        return job

    def is_taken(self, claim: Claim) -> bool:
        """Whether the job isn't this worker's any more, as the transaction that begins has it."""
        self._thread_session.begin()
        return self._thread_session.session.record.job_of(claim) is None

    def tell_taken(self, claim: Claim) -> None:
        """Tell of a job that was taken away while it ran: by a cancellation, for its timeout, of
        which the dispatcher may not have told yet, or by a rescue.
        """
        # By its id alone it isn't known which database has it.
        for connection in self._thread_session.session.record._p_jar.connections.values():
            with contextlib.suppress(POSKeyError):  # it was forgotten, and the database packed
                job = connection.get(claim.oid)
                if isinstance(job, Job) and (why := _why_taken(job)) is not None:
                    log.info("%s %s; what it did here is dropped", claim, why)
                    return
        log.error("%s was taken from this worker; what it did here is dropped", claim)


def _why_taken(job: Job) -> str | None:
    """Why a job was taken away while it ran, if nothing is wrong about that."""
    if job.outcome == CANCELLED:
        return "was cancelled"
    past = job.past_attempts[-1:]
    timed_out = [each.failure and each.failure.type for each in past] == [_TIMED_OUT]
    return "had timed out" if timed_out else None
