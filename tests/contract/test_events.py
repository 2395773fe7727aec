"""What happens is told to those who subscribe: what, when, in which thread and transaction."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import otel_jobs
import pytest
import sample
import transaction
import zope.event
from bench import die, make_doomed, run_in_groups
from patience import no_runner_is_left, until, wait_for
from ZODB.POSException import ConflictError
from zope.component import adapter, getGlobalSiteManager, provideHandler

import zodbjobs
from zodbjobs import Retry, context, events
from zodbjobs.errors import BadArgument, MissingCode
from zodbjobs.testing import conflict_once, moving_clock, run_jobs


class Heard:
    """The events of a test, in order, with their threads."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.attempts: list[Any] = []
        self.threads: list[str] = []
        self.transactions: list[Any] = []

    def __call__(self, event: Any) -> None:
        if isinstance(event, events.AttemptConflicted | events.AttemptEnded):
            self.attempts.append(event)  # in an order of their own
            return
        self.events.append(event)
        self.threads.append(threading.current_thread().name)

    def names(self, job: zodbjobs.Job | None = None) -> list[str]:
        """The classes, of the events of a job or of all."""
        told = [e for e in self.events if job is None or getattr(e, "job_id", "") == job.id]
        return [type(event).__name__ for event in told]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def heard() -> Iterator[Heard]:
    found = Heard()
    undo = events.subscribe(found)
    yield found
    undo()


def run(db: Any) -> int:
    transaction.commit()
    count = run_jobs(db)
    transaction.begin()
    return count


LIFE = ["JobPut", "JobPutCommitted", "JobClaimed", "JobStarted", "JobEnded"]


def test_the_life_of_a_job(any_db: Any, queue: Any, heard: Heard) -> None:
    with moving_clock() as clock:
        job = queue.put(zodbjobs.Job(sample.add, 1))
        assert heard.events == [events.JobPut(job.id, "", job)]
        transaction.commit()
        assert heard.names() == LIFE[:2]
        run(any_db)
        assert heard.names(job) == LIFE
        ended = heard.events[-1]
        assert (ended.outcome, ended.failure) == ("succeeded", None)
        assert ended.started == ended.finished == clock.datetime()
    worker = heard.of(events.JobClaimed)[0].worker
    assert heard.of(events.JobStarted) == [events.JobStarted(job.id, "", worker, 1, job)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ended.outcome = "failed"


@pytest.mark.promise(87)
def test_in_a_worker(any_db: Any, queue: Any, heard: Heard) -> None:
    job = queue.put(zodbjobs.Job(sample.report_and_wait, 50))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1) as worker:
        until(lambda: heard.of(events.JobProgressed))
        sample.gate.set()
        wait_for(job)
        until(lambda: heard.of(events.JobEnded))
    assert heard.names(job) == [*LIFE[:4], "JobProgressed", "JobEnded"]
    (progressed,) = heard.of(events.JobProgressed)
    assert (progressed.percent, progressed.message) == (50, "half way")
    first, last = heard.names()[2], heard.names()[-1]
    assert (first, last) == ("WorkerStarted", "WorkerStopped")
    assert heard.events[2] == events.WorkerStarted(worker.id, None, 1)
    assert heard.events[-1] == events.WorkerStopped(worker.id, False)
    by_name = dict(zip(heard.names(), heard.threads, strict=True))
    assert by_name["JobPutCommitted"] == threading.current_thread().name
    assert by_name["JobStarted"].startswith("zodbjobs runner")
    assert by_name["WorkerStopped"] == "zodbjobs dispatcher"


def test_the_put_is_told_in_its_transaction(db: Any, queue: Any, account: Any) -> None:
    """So that what a handler writes is committed with it, or not at all."""

    def count(event: Any) -> None:
        account.deposit(1)
        assert event.job.status == "pending"

    undo = events.subscribe(count, events.JobPut)
    queue.put(sample.nothing)
    transaction.abort()
    assert account.balance == 0
    queue.put(sample.nothing)
    transaction.commit()
    undo()
    queue.put(sample.nothing)
    transaction.begin()
    assert account.balance == 1


def test_what_is_aborted_is_not_told_as_committed(db: Any, queue: Any, heard: Heard) -> None:
    """By the transaction, or by a savepoint."""
    queue.put(sample.nothing)
    transaction.abort()
    savepoint = transaction.savepoint()
    queue.put(sample.nothing)
    savepoint.rollback()
    kept = queue.put(sample.nothing)
    transaction.commit()
    assert heard.of(events.JobPutCommitted) == [events.JobPutCommitted(kept.id, "")]
    kept.cancel()
    transaction.abort()
    transaction.commit()
    assert not heard.of(events.JobEnded)


def test_the_end_is_told_after_its_commit(any_db: Any, queue: Any, account: Any) -> None:
    """Whoever looks then finds it."""
    seen: list[Any] = []

    def look(event: events.JobEnded) -> None:
        manager = transaction.TransactionManager()
        connection = any_db.open(manager)
        job = zodbjobs.get_queue(connection).get(event.job_id)
        seen.append((job.outcome, job.result, event.outcome))
        manager.abort()
        connection.close()

    undo = events.subscribe(look, events.JobEnded)
    try:
        queue.put(zodbjobs.Job(account.deposit, 1))  # with a commit of its own
        queue.put(zodbjobs.Job(sample.identity, 5))  # with others
        transaction.commit()
        with zodbjobs.Worker(any_db, threads=1):
            until(lambda: len(seen) == 2)
    finally:
        undo()
    assert sorted(seen) == [("succeeded", 1, "succeeded"), ("succeeded", 5, "succeeded")]


def test_ends_that_share_a_record(db: Any, queue: Any, heard: Heard) -> None:
    jobs = queue.put_many([sample.nothing] * 50)
    transaction.commit()
    run_in_groups(db)
    told = heard.of(events.JobEnded)
    assert sorted(event.job_id for event in told) == sorted(job.id for job in jobs)
    assert {event.outcome for event in told} == {"succeeded"}
    assert {event.queue for event in told} == {""}


def test_ends_without_a_run(db: Any, queue: Any, heard: Heard) -> None:
    cancelled = queue.put(sample.nothing)
    failed = queue.put(sample.nothing)
    skipped = queue.put(sample.nothing, after=[failed], on_failure="skip")
    transaction.commit()
    cancelled.cancel()
    failed.fail()
    assert not heard.of(events.JobEnded)
    transaction.commit()
    told = {event.job_id: event for event in heard.of(events.JobEnded)}
    outcomes = [told[job.id].outcome for job in (cancelled, failed, skipped)]
    assert outcomes == ["cancelled", "failed", "skipped"]
    assert told[failed.id].failure.type.endswith("TimedOut")


def test_attempts_that_others_follow(db: Any, queue: Any, heard: Heard) -> None:
    with moving_clock() as clock:
        job = zodbjobs.Job(sample.fail_until, 2)
        job.retry_policy = zodbjobs.Retry(1, 5, jitter=0)
        queue.put(job)
        run(db)
        (retried,) = heard.of(events.JobRetried)
        assert retried.due == clock.datetime() + timedelta(seconds=5)
        assert retried.failure.message == "not yet"
        clock.advance(5)
        sample.noted.append("tried")
        run(db)
    assert heard.names(job)[-4:] == ["JobRetried", "JobClaimed", "JobStarted", "JobEnded"]
    assert [event.attempt for event in heard.of(events.JobStarted)] == [1, 2]


def test_a_snooze_and_a_conflict(db: Any, queue: Any, heard: Heard) -> None:
    snoozing = queue.put(zodbjobs.Job(sample.snooze_once, timedelta(0)))
    run(db)
    (retried,) = heard.of(events.JobRetried)
    assert (retried.job_id, retried.failure, retried.due) == (snoozing.id, None, None)
    heard.events.clear()
    sample.noted.clear()
    queue.put(zodbjobs.Job(sample.conflicts, 1))
    run(db)
    assert heard.names() == ["JobPut", *LIFE[1:4], "JobStarted", "JobEnded"]


def test_what_cannot_be_run_and_is_put_in_again(
    db: Any, queue: Any, heard: Heard, monkeypatch: pytest.MonkeyPatch, account: Any
) -> None:
    job = queue.put(zodbjobs.Job(account.vanishing))
    with monkeypatch.context() as patch:
        patch.delattr(sample.Account, "vanishing")
        run(db)
    (parked,) = heard.of(events.JobParked)
    assert (parked.job_id, parked.reason) == (job.id, job.parked)
    queue.retry(job)
    run(db)
    assert heard.names(job) == [*LIFE[:3], "JobParked", *LIFE]


def test_a_put_that_gives_another_job_is_none(db: Any, queue: Any, heard: Heard) -> None:
    first = queue.put(sample.nothing, unique="nightly")
    assert queue.put(sample.nothing, unique="nightly") is first
    transaction.commit()
    assert heard.names() == LIFE[:2]


def test_callbacks_are_put_by_the_end(db: Any, queue: Any, heard: Heard) -> None:
    parent = queue.put(sample.nothing)
    callback = parent.add_callback(sample.identity)
    transaction.commit()
    assert heard.names(callback) == []
    run(db)
    assert heard.names(callback) == LIFE


def test_a_worker_that_is_lost(any_db: Any, queue: Any, heard: Heard) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    doomed = make_doomed(any_db)
    doomed.claim()
    die(doomed)
    run(any_db)
    (lost,) = heard.of(events.WorkerLost)
    (rescued,) = heard.of(events.JobRescued)
    assert (lost.worker, lost.jobs) == (doomed.registration.id, 1)
    assert rescued == events.JobRescued(job.id, "", doomed.registration.id, 1)
    names = ["JobClaimed", "JobRescued", "WorkerLost", "JobClaimed", "JobStarted", "JobEnded"]
    assert heard.names()[2:] == names


@pytest.mark.promise(96)
def test_a_worker_that_was_thought_dead(db: Any, queue: Any, heard: Heard) -> None:
    with zodbjobs.Worker(db) as worker:
        before = worker.id
        until(lambda: before in queue.parent.workers or transaction.begin() is None)
        for attempt in transaction.manager.attempts(50):
            with attempt:
                del queue.parent.workers[before]
        queue.put(sample.nothing)
        transaction.commit()
        until(lambda: len(heard.of(events.WorkerStarted)) == 2)
    no_runner_is_left()
    started, stopped = heard.of(events.WorkerStarted), heard.of(events.WorkerStopped)
    assert [event.worker for event in started] == [event.worker for event in stopped]
    assert [event.lost for event in stopped] == [True, False]


# Handlers


@pytest.mark.parametrize("fault", [ValueError, SystemExit, asyncio.CancelledError])
def test_one_that_raises_is_logged_and_changes_nothing(
    db: Any,
    queue: Any,
    fault: type[BaseException],
    heard: Heard,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(event: Any) -> None:
        raise fault("a handler is broken")

    undo = events.subscribe(broken)
    zope.event.subscribers.insert(0, broken)
    try:
        job = queue.put(zodbjobs.Job(sample.add, 1))
        run(db)
    finally:
        undo()
        zope.event.subscribers.remove(broken)
    assert (job.outcome, job.result, job.attempts) == ("succeeded", 1, 1)
    assert heard.names() == LIFE
    told = [r.message for r in caplog.records if "a handler of" in r.message]
    assert len(told) == 2 * (len(LIFE) + len(heard.attempts))


# The ends of attempts


def attempts_of(heard: Heard, job: zodbjobs.Job) -> list[str]:
    ended = (e for e in heard.attempts if isinstance(e, events.AttemptEnded))
    return [event.outcome for event in ended if event.job_id == job.id]


def test_an_attempt_that_conflicts_is_told_of_once_more(
    any_db: Any, queue: Any, heard: Heard
) -> None:
    job = queue.put(zodbjobs.Job(sample.nothing))
    transaction.commit()
    with conflict_once():
        run(any_db)
    conflicted, ended = heard.attempts
    said = (job.id, "", heard.of(events.JobStarted)[0].worker, 1)
    assert conflicted == events.AttemptConflicted(*said, 1, ConflictError())
    assert isinstance(conflicted.error, ConflictError)
    assert ended == events.AttemptEnded(*said, "succeeded", None, None, 1)


def lack(value: Any) -> Any:
    raise MissingCode("there is no font")


def test_what_an_attempt_has_led_to(any_db: Any, queue: Any, heard: Heard) -> None:
    otel_jobs.database = any_db
    context.register("font", lambda: "Arial", lack)
    try:
        parked = queue.put(zodbjobs.Job(sample.nothing))
        again = zodbjobs.Job(sample.fail, "no")
        again.retry_policy = Retry(times=1, delay=3600, jitter=0)
        with moving_clock() as moves:
            said: dict[str, Any] = {"context": False}
            queue.put(again, **said)
            outer = queue.put(zodbjobs.Job(otel_jobs.return_job), **said)
            failed = queue.put(zodbjobs.Job(sample.fail, "no"), **said)
            snoozed = queue.put(zodbjobs.Job(otel_jobs.snooze), **said)
            taken = queue.put(zodbjobs.Job(otel_jobs.cancel_itself_elsewhere), **said)
            paused = queue.put(zodbjobs.Job(otel_jobs.be_paused_at_a_checkpoint), **said)
            run(any_db)
            hour = moves.datetime() + timedelta(hours=1)
    finally:
        context.unregister("font")
    assert attempts_of(heard, parked) == ["parked"]
    assert attempts_of(heard, again) == ["retried"]
    assert attempts_of(heard, outer) == ["waiting"]
    assert attempts_of(heard, failed) == ["failed"]
    assert attempts_of(heard, snoozed) == ["snoozed"]
    assert attempts_of(heard, taken) == ["dropped"]
    assert attempts_of(heard, paused) == ["given back"]
    for job, message in ((again, "no"), (snoozed, None)):
        (told,) = [event for event in heard.attempts if event.job_id == job.id]
        assert told.due == hour
        assert (told.failure and told.failure.message) == message


def test_subscribers_of_zope_event_and_of_zope_component(db: Any, queue: Any) -> None:
    import zope.component.event

    seen: list[Any] = []

    @adapter(events.JobEnded)
    def handle(event: events.JobEnded) -> None:
        seen.append(event.job_id)

    job = queue.put(sample.nothing)
    assert not events.wanted(events.JobEnded)
    provideHandler(handle)
    try:
        assert events.wanted(events.JobEnded)
        assert not events.wanted(events.JobStarted)
        run(db)
    finally:
        getGlobalSiteManager().unregisterHandler(handle)
    assert seen == [job.id]
    zope.event.subscribers.append(seen.append)
    try:
        other = queue.put(sample.nothing)
    finally:
        zope.event.subscribers.remove(seen.append)
    assert seen[1:] == [events.JobPut(other.id, "", other)]


def test_what_nobody_wants_is_not_made(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def note_making(kind: type) -> None:
        init: Callable[..., None] = kind.__init__  # type: ignore[misc]

        def noting(self: Any, *args: Any, **kwargs: Any) -> None:
            made.append(kind.__name__)
            init(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", noting)

    for name in events.__all__:
        if isinstance(getattr(events, name), type):
            note_making(getattr(events, name))
    queue.put(sample.nothing)
    run(db)
    assert made == []
    undo = events.subscribe(made.append, events.JobRetried, events.JobStarted)
    queue.put(sample.nothing)
    run(db)
    undo()
    assert made[0] == "JobStarted"
    assert len(made) == 2  # the other is the event itself


def test_a_handler_gets_what_it_wants(db: Any, queue: Any, heard: Heard) -> None:
    """Whatever others want."""
    seen: list[Any] = []
    undo = events.subscribe(seen.append, events.JobClaimed, events.JobEnded)
    queue.put(sample.nothing)
    run(db)
    undo()
    queue.put(sample.nothing)
    run(db)
    assert [type(event).__name__ for event in seen] == ["JobClaimed", "JobEnded"]
    assert heard.names() == LIFE * 2


def test_what_cannot_be_subscribed() -> None:
    with pytest.raises(BadArgument, match="can't be"):
        events.subscribe("handler")  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="no class of zodbjobs"):
        events.subscribe(print, int)


def test_a_pause_and_its_end_are_told(queue: Any, heard: Heard) -> None:
    queue.pause("aborted")
    transaction.abort()
    queue.pause("the mail server is away", match="shop.mail:*")
    queue.drain("a new release")
    assert heard.events == []
    transaction.commit()
    queue.resume(match="shop.mail:*")
    queue.resume()
    transaction.commit()
    assert heard.events == [
        events.QueuePaused("", "the mail server is away", "shop.mail:*"),
        events.QueueResumed("", "shop.mail:*"),
    ]
