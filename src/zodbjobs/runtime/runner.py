"""Runner: runs claimed jobs one after the other in one thread, each in a clean transaction."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.errors import Snooze
from zodbjobs.runtime import accidents, policy, transactions
from zodbjobs.runtime.accidents import AFTER_COMMIT, BEFORE_COMMIT
from zodbjobs.runtime.attempting import Attempting, MissedTurn
from zodbjobs.runtime.checkpoint import Checkpoints
from zodbjobs.runtime.cleanup import ThreadCleaner
from zodbjobs.runtime.committer import Committer, Report
from zodbjobs.runtime.measures import CHECKPOINT, JOB, TOGETHER
from zodbjobs.runtime.rerun import Fault, Groups
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import abilities, errors
from zodbjobs.runtime.sweeping import Tools
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.runtime.together import Together
from zodbjobs.runtime.transactions import Backoff, Stopped
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")

# Held by a job that has conflicted several times: those that keep conflicting with each
# other run one after the other.
_alone = threading.Lock()

# Held while a runner gives that up, which may be done for it.
_giving_up = threading.Lock()


class Runner:
    """Runs the jobs of one worker in the thread that makes it.

    `slot` shows others what it does. `report` is given what is committed. While the storage is
    unavailable it waits, until `stopping` is set.
    """

    def __init__(
        self,
        db: Any,
        thread_session: ThreadSession,
        slot: Slot,
        report: Report,
        stopping: threading.Event,
    ) -> None:
        self._db = db
        self._thread_session = thread_session
        self._slot = slot
        self._backoff = Backoff(stopping)
        self._is_alone = False
        self._cleaner = ThreadCleaner()
        commits_wait = abilities.is_for_one_process(db)
        self._committer = Committer(thread_session, slot, report, self._backoff, commits_wait)
        self._together = Together(thread_session, slot, self._committer)
        checkpoints = Checkpoints(thread_session, self._committer, stopping, self.let_others)
        tools = Tools(checkpoints, stopping, self._prepare_batch_again)
        self._attempting = Attempting(thread_session, slot, report, self._together, tools)
        self._groups = Groups(self._together, self._attempt_behind, self._run_alone, self._recover)

    @property
    def slot(self) -> Slot:
        """What the others see of this thread."""
        return self._slot

    @property
    def thread_session(self) -> ThreadSession:
        """The thread's session."""
        return self._thread_session

    @property
    def must_poll(self) -> bool:
        """Whether it has to ask a server for the commits of others."""
        return self._thread_session.must_poll

    @property
    def is_clean(self) -> bool:
        """Whether the thread may run another job: False once a cleaner has failed in it."""
        return self._cleaner.is_clean

    def run(self, claim: Claim) -> None:
        """Run a claimed job to its end, and commit it or leave it for the next flush.

        Raises Stopped if the worker stops while the storage is unavailable.
        """
        self._slot.seconds = self._slot.shareable = 0.0
        if not self._together.is_open or not self._groups.run(claim):
            self._run_alone(claim)

    def _run_alone(self, claim: Claim, fault: Fault | None = None) -> None:
        """Run a claimed job in transactions of its own; `fault`: what came of the first one."""
        self._slot.seconds = self._slot.shareable = 0.0
        self._attempting.turn = claim.turn
        self._backoff.is_over()
        conflicts = 0
        try:
            while True:
                try:
                    if fault is not None:
                        self._slot.attempt = fault.member.attempt
                        raised, fault = fault.error, None
                        raise raised
                    # Context variables have their defaults in it, as in a new thread.
                    result = Context().run(self._attempt_and_commit, claim, conflicts)
                    break
                except MissedTurn:
                    continue
                except Exception as error:
                    if errors.is_unavailable(error):
                        self._backoff.wait(error)
                        continue
                    conflicts = self._counted(error, conflicts)
                    attempt = self._slot.attempt
                    if attempt is not None and attempt.timed_out:
                        self._attempting.drop(claim, attempt)
                        result = None
                        break
                    if not policy.outlasts_conflict(attempt and attempt.policy, error, conflicts):
                        result = Context().run(self._give_up, claim, error, conflicts)
                        self._attempting.led_to = result
                        break
                    self._attempting.tell_conflict(conflicts, error)
                    self._prepare_again(error, conflicts)
                finally:
                    self._slot.attempt = None
            # Before what follows it, which the commit may put.
            self._attempting.tell_end(conflicts)
            if result is not None:
                self._committer.keep(result)
            if accidents.arranged is not None:
                accidents.arranged(AFTER_COMMIT)
        finally:
            self._attempting.tell_end(conflicts)
            if self._is_alone:
                self.let_others()

    def _attempt_and_commit(self, claim: Claim, conflicts: int) -> AttemptResult | None:
        """Call the job once, and commit or abort what it did; the result if that may wait to be
        committed with others.
        """
        # Also before: other code runs in this thread between jobs, as when they are loaded ahead.
        self._cleaner.clean()
        attempting = self._attempting
        try:
            result = attempting.led_to = attempting.run(claim, conflicts)
            if accidents.arranged is not None:
                accidents.arranged(BEFORE_COMMIT)
            attempt = self._slot.attempt
            if self._together.is_open:
                if result is not None:
                    self._together.add(result, attempt, attempting.hand_over)
                return None
            if result is None or result.portable:
                return result
            if attempt is not None and self._together.may_begin(result, attempt, conflicts):
                self._together.begin(result, attempt, attempting.hand_over)
            else:
                self._commit(result)
        except BaseException as error:
            attempting.broke_off(error)
            raise
        finally:
            attempting.leave()
            self._cleaner.clean()
        return None

    def _commit(self, result: AttemptResult) -> None:
        """Commit what the job did with its result, unless it was taken away."""
        if self._committer.commit([result]) is None:
            self._attempting.drop(result.claim, self._slot.attempt)

    # When a commit can't be made

    def _counted(self, error: Exception, conflicts: int) -> int:
        """How many times the commit wasn't made, with this one."""
        attempt = self._slot.attempt
        if errors.is_transient(error):
            self._slot.measures.conflicted(JOB)
            self._slot.conflicts.note(error, attempt, self._thread_session)
        return 1 + (conflicts if attempt is None else attempt.conflicts)

    def _give_up(self, claim: Claim, error: Exception, conflicts: int) -> AttemptResult | None:
        """The commit can't be made: what the job did is dropped with it. None if it was taken away
        meanwhile: then whoever did so has said what becomes of the job.
        """
        attempting, is_taken = self._attempting, False
        with contextlib.suppress(Exception):  # else who commits what follows sees it
            is_taken = attempting.is_taken(claim)
        if is_taken:
            attempting.drop(claim, self._slot.attempt)
            return None
        if not isinstance(error, Snooze):
            log.error("the commit of %s failed", claim, exc_info=not errors.is_transient(error))
        attempt = self._slot.attempt
        started = clock.now() if attempt is None else attempt.started
        try:
            return attempting.failed(claim, error, started, conflicts - 1, policy.COMMIT_ERROR)
        finally:
            self._cleaner.clean()

    def _prepare_again(self, error: Exception, conflicts: int) -> None:
        """Wait, and see to it that the next attempt has a better chance."""
        self._renew(error)
        if conflicts == defaults.CONFLICTS_TOGETHER and not self._is_alone:
            self._is_alone = _alone.acquire()
        transactions.pause(conflicts)

    def _prepare_batch_again(self, error: Exception, conflicts: int) -> None:
        """The same for a batch of a Sweep, which alone is done again."""
        self._slot.measures.conflicted(CHECKPOINT)
        self._slot.conflicts.note(error, self._slot.attempt, self._thread_session)
        self._prepare_again(error, conflicts)

    def _renew(self, error: Exception) -> None:
        """Replace what can't be used any more after an error of a commit."""
        if errors.is_used_id(error):
            abilities.skip_ids(self._db)
        if errors.poisons(error):
            self._thread_session.reopen(self._backoff)

    def let_others(self) -> None:
        """Run no longer alone among the jobs that keep conflicting; called in any thread."""
        with _giving_up:
            if self._is_alone:
                self._is_alone = False
                _alone.release()

    # Jobs that share a commit

    def _attempt_behind(self, claim: Claim) -> None:
        """Call the job once, in the transaction of those that ran before it."""
        self._attempting.turn = None  # a job with quotas shares no transaction
        self._slot.seconds = self._slot.shareable = 0.0
        try:
            Context().run(self._attempt_and_commit, claim, 0)
        finally:
            self._slot.attempt = None
            self._attempting.tell_end(0)

    def _recover(self, error: Exception) -> None:
        """See to it that the next transaction has a better chance; raises Stopped."""
        if errors.is_unavailable(error):
            self._backoff.wait(error)
        elif errors.is_transient(error):
            self._slot.measures.conflicted(TOGETHER)
        self._renew(error)

    def end_group(self) -> None:
        """Commit what jobs did together in the transaction that is open; raises Stopped."""
        self._groups.end()

    def unfinished(self) -> list[Claim]:
        """Drop what jobs did together; the claims of all that is to be run again."""
        return self._groups.unfinished()

    def take_group(self) -> list[Claim]:
        """Take the jobs that wait for one that runs: those whose effects do, and those that are to
        be run again; called in another thread, which gives them to others.
        """
        return self._groups.take_away()

    # Between jobs

    def flush(self) -> None:
        """Commit the results that wait, and what jobs did together; raises Stopped."""
        self.end_group()
        self._committer.flush()

    def load_ahead(self, claims: Sequence[Claim]) -> int:
        """Load jobs that are run next, which is cheaper at once than one by one; how many."""
        self.end_group()  # it is done in a transaction of its own
        return self._thread_session.load_ahead(claims)

    def catch_up(self) -> None:
        """Take note of the commits of others."""
        self._thread_session.catch_up()

    def close(self) -> None:
        """Commit what waits and close the connection."""
        try:
            self.flush()
        except Stopped:
            log.warning("the storage is unavailable; what was not committed will be run again")
        self._thread_session.close()
