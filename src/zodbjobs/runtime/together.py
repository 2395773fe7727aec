"""Together: transactional jobs that share a transaction, and so a commit, in one thread.

They run one behind the other, each behind a savepoint. What their effects, results and ends need
is written in one commit, by the rules of the groups of results. See `rerun` for what follows if
that can't be made.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from zodbjobs import defaults
from zodbjobs.errors import BadStatus
from zodbjobs.events import JobStarted
from zodbjobs.runtime import accidents, transactions
from zodbjobs.runtime.committer import Committer
from zodbjobs.runtime.context import Attempt, RunAlone
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import calls, followers, telling, unique
from zodbjobs.stored.lifecycle.attempt_result import WAITING, AttemptResult
from zodbjobs.stored.lifecycle.checkpoints import is_sweep
from zodbjobs.stored.lifecycle.claim import Claim

# Groups that don't write shared results, after one that did and couldn't be committed: another
# thread may write the same ones again and again.
_UNSHARED = 20

# As many jobs at least are thought to have a part in a commit.
_FEW = 20

# Callables that are known to be slow. A bound for memory; one that is forgotten is found again.
_MOST_SLOW = 1_000


class Disordered(Exception):
    """What a job did to the shared transaction can't be undone alone."""


class GivenAway(Exception):
    """Other threads have the jobs of the group, as this one was too long in one of them."""


class TakenAway(Exception):
    """A job of the group isn't this worker's any more, so that nothing of it was committed."""


class Member(NamedTuple):
    """A job whose call has returned, and whose effects aren't committed yet.

    `attempt`: None if it wasn't called, as it had expired. `begun`: what the end of the attempt is
    told with, if somebody was told that it begins.
    """

    result: AttemptResult
    attempt: Attempt | None
    begun: JobStarted | None = None


class _Guard:
    """A synchronizer that refuses to let a job end the transaction that it shares with others."""

    def __init__(self) -> None:
        self.is_open = False

    def newTransaction(self, txn: Any) -> None:
        """Nothing is to be done; a synchronizer has this method."""

    def beforeCompletion(self, txn: Any) -> None:
        """Raise BadStatus unless the group ends."""
        if self.is_open:
            raise BadStatus(
                "a transactional job must neither commit nor abort its transaction, which it "
                "shares with other jobs; take the mark zodbjobs.transactional off its callable"
            )

    def afterCompletion(self, txn: Any) -> None:
        """Nothing is to be done; a synchronizer has this method."""


class Together:
    """The open group of a thread: jobs that were called, in one transaction.

    Only its thread uses it, but for `take_away`. `is_open` is cheap: it is asked for each job.
    """

    def __init__(self, thread_session: ThreadSession, slot: Slot, committer: Committer) -> None:
        self._thread_session = thread_session
        self._slot = slot
        self._committer = committer
        self._guard = _Guard()
        self._members: list[Member] = []
        self._savepoint: Any = None
        self._since = 0.0
        self._must_commit = False
        self._unshared = 0  # groups that still don't write shared results
        self._seconds_each = 0.0  # what the last commit took for each of its jobs
        self._slow: set[str] = set()  # what took so long that nothing is to wait for it
        self._lock = threading.Lock()
        self._is_given_away = False
        self._is_committing = False
        self.is_open = False
        #: False: each job is committed alone.
        self.is_allowed = True

    @property
    def _manager(self) -> Any:
        return self._thread_session.manager

    # The group's jobs

    def may_begin(self, result: AttemptResult, attempt: Attempt, conflicts: int) -> bool:
        """Whether a job that has run, alone in its transaction, may wait there for others."""
        if not calls.is_transactional(attempt.job):
            return False
        is_slow = self._is_slow(attempt.job)
        if is_slow or conflicts or not self.is_allowed or accidents.arranged is not None:
            return False
        return (
            _may_share(result.claim, attempt.job)
            and not self._ends_with(result, attempt)
            and not self._slot.group.is_full(time.monotonic() - self._slot.seconds, 1)
        )

    def begin(
        self,
        result: AttemptResult,
        attempt: Attempt,
        hand_over: Callable[[], JobStarted | None],
    ) -> None:
        """Open a group with this job. Raises what a savepoint raises.

        `hand_over` returns what the end of the attempt is told with, which the group does from
        then on; it is called once the job is one of the group.
        """
        if not self._unshared:
            result.share(attempt.job)
        self._savepoint = self._made_savepoint()
        self._members = [Member(result, attempt, hand_over())]
        self._since = time.monotonic() - self._slot.seconds
        self._must_commit = self._is_given_away = self._is_committing = False
        self._manager.registerSynch(self._guard)
        self._guard.is_open = self.is_open = True

    def takes(self, claim: Claim) -> bool:
        """Whether a claimed job, as the open transaction has it, may run in that."""
        try:
            job = self._thread_session.session.record.job_of(claim)
            if job is None or not _may_share(claim, job) or not calls.is_transactional(job):
                return False
            return not self._slow or job.description not in self._slow
        except (Exception, SystemExit):  # what it is alone tells, when it is run
            return False

    def add(
        self,
        result: AttemptResult,
        attempt: Attempt | None,
        hand_over: Callable[[], JobStarted | None],
    ) -> None:
        """Add a job that has run in the open group, and commit if nobody may run behind it; for
        `hand_over` see `begin`.

        Raises RunAlone if it is to be run alone, Disordered if it has ended the transaction or
        its group was given away, and what a savepoint and a commit raise.
        """
        if attempt is not None and attempt.must_be_alone:
            raise RunAlone
        self._check_order()
        if attempt is not None and result.portable:
            self.roll_back()  # what it did until it was parked, too
        elif attempt is not None:
            if not self._unshared:
                result.share(attempt.job)
            self._must_commit = self._ends_with(result, attempt)
            if not self._must_commit:
                self._savepoint = self._made_savepoint()
            self._is_slow(attempt.job)
        with self._lock:
            if self._is_given_away:
                raise Disordered("others wait no longer for this job")
            self._members.append(Member(result, attempt, hand_over()))
        self._slot.seconds += self._seconds_each
        if self._must_commit:
            self.commit()

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit."""
        return self._slot.group.is_full(self._since, len(self._members))

    def roll_back(self) -> None:
        """Undo what the job that runs has done. Raises Disordered if that can't be done alone."""
        self._check_order()
        if not self._thread_session.is_plain():
            raise Disordered("a hook, or a note, isn't undone by a savepoint")
        self._savepoint.rollback()

    def _made_savepoint(self) -> Any:
        with transactions.only_errors():
            return self._manager.savepoint()

    def _check_order(self) -> None:
        if not self._thread_session.is_current():
            raise Disordered("a job has ended the transaction that it shared")
        if not self._savepoint.valid:
            raise Disordered("a job has gone back to a savepoint that another one had made")

    def _ends_with(self, result: AttemptResult, attempt: Attempt) -> bool:
        """Whether nobody is to run behind a job: what it left in the transaction isn't undone by a
        savepoint, or is taken away from the thread when it ends, or what follows its end may
        conflict.
        """
        return (
            attempt.must_be_alone
            or result.followed
            or result.goes_to is WAITING
            or not self._thread_session.is_plain()
        )

    def _is_slow(self, job: Job) -> bool:
        """Whether a job took so long that nothing is to wait for its like; that is remembered."""
        if self._slot.seconds > defaults.MOST_GROUP_SECONDS:
            if len(self._slow) >= _MOST_SLOW:
                self._slow.clear()
            self._slow.add(job.description)
            return True
        if self._slow:
            self._slow.discard(job.description)
        return False

    # Its end

    def commit(self) -> None:
        """Commit the effects, results and ends of all.

        Raises what the commit raises, TakenAway, and GivenAway; the group is open then until
        `give_up` closes it.
        """
        with self._lock:
            if self._is_given_away:
                raise GivenAway
            self._is_committing = True
        self._guard.is_open = False
        results = [member.result for member in self._members]
        spent = self._committer.commit(results, is_group=True)
        if spent is None:
            raise TakenAway(f"of {len(results)} jobs that ran together some were taken away")
        self._slot.group.committed(spent)
        # Where few were claimed a commit would seem dear, so that few would be claimed again.
        self._seconds_each = spent / max(len(results), _FEW)
        self._unshared = max(0, self._unshared - 1)
        members = self._members
        self._close()
        for member in members:
            if member.begun is not None:
                telling.attempt_ended(member.begun, member.result, 0)

    def give_up(self) -> list[Member]:
        """Drop what all have done, and close the group; the jobs that were in it, unless they
        were given away.
        """
        if not self.is_open:
            return []
        self._guard.is_open = False
        with self._lock:
            dropped = self._members
            members = [] if self._is_given_away else dropped
            self._is_given_away = True
        if any(member.result.shared is not None for member in members):
            self._unshared = _UNSHARED
        self._manager.abort()
        for member in dropped:
            if member.attempt is not None:  # what it did to its arguments isn't watched
                member.attempt.job._p_invalidate()
            if member.begun is not None:
                telling.attempt_ended(member.begun, None, 0)
        self._close()
        return members

    def _close(self) -> None:
        self.is_open = False
        self._members, self._savepoint = [], None
        with contextlib.suppress(KeyError):  # a job may have cleared the synchronizers
            self._manager.unregisterSynch(self._guard)

    def take_away(self) -> list[Claim]:
        """Take the jobs that wait for one that runs, to give them to other threads; called in
        another thread. What they did here is dropped, and with it what the one did that runs.
        """
        with self._lock:
            if not self.is_open or self._is_committing or self._is_given_away:
                return []
            self._is_given_away = True
            return [member.result.claim for member in self._members]


def _may_share(claim: Claim, job: Job) -> bool:
    """Whether a claimed job, if it is transactional, may run in a transaction with others.

    Not one that holds slots of quotas, for others wait for these; that was interrupted, for it
    may do so to others; that has hooks, which are called outside the transaction; that commits by
    itself, as a sweep; that has a unique key until it has ended, for one that runs behind it would
    find it taken, and put nothing; or that others follow, as what its end writes is written by
    others as well.
    """
    if claim.names or claim.interruptions or claim.too_late or is_sweep(job):
        return False
    if unique.is_unique_until_ended(job):
        return False
    return not calls.has_hooks(job) and not followers.is_followed(job)
