"""Sweeping: one attempt at a Sweep, batch by batch, each committed with the cursor after it."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from transaction.interfaces import TransientError

from zodbjobs import clock, defaults
from zodbjobs.errors import Aborted, Cancelled, MissingCode, Snooze, TimedOut
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.runtime import policy
from zodbjobs.runtime.accidents import Died
from zodbjobs.runtime.checkpoint import Checkpoints
from zodbjobs.runtime.context import Attempt, CantRunHere
from zodbjobs.runtime.storage import errors
from zodbjobs.stored import sweep
from zodbjobs.stored.lifecycle import calls, completion, referring
from zodbjobs.stored.reference import Referring
from zodbjobs.stored.sweep import Failed, Plan, Sweep

# Seconds between two looks whether to stop, while it rests.
_LOOK_SECONDS = 0.2

# So many items can't be committed one after the other, and were gone when they were to be set
# aside: then the cursors of the enumerator aren't equal when they should be.
_MOST_BLAMED = 3

# A limit of items that has grown so far, after a conflict, is none any more.
_NO_LIMIT = 10_000


class _Batch(NamedTuple):
    """What was done in one transaction: up to which cursor, how many items, what was set aside.

    `fatal` ends the job once this is committed.
    """

    cursor: Any
    done: int
    failures: list[Failed]
    fatal: BaseException | None = None


class Tools(NamedTuple):
    """What a runner lends to its sweeps.

    `prepare_again` is called before a batch that conflicted is done again, with the error and the
    number of conflicts in a row.
    """

    checkpoints: Checkpoints
    stopping: threading.Event
    prepare_again: Callable[[Exception, int], None]


class Sweeping:
    """One attempt at a sweep, in the thread of a runner: `function` is called with each item, and
    with `args` and `kwargs`.
    """

    def __init__(
        self,
        attempt: Attempt,
        tools: Tools,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        assert isinstance(attempt.job, Sweep)
        self._attempt = attempt
        self._job: Sweep = attempt.job
        self._tools = tools
        self._checkpoints = tools.checkpoints
        self._function = function
        self._args, self._kwargs = args, kwargs
        self._tried = 0  # items of the batch
        self._reached: Any = None  # the cursor after the last of them
        # How often its worker has died since the last commit. Then its items are done one by one
        # at first, to find the one for which it did.
        self._deaths = attempt.job.interruptions
        self._limit: int | None = 1 if self._deaths else None  # of items in the next batch
        self._conflicts = 0  # in a row
        # An item that can't be committed, alone: the cursor after it, and why.
        self._guilty: tuple[Any, BaseException] | None = None
        self._blamed = 0  # such items since the last commit

    def run(self) -> Any:
        """Do batch after batch; returns the result, or the job of all parts of the sweep.

        Raises what the job is to fail with, and what ends the attempt.
        """
        whole = sweep.parts_of(self._job)
        if whole is not None:
            return whole
        while True:
            began = time.monotonic()
            batch = self._next()
            if batch is None:
                return sweep.result_of(self._job)
            if batch.fatal is not None:
                raise batch.fatal
            self._checkpoints.look(self._attempt)
            self._rest(time.monotonic() - began)

    def _next(self) -> _Batch | None:
        """Do the next batch, and commit it; None if nothing is left to be done."""
        while True:
            try:
                batch = self._filled()
            except Exception as error:
                if not isinstance(error, TransientError) or errors.is_disconnect(error):
                    raise
                self._do_again(error)
                continue
            if not batch.done and not batch.failures:
                return None if batch.fatal is None else batch
            try:
                self._commit(batch)
            except (Cancelled, TimedOut):
                raise
            except Exception as error:
                self._do_again(error, has_items=batch.done > 0)
            else:
                self._conflicts = self._blamed = self._deaths = 0
                if self._limit is not None:
                    self._limit = 2 * self._limit if self._limit < _NO_LIMIT else None
                return batch

    def _commit(self, batch: _Batch) -> None:
        """Commit a batch with the cursor after it and the progress."""
        cursor, done, failures, _ = batch
        self._checkpoints.check(self._attempt)
        self._attempt.annotate(sweep.progress_at(self._job, cursor, done, len(failures)))
        self._checkpoints.make(
            self._attempt, functools.partial(sweep.note, self._job, cursor, done, failures)
        )

    def _do_again(self, error: Exception, has_items: bool = True) -> None:
        """Roll a batch back that couldn't be committed, to be done again in halves, until the item
        that is to blame is alone. Raises what isn't the fault of any, as where nothing was to be
        committed but what is told of the job (not `has_items`).
        """
        if errors.is_unavailable(error) or errors.poisons(error):
            self._attempt.broken = error  # the runner waits, or begins anew, after the cursor
            raise error
        self._conflicts += 1
        is_over = not policy.outlasts_conflict(self._attempt.policy, error, self._conflicts)
        if is_over and not (self._tried and has_items and self._blamed < _MOST_BLAMED):
            # The runner counts them as its own, and adds this one.
            self._attempt.conflicts = max(self._attempt.conflicts, self._conflicts - 1)
            raise error
        if is_over and self._tried == 1:
            self._guilty = self._reached, error
            self._blamed += 1
            self._conflicts = 0
        elif errors.is_transient(error):
            self._tools.prepare_again(error, self._conflicts)
        self._limit = max(1, self._tried // 2)
        self._drop()

    def _drop(self) -> None:
        """Roll back what was done since the last commit, also to arguments."""
        self._checkpoints.drop(self._attempt)
        if not calls.has_simple_arguments(self._job):
            _, self._args, self._kwargs = calls.arguments_again(self._job)

    # A batch

    def _filled(self) -> _Batch:
        """Call it for items until their seconds are over, or so many as the limit says.

        One for which it raises is rolled back: if others were done before it in the transaction
        these are done again without it, and committed; then it is the first, and is set aside.
        """
        self._tried = 0
        plan = sweep.plan_of(self._job)
        cursor, done, failures = plan.cursor, 0, list[Failed]()
        end = clock.monotonic() + plan.seconds
        while True:
            after, error = None, None
            for after, item in plan.enumerator.items(cursor):
                self._tried = done + len(failures) + 1
                self._reached = after
                error = self._called(item, after)
                if error is not None:
                    break
                cursor, done = after, done + 1
                if self._is_full(end):
                    return _Batch(cursor, done, failures)
            if error is None:
                return _Batch(cursor, done, failures)
            if done:
                self._limit = self._tried - 1
                self._drop()
                plan = sweep.plan_of(self._job)
                cursor, done, failures = plan.cursor, 0, []
                end = clock.monotonic() + plan.seconds
                continue
            failure = sweep.failed(cursor, after, item, error)
            self._drop()
            if plan.room is None or len(failures) >= plan.room:
                return _Batch(cursor, 0, failures, self._fatal(plan, error))
            failures.append(failure)
            cursor = after
            if self._is_full(end):
                return _Batch(cursor, 0, failures)

    def _is_full(self, end: float) -> bool:
        """Whether the batch is to be committed now."""
        if self._tried % defaults.SWEEP_ROOM == 0:
            sweep.keep_loaded(self._job)
            self._checkpoints.make_room(self._attempt)
        if self._tried == self._limit or clock.monotonic() >= end:
            return True
        return completion.has_own_end(self._job)

    def _called(self, item: Any, after: Any) -> BaseException | None:
        """Call it for an item; what that raises, if the item is to blame for it."""
        guilty, self._guilty = self._guilty, None
        if guilty is not None and guilty[0] == after:  # others may have taken that one out
            return guilty[1]
        deaths = self._deaths
        if deaths >= defaults.INTERRUPTIONS and sweep.plan_of(self._job).room is not None:
            return Aborted(
                f"its worker has died {deaths} times in a row since the item before was done; see "
                "what ends the process, or takes longer than a stop waits for, and sweep it again"
            )
        if type(item) is Referring:
            try:
                referring.check_known(item)
            except MissingCode as error:
                raise CantRunHere(error) from error  # which is the fault of no item
        try:
            arguments = (referring.loaded(item), *self._args)
            calls.run(self._function, arguments, self._kwargs, self._attempt.watch)
            self._checkpoints.check_transaction(self._attempt)
        except BaseException as error:
            if isinstance(error, TransientError | Snooze | Died) or is_ctrl_c(error):
                raise
            if errors.is_disconnect(error) or self._attempt.reason_to_stop() is not None:
                raise
            return error
        return None

    def _fatal(self, plan: Plan, error: BaseException) -> BaseException:
        """What the job is to fail with for an item that can't be set aside."""
        return error if plan.room is None else sweep.too_many(self._job, error)

    # Between two batches

    def _rest(self, spent: float) -> None:
        """Rest as the job's throttle says, after so many seconds of work."""
        throttle = sweep.plan_of(self._job).throttle
        if throttle is None:
            return
        if isinstance(throttle, str):
            seconds = calls.from_stored(throttle)() or 0.0
        else:
            seconds = spent * (1.0 / throttle - 1.0)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._tools.stopping.wait(min(left, _LOOK_SECONDS))
            self._checkpoints.go_on(self._attempt)
            self._checkpoints.look(self._attempt)
