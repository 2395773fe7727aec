"""Runner: runs claimed jobs one after the other in one thread, each in a clean transaction."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import Context
from typing import Any

from transaction.interfaces import TransientError
from ZODB.broken import Broken
from ZODB.POSException import POSKeyError

from zodbjobs import clock, defaults
from zodbjobs.context.registry import restored
from zodbjobs.errors import (
    Cancelled,
    ContextGone,
    GivenBack,
    MissingCode,
    Snooze,
    TimedOut,
)
from zodbjobs.events import JobStarted
from zodbjobs.interfaces import CANCELLED, EXPIRED, FAILED, SUCCEEDED
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.runtime import accidents, policy, transactions, turns
from zodbjobs.runtime.accidents import AFTER_COMMIT, BEFORE_CALL, BEFORE_COMMIT, Died
from zodbjobs.runtime.checkpoint import Checkpoints
from zodbjobs.runtime.cleanup import ThreadCleaner
from zodbjobs.runtime.committer import Committer, Report
from zodbjobs.runtime.context import Attempt, RunAlone, current
from zodbjobs.runtime.measures import CHECKPOINT, JOB, TOGETHER
from zodbjobs.runtime.rerun import Fault, Groups
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import abilities, errors
from zodbjobs.runtime.sweeping import Sweeping, Tools
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.runtime.together import Together
from zodbjobs.runtime.transactions import Backoff, Stopped
from zodbjobs.stored.failure import Failure, dotted_name
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import (
    after,
    attempt_result,
    calls,
    completion,
    pausing,
    referring,
    surroundings,
    telling,
)
from zodbjobs.stored.lifecycle.attempt_result import (
    HISTORY,
    WAITING,
    AttemptResult,
)
from zodbjobs.stored.lifecycle.checkpoints import is_sweep
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.rates import Turn
from zodbjobs.stored.lifecycle.storable import is_simple, portable_copy

log = logging.getLogger("zodbjobs")

_TIMED_OUT = dotted_name(TimedOut)

# Held by a job that has conflicted several times: those that keep conflicting with each
# other run one after the other.
_alone = threading.Lock()

# Held while a runner gives that up, which may be done for it.
_giving_up = threading.Lock()


class _CantRunHere(Exception):
    """Something that a job needs isn't there in this process."""


class _MissedTurn(Exception):
    """The job may not begin any more in the turn that it has by the rates of its quotas."""


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
        self._report = report
        self._stopping = stopping
        self._backoff = Backoff(stopping)
        self._is_alone = False
        self._cleaner = ThreadCleaner()
        self._hooks: calls.Hooks | None = None  # of the attempt, if its job has any
        self._turn: Turn | None = None  # of the job, if its quotas have rates
        self._context: ExitStack | None = None  # what the attempt runs in, while it does
        self._begun: JobStarted | None = None  # what the end of the attempt is told with
        self._led_to: AttemptResult | None = None  # None if what it did is dropped
        commits_wait = abilities.is_for_one_process(db)
        self._committer = Committer(thread_session, slot, report, self._backoff, commits_wait)
        self._checkpoints = Checkpoints(thread_session, self._committer, stopping, self.let_others)
        self._together = Together(thread_session, slot, self._committer)
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

    def flush(self) -> None:
        """Commit the results that wait, and what jobs did together; raises Stopped."""
        self.end_group()
        self._committer.flush()

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

    def close(self) -> None:
        """Commit what waits and close the connection."""
        try:
            self.flush()
        except Stopped:
            log.warning("the storage is unavailable; what was not committed will be run again")
        self._thread_session.close()

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
        self._turn = claim.turn
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
                except _MissedTurn:
                    continue
                except Exception as error:
                    if errors.is_unavailable(error):
                        self._backoff.wait(error)
                        continue
                    attempt = self._slot.attempt
                    if attempt is not None:
                        conflicts = attempt.conflicts
                    conflicts += 1
                    if errors.is_transient(error):
                        self._slot.measures.conflicted(JOB)
                        self._slot.conflicts.note(error, attempt, self._thread_session)
                    if attempt is not None and attempt.timed_out:
                        self._drop(claim, attempt)
                        result = None
                        break
                    if not policy.outlasts_conflict(attempt and attempt.policy, error, conflicts):
                        result = self._led_to = Context().run(
                            self._give_up, claim, error, conflicts
                        )
                        break
                    if self._begun is not None:
                        telling.conflicted(self._begun, conflicts, error)
                    self._prepare_again(error, conflicts)
                finally:
                    self._slot.attempt = None
            self._tell_end(conflicts)  # before what follows it, which the commit may put
            if result is not None:
                self._committer.keep(result)
            if accidents.arranged is not None:
                accidents.arranged(AFTER_COMMIT)
        finally:
            self._tell_end(conflicts)
            if self._is_alone:
                self.let_others()

    def _handed_over(self) -> JobStarted | None:
        """What the end of the attempt is told with, by its group."""
        begun, self._begun = self._begun, None
        return begun

    def _tell_end(self, conflicts: int) -> None:
        """Tell what the attempt has led to, if somebody was told that it begins."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            telling.attempt_ended(begun, self._led_to, conflicts)

    def let_others(self) -> None:
        """Run no longer alone among the jobs that keep conflicting; called in any thread."""
        with _giving_up:
            if self._is_alone:
                self._is_alone = False
                _alone.release()

    def _give_up(self, claim: Claim, error: Exception, conflicts: int) -> AttemptResult | None:
        """The commit can't be made: what the job did is dropped with it. None if it was taken away
        meanwhile: then whoever did so has said what becomes of the job.
        """
        is_taken = False
        with contextlib.suppress(Exception):  # else who commits what follows sees it
            is_taken = self._is_taken(claim)
        if is_taken:
            self._drop(claim, self._slot.attempt)
            return None
        if not isinstance(error, Snooze):
            log.error("the commit of %s failed", claim, exc_info=not errors.is_transient(error))
        attempt = self._slot.attempt
        started = clock.now() if attempt is None else attempt.started
        try:
            return self._failed(claim, error, started, conflicts - 1, policy.COMMIT_ERROR)
        finally:
            self._cleaner.clean()

    def _prepare_again(self, error: Exception, conflicts: int) -> None:
        """Wait, and see to it that the next attempt has a better chance."""
        self._renew(error)
        if conflicts == defaults.CONFLICTS_TOGETHER and not self._is_alone:
            self._is_alone = _alone.acquire()
        transactions.pause(conflicts)

    def _renew(self, error: Exception) -> None:
        """Replace what can't be used any more after an error of a commit."""
        if errors.is_used_id(error):
            abilities.skip_ids(self._db)
        if errors.poisons(error):
            self._thread_session.reopen(self._backoff)

    def _prepare_batch_again(self, error: Exception, conflicts: int) -> None:
        """The same for a batch of a Sweep, which alone is done again."""
        self._slot.measures.conflicted(CHECKPOINT)
        self._slot.conflicts.note(error, self._slot.attempt, self._thread_session)
        self._prepare_again(error, conflicts)

    def load_ahead(self, claims: Sequence[Claim]) -> int:
        """Load jobs that are run next, which is cheaper at once than one by one; how many."""
        self.end_group()  # it is done in a transaction of its own
        return self._thread_session.load_ahead(claims)

    def catch_up(self) -> None:
        """Take note of the commits of others."""
        self._thread_session.catch_up()

    # One attempt

    def _attempt_and_commit(self, claim: Claim, conflicts: int) -> AttemptResult | None:
        """Call the job once, and commit or abort what it did; the result if that may wait to be
        committed with others.
        """
        # Also before: other code runs in this thread between jobs, as when they are loaded ahead.
        self._cleaner.clean()
        try:
            result = self._led_to = self._attempt(claim, conflicts)
            if accidents.arranged is not None:
                accidents.arranged(BEFORE_COMMIT)
            attempt = self._slot.attempt
            if self._together.is_open:
                if result is not None:
                    self._together.add(result, attempt, self._handed_over)
                return None
            if result is None or result.portable:
                return result
            if attempt is not None and self._together.may_begin(result, attempt, conflicts):
                self._together.begin(result, attempt, self._handed_over)
            else:
                self._commit(result)
        except BaseException as error:
            self._led_to = None
            if not self._together.is_open:
                self._start_over()
            if isinstance(error, Died):
                self._hooks = None
            raise
        finally:
            if self._hooks is not None:
                self._tear_down(self._hooks)
            if self._context is not None:
                self._leave_context(self._context)
            self._cleaner.clean()
        return None

    def _attempt_behind(self, claim: Claim) -> None:
        """Call the job once, in the transaction of those that ran before it."""
        self._turn = None  # a job with quotas shares no transaction
        self._slot.seconds = self._slot.shareable = 0.0
        try:
            Context().run(self._attempt_and_commit, claim, 0)
        finally:
            self._slot.attempt = None
            self._tell_end(0)

    def _recover(self, error: Exception) -> None:
        """See to it that the next transaction has a better chance; raises Stopped."""
        if errors.is_unavailable(error):
            self._backoff.wait(error)
        elif errors.is_transient(error):
            self._slot.measures.conflicted(TOGETHER)
        self._renew(error)

    def _tear_down(self, hooks: calls.Hooks) -> None:
        """Call the job's `tear_down`, in a transaction that is aborted."""
        self._hooks = None
        attempt = self._slot.attempt
        if attempt is None or not hooks.is_set_up:
            return
        attempt.checkpoints = None  # what is done here is aborted
        token = current.set(attempt)
        try:
            self._thread_session.begin()
            hooks.tear_down()
            self._thread_session.manager.abort()
        except Exception:
            log.critical("tear_down of %r can't be called", attempt.job, exc_info=True)
        finally:
            current.reset(token)

    def _prepare(
        self,
        attempt: Attempt,
        parts: surroundings.Parts,
        function: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Restore what the job was put in, and load what it refers to: what is to be called, and
        with what. Raises _CantRunHere.
        """
        token = current.set(attempt)
        try:
            self._context = restored(parts)
            if function is None:
                return calls.loaded(attempt.job, args, kwargs)
        except (MissingCode, POSKeyError) as error:
            raise _CantRunHere(error) from error
        finally:
            current.reset(token)
        return function, args, kwargs

    def _leave_context(self, context: ExitStack) -> None:
        """Undo what was restored; what fails in that is logged, and the cleaner does the rest."""
        self._context = None
        try:
            context.close()
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            log.critical("a job's run context can't be left", exc_info=True)

    def _attempt(self, claim: Claim, conflicts: int) -> AttemptResult | None:
        """Call the job once; None if there is nothing to be written into it."""
        if self._turn is not None and not self._has_turn(claim, self._turn, conflicts):
            return None
        if not self._together.is_open:
            self._thread_session.begin()
        now = clock.now()
        job = self._load(claim, now, conflicts)
        if job is None:
            return None
        expired = policy.after_expiry(job, now, conflicts, claim.too_late)
        if expired is not None:
            failure = Failure.from_exception(expired)
            return attempt_result.unsuccessful(claim, EXPIRED, failure, now, job)
        try:
            parts = surroundings.of(job)
            function, args, kwargs = calls.resolve(job, parts)
        except (MissingCode, POSKeyError) as error:
            log.error("%r is parked: %s", job, error)
            return attempt_result.parked(claim, str(error), now)
        if accidents.arranged is not None:
            accidents.arranged(BEFORE_CALL)
        if self._turn is not None:
            if turns.is_over(self._turn):
                raise _MissedTurn
            self._turn = turns.USED
        attempt = self._slot.attempt = Attempt(claim.key, job, now, job.retry_policy)
        record = self._thread_session.session.record
        attempt.worker, attempt.agent = record.id, record.agent(self._slot.agent)
        attempt.connection = self._thread_session.session.connection
        attempt.checkpoints, attempt.conflicts = self._checkpoints, conflicts
        attempt.is_behind = self._together.is_open
        try:
            self._begun = telling.started(job, record)
            if parts or function is None:
                try:
                    function, args, kwargs = self._prepare(attempt, parts, function, args, kwargs)
                except _CantRunHere as error:
                    log.error("%r is parked: %s", job, error)
                    return attempt_result.parked(claim, str(error), now)
            value = self._call(attempt, function, args, kwargs)
            conflicts = attempt.conflicts
            if attempt.broken is not None:
                raise attempt.broken
            attempt.check_time()
            if isinstance(value, Job) and not completion.has_own_end(job):
                return self._returned(claim, attempt, value, conflicts)
            portable = is_simple(value)
            if not portable:
                what = f"the result of {job!r}"
                value, portable = portable_copy(referring.storable_form(value, what), what)
            untouched = self._thread_session.is_untouched()
            if not untouched:
                self._thread_session.check_joined()
        except BaseException as error:
            if attempt.broken is not None and not is_ctrl_c(error):
                raise attempt.broken from None  # whatever the job has made of it
            if isinstance(error, TransientError | RunAlone) or errors.is_disconnect(error):
                raise
            return self._raised(claim, attempt, error)
        if completion.has_own_end(job):
            return self._cancelled(claim, attempt)
        return self._succeeded(claim, attempt, value, conflicts, portable, untouched)

    def _has_turn(self, claim: Claim, turn: Turn, conflicts: int) -> bool:
        """Whether the job may begin by the rates of its quotas; else it goes back to wait."""
        self._turn = turns.usable(self._thread_session, claim, turn)
        if self._turn is None:
            self._led_to = attempt_result.paused(claim, None, clock.now())
            self._tell_end(conflicts)
            self._report([self._led_to])
        return self._turn is not None

    def _raised(
        self, claim: Claim, attempt: Attempt, error: BaseException
    ) -> AttemptResult | None:
        """What follows an attempt in which the job raised; None if it isn't to be written."""
        if isinstance(error, Cancelled) and completion.has_own_end(attempt.job):
            return self._cancelled(claim, attempt)
        self._start_over()
        if is_ctrl_c(error):
            raise error
        is_told = attempt.cancelled or isinstance(error, Cancelled)
        if is_told and (attempt.timed_out or self._is_taken(claim)):
            self._drop(claim, attempt)
            return None
        if attempt.given_back and isinstance(error, GivenBack):
            log.info("%s", error)
            self._led_to = attempt_result.given_back(claim, attempt.pause, clock.now())
            self._tell_end(attempt.conflicts)
            self._report([self._led_to])
            return None
        blamed, conflicts = attempt.blame(error), attempt.conflicts
        return self._failed(claim, blamed, attempt.started, conflicts, policy.JOB_ERROR)

    def _call(
        self,
        attempt: Attempt,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call the job while it is the current one; its time is measured."""
        token = current.set(attempt)
        calls.set_running(attempt.job, True)
        self._slot.called = called = time.monotonic()
        try:
            self._hooks = calls.hooks_of(attempt.job)
            if self._hooks is not None:
                self._hooks.set_up()
            if is_sweep(attempt.job):
                tools = Tools(self._checkpoints, self._stopping, self._prepare_batch_again)
                return Sweeping(attempt, tools, function, args, kwargs).run()
            return calls.run(function, args, kwargs, attempt.watch)
        finally:
            self._slot.called = None
            spent = time.monotonic() - called
            self._slot.seconds += spent
            self._slot.shareable += spent
            calls.set_running(attempt.job, False)
            current.reset(token)

    def _start_over(self) -> None:
        """Drop what the attempt did, also to arguments that the database doesn't watch."""
        if self._together.is_open:
            self._together.roll_back()
        else:
            self._thread_session.manager.abort()
        if self._slot.attempt is not None:
            self._slot.attempt.job._p_invalidate()

    def _load(self, claim: Claim, now: int, conflicts: int) -> Job | None:
        """The job, if it is still this worker's and can be run at all."""
        thread_session = self._thread_session
        job: Job | None = thread_session.session.record.job_of(claim)
        if job is None:
            # The snapshot may be older than the claim: on RelStorage, or after an outage.
            thread_session.begin()
            job = thread_session.session.record.job_of(claim)
        if job is None:
            if conflicts:
                self._tell_taken(claim)
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

    # What the attempt led to

    def _result(self, claim: Claim, goes_to: str, started: int, conflicts: int) -> AttemptResult:
        """A result with what is to be told of the attempt."""
        result = AttemptResult(claim, goes_to, started, clock.now())
        result.conflicts = conflicts
        attempt = self._slot.attempt
        if attempt is not None:
            attempt.tell(result, attempt.job)
        return result

    def _succeeded(
        self,
        claim: Claim,
        attempt: Attempt,
        value: Any,
        conflicts: int,
        portable: bool,
        untouched: bool,
    ) -> AttemptResult:
        result = self._result(claim, HISTORY, attempt.started, conflicts)
        result.outcome = FAILED if isinstance(value, Failure) else SUCCEEDED
        result.result = value
        # Else tear_down would be called before the commit.
        result.portable = portable and untouched and self._hooks is None
        if result.followed:
            log.info("%r has ended, before what follows it: %.200r", attempt.job, value)
        if result.portable:
            self._thread_session.reuse()
        if result.portable and result.share(attempt.job):
            # Its record isn't needed any more, and makes room in the connection's cache.
            attempt.job._p_deactivate()
        elif result.portable and not calls.has_simple_arguments(attempt.job):
            attempt.job._p_invalidate()  # what it did to them isn't to be stored
        return result

    def _returned(
        self, claim: Claim, attempt: Attempt, inner: Job, conflicts: int
    ) -> AttemptResult:
        """The result of a job that returned another one: it waits for that, and ends as it."""
        gate = after.wait_for_returned(attempt.job, inner)
        self._thread_session.check_joined()
        result = self._result(
            claim, HISTORY if gate is None else WAITING, attempt.started, conflicts
        )
        result.portable = False
        result.gate = gate
        if gate is None:
            result.outcome, result.result = inner.outcome, inner.result
        return result

    def _cancelled(self, claim: Claim, attempt: Attempt) -> AttemptResult:
        """The result of a job that cancelled itself: what it did is dropped, that it did stays."""
        result = self._result(claim, HISTORY, attempt.started, 0)
        result.outcome, result.result = CANCELLED, attempt.job.result
        self._start_over()
        return result

    def _failed(
        self, claim: Claim, error: BaseException, started: int, conflicts: int, question: str
    ) -> AttemptResult:
        """The result of an attempt that raised: another one follows, or the job has failed.

        `question` is the one that its policy is asked.
        """
        result = self._result(claim, HISTORY, started, conflicts)
        attempt = self._slot.attempt
        if attempt is not None and isinstance(error, Snooze):
            result.snoozed = True
            result.attempts -= 1
            policy.follow(result, policy.after_snooze(error, result.finished), None)
        elif attempt is not None:
            failure = Failure.from_exception(error)
            own_policy = None if isinstance(error, ContextGone) else attempt.policy
            policy.conclude(result, attempt.job, own_policy, failure, question)
        else:
            policy.follow(result, policy.NO_MORE, Failure.from_exception(error))
        level = logging.ERROR if attempt is None else attempt.job.failure_log_level
        shown = claim if attempt is None else repr(attempt.job)
        policy.tell(result, shown, level, error if result.snoozed else None)
        return result

    def _commit(self, result: AttemptResult) -> None:
        """Commit what the job did with its result, unless it was taken away."""
        if self._committer.commit([result]) is None:
            self._drop(result.claim, self._slot.attempt)

    def _is_taken(self, claim: Claim) -> bool:
        """Whether the job isn't this worker's any more, as the transaction that begins has it."""
        if self._together.is_open:
            raise RunAlone  # to find that out there
        self._thread_session.begin()
        return self._thread_session.session.record.job_of(claim) is None

    def _drop(self, claim: Claim, attempt: Attempt | None) -> None:
        """Leave a job that was taken away while it ran: by a cancellation, for its timeout, or by
        a rescue.
        """
        self._led_to = None
        if attempt is not None and attempt.timed_out:
            log.info("%s had timed out; what it did here is dropped", claim)
        else:
            self._tell_taken(claim)
        self._report([], [claim])

    def _tell_taken(self, claim: Claim) -> None:
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
