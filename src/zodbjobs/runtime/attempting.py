"""Attempting: one attempt at a job, from loading it to what that led to; commits nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from transaction.interfaces import TransientError
from ZODB.POSException import POSKeyError

from zodbjobs import clock
from zodbjobs.context.registry import restored
from zodbjobs.errors import Cancelled, ContextGone, GivenBack, MissingCode, Snooze
from zodbjobs.events import JobStarted
from zodbjobs.interfaces import CANCELLED, EXPIRED, FAILED, SUCCEEDED
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.runtime import accidents, policy, turns
from zodbjobs.runtime.accidents import BEFORE_CALL, Died
from zodbjobs.runtime.committer import Report
from zodbjobs.runtime.context import Attempt, CantRunHere, RunAlone, current
from zodbjobs.runtime.loading import Loading
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import errors
from zodbjobs.runtime.sweeping import Sweeping, Tools
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.runtime.together import Together
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import (
    after,
    attempt_result,
    calls,
    completion,
    referring,
    surroundings,
    telling,
)
from zodbjobs.stored.lifecycle.attempt_result import HISTORY, WAITING, AttemptResult
from zodbjobs.stored.lifecycle.checkpoints import is_sweep
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.rates import Turn
from zodbjobs.stored.lifecycle.storable import is_simple, portable_copy

log = logging.getLogger("zodbjobs")


class MissedTurn(Exception):
    """The job may not begin any more in the turn that it has by the rates of its quotas."""


class Attempting:
    """Makes the attempts of a runner, one at a time, in its thread.

    `run` is one; `leave` follows it, whatever it has led to and after the commit of that. `tools`
    are for sweeps; `report` is given what becomes of a job that isn't called.
    """

    def __init__(
        self,
        thread_session: ThreadSession,
        slot: Slot,
        report: Report,
        together: Together,
        tools: Tools,
    ) -> None:
        self._thread_session = thread_session
        self._slot = slot
        self._report = report
        self._together = together
        self._tools = tools
        self._loading = Loading(thread_session, report)
        self._hooks: calls.Hooks | None = None  # of the attempt, if its job has any
        self._context: ExitStack | None = None  # what the attempt runs in, while it does
        self._begun: JobStarted | None = None  # what the end of the attempt is told with
        #: The job's by the rates of its quotas; None if they have none.
        self.turn: Turn | None = None
        #: What the end of the attempt is told of; None if what it did is dropped.
        self.led_to: AttemptResult | None = None

    def run(self, claim: Claim, conflicts: int) -> AttemptResult | None:
        """Call the job of a claim once; None if there is nothing to be written into it.

        Raises MissedTurn, and what its transaction is to be made again for.
        """
        if self.turn is not None and not self._has_turn(claim, self.turn, conflicts):
            return None
        if not self._together.is_open:
            self._thread_session.begin()
        now = clock.now()
        job = self._loading.job_of(claim, now, conflicts)
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
            return _parked(claim, job, error, now)
        if accidents.arranged is not None:
            accidents.arranged(BEFORE_CALL)
        if self.turn is not None:
            if turns.is_over(self.turn):
                raise MissedTurn
            self.turn = turns.USED
        attempt = self._slot.attempt = self._attempt_at(claim, job, now, conflicts)
        try:
            self._begun = telling.started(job, self._thread_session.session.record)
            if parts or function is None:
                function, args, kwargs = self._prepare(attempt, parts, function, args, kwargs)
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
        except CantRunHere as error:
            self._start_over()  # the batch of a sweep in which it was met
            return _parked(claim, job, error, now)
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
        self.turn = turns.usable(self._thread_session, claim, turn)
        if self.turn is None:
            self.led_to = attempt_result.paused(claim, None, clock.now())
            self.tell_end(conflicts)
            self._report([self.led_to])
        return self.turn is not None

    def _attempt_at(self, claim: Claim, job: Job, now: int, conflicts: int) -> Attempt:
        """An attempt at a job in this thread, which begins `now`."""
        attempt = Attempt(claim.key, job, now, job.retry_policy)
        session = self._thread_session.session
        attempt.worker, attempt.agent = session.record.id, session.record.agent(self._slot.agent)
        attempt.connection = session.connection
        attempt.checkpoints, attempt.conflicts = self._tools.checkpoints, conflicts
        attempt.is_behind = self._together.is_open
        return attempt

    def _prepare(
        self,
        attempt: Attempt,
        parts: surroundings.Parts,
        function: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Restore what the job was put in, and load what it refers to: what is to be called, and
        with what. Raises CantRunHere.
        """
        token = current.set(attempt)
        try:
            self._context = restored(parts)
            if function is None:
                return calls.loaded(attempt.job, args, kwargs)
        except (MissingCode, POSKeyError) as error:
            raise CantRunHere(error) from error
        finally:
            current.reset(token)
        return function, args, kwargs

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
                return Sweeping(attempt, self._tools, function, args, kwargs).run()
            return calls.run(function, args, kwargs, attempt.watch)
        finally:
            self._slot.called = None
            spent = time.monotonic() - called
            self._slot.seconds += spent
            self._slot.shareable += spent
            calls.set_running(attempt.job, False)
            current.reset(token)

    def leave(self) -> None:
        """Call what the job has to tear down, and leave its run context."""
        if self._hooks is not None:
            self._tear_down(self._hooks)
        if self._context is not None:
            self._leave_context(self._context)

    def _leave_context(self, context: ExitStack) -> None:
        """Undo what was restored; what fails in that is logged, and the cleaner does the rest."""
        self._context = None
        try:
            context.close()
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            log.critical("a job's run context can't be left", exc_info=True)

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

    # What it led to

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
        if is_told and (attempt.timed_out or self.is_taken(claim)):
            self.drop(claim, attempt)
            return None
        if attempt.given_back and isinstance(error, GivenBack):
            log.info("%s", error)
            self.led_to = attempt_result.given_back(claim, attempt.pause, clock.now())
            self.tell_end(attempt.conflicts)
            self._report([self.led_to])
            return None
        blamed, conflicts = attempt.blame(error), attempt.conflicts
        return self.failed(claim, blamed, attempt.started, conflicts, policy.JOB_ERROR)

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

    def failed(
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

    def _result(self, claim: Claim, goes_to: str, started: int, conflicts: int) -> AttemptResult:
        """A result with what is to be told of the attempt."""
        result = AttemptResult(claim, goes_to, started, clock.now())
        result.conflicts = conflicts
        attempt = self._slot.attempt
        if attempt is not None:
            attempt.tell(result, attempt.job)
        return result

    def drop(self, claim: Claim, attempt: Attempt | None) -> None:
        """Leave a job that was taken away while it ran: by a cancellation, for its timeout, or by
        a rescue.
        """
        self.led_to = None
        if attempt is not None and attempt.timed_out:
            log.info("%s had timed out; what it did here is dropped", claim)
        else:
            self._loading.tell_taken(claim)
        self._report([], [claim])

    def is_taken(self, claim: Claim) -> bool:
        """Whether the job isn't this worker's any more; begins a transaction to find that out."""
        if self._together.is_open:
            raise RunAlone  # to find that out there
        return self._loading.is_taken(claim)

    def _start_over(self) -> None:
        """Drop what the attempt did, also to arguments that the database doesn't watch."""
        if self._together.is_open:
            self._together.roll_back()
        else:
            self._thread_session.manager.abort()
        if self._slot.attempt is not None:
            self._slot.attempt.job._p_invalidate()

    def broke_off(self, error: BaseException) -> None:
        """Drop what it did, after `run` or the commit has raised."""
        self.led_to = None
        if not self._together.is_open:
            self._start_over()
        if isinstance(error, Died):
            self._hooks = None

    # Telling

    def hand_over(self) -> JobStarted | None:
        """What the end of the attempt is told with, by its group."""
        begun, self._begun = self._begun, None
        return begun

    def tell_end(self, conflicts: int) -> None:
        """Tell what the attempt has led to, if somebody was told that it begins."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            telling.attempt_ended(begun, self.led_to, conflicts)

    def tell_conflict(self, conflicts: int, error: Exception) -> None:
        """Tell that it is made again, if somebody was told that it begins."""
        if self._begun is not None:
            telling.conflicted(self._begun, conflicts, error)


def _parked(claim: Claim, job: Job, why: Exception, now: int) -> AttemptResult:
    log.error("%r is parked: %s", job, why)
    return attempt_result.parked(claim, str(why), now)
