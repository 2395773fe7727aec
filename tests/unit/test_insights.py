"""What the command line, and later pages and metrics, read from the database."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import record, run_in_groups
from patience import wait_for
from ZODB.blob import Blob
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage

import zodbjobs
from zodbjobs import Agent, clock, defaults, insights
from zodbjobs.errors import BadArgument, NotInstalled, NotStored, UnknownQueue
from zodbjobs.stored.lifecycle import spreads
from zodbjobs.stored.lifecycle.claim import claim
from zodbjobs.stored.lifecycle.history import minutes_of
from zodbjobs.stored.workers import RunningJob
from zodbjobs.testing import moving_clock, run_jobs

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


def put(queue: Any, function: Any, *args: Any, **terms: Any) -> zodbjobs.Job:
    """A job that is put in a transaction of its own."""
    job: zodbjobs.Job = queue.put(zodbjobs.Job(function, *args), **terms)
    transaction.commit()
    return job


def ids(jobs: Any) -> list[str]:
    return [job.id for job in jobs]


@contextlib.contextmanager
def gone_from_sample(name: str) -> Iterator[Any]:
    """A kind of job whose class is missing in the module afterwards."""
    kind = type(name, (zodbjobs.Job,), {"__module__": "sample"})
    setattr(sample, name, kind)
    try:
        yield kind
    finally:
        delattr(sample, name)


# One job


def test_row_of_a_waiting_job(connection: Any, queue: Any) -> None:
    with moving_clock(START):
        job = put(queue, sample.add, 1, priority=2)
        row = insights.job_info(job)
    assert row == insights.JobInfo(
        id=job.id,
        queue="",
        description="sample:add",
        kind="Job",
        state="waiting",
        status="pending",
        priority=2,
        created=START,
        begin_after=START,
    )


@pytest.mark.parametrize(
    ("function", "args", "outcome", "failure"),
    [
        (sample.add, (1, 2), "succeeded", None),
        (sample.fail, ("so it is",), "failed", "ValueError: so it is"),
    ],
)
def test_row_of_a_job_that_has_ended(
    db: Any, queue: Any, function: Any, args: Any, outcome: str, failure: str | None
) -> None:
    job = put(queue, function, *args)
    run_jobs(db)
    transaction.begin()
    row = insights.job_info(job)
    assert (row.state, row.status, row.outcome) == (outcome, "completed", outcome)
    assert row.failure == failure
    assert row.attempts == 1
    assert row.finished is not None
    assert row.started is not None
    assert row.seconds == (row.finished - row.started).total_seconds()


def test_a_job_for_later_is_held_until_it_is_due(queue: Any) -> None:
    with moving_clock() as clock:
        job = put(queue, sample.nothing, begin_after=timedelta(minutes=1))
        assert insights.job_info(job).state == "scheduled"
        clock.advance(61)
        assert insights.job_info(job).state == "waiting"


@pytest.mark.promise(98, 101, 103)
def test_a_job_while_it_runs(db: Any, queue: Any, connection: Any) -> None:
    job = put(queue, sample.report_and_wait, 40)
    with zodbjobs.Worker(db, threads=1) as worker:
        second = put(queue, sample.nothing)
        # The log line is the last that it tells of itself.
        while not (details := insights.job_details(job)).log:
            connection.sync()
        assert (details.state, details.percent, details.message) == ("active", 40, "half way")
        assert details.worker == worker.id
        assert details.seconds is not None
        assert details.annotations["phase"] == "middle"
        assert [line.rpartition(": ")[2] for line in details.log] == ["a line of the log"]
        (info,) = insights.list_workers(connection)
        assert info.started <= details.started  # type: ignore[operator]
        assert (info.id, info.threads, info.active, info.gone) == (worker.id, 1, 1, False)
        stats = insights.queue_stats(connection, "")
        assert (stats.active, stats.active + stats.assigned + stats.waiting) == (1, 2)
        assert ids(insights.list_jobs(connection, status="active")) == [job.id]
        sample.gate.set()
        wait_for([job, second])
    connection.sync()
    assert insights.list_workers(connection) == []


@pytest.mark.promise(100)
def test_details(db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.identity, value="x" * 20_000)
    queue.put(job, begin_by=timedelta(hours=1))
    failed = put(queue, sample.fail)
    run_jobs(db)
    transaction.begin()
    details = insights.job_details(job)
    assert details.begin_by == 3600
    (argument,) = details.arguments
    assert argument.startswith("value='xxx")
    assert len(argument) < 300
    assert details.result is not None
    assert details.result.endswith("... (20002 characters)")
    assert len(details.result) < 10_100
    details = insights.job_details(failed)
    assert details.result is None
    assert details.traceback is not None
    assert "KeyError: 'the cause'" in details.traceback


def test_a_result_that_is_a_blob(db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, Blob(b"data"))
    run_jobs(db)
    transaction.begin()
    details = insights.job_details(job)
    assert details.result == "a blob"
    assert details.result_file is not None
    with open(details.result_file, "rb") as file:
        assert file.read() == b"data"


def test_what_cannot_be_shown_is_named() -> None:
    assert insights.infos.show(Rude(), 100) == "(Rude that can't be shown: RuntimeError)"


@pytest.mark.promise(152)
def test_everything_is_json(db: Any, queue: Any, connection: Any) -> None:
    job = zodbjobs.Job(sample.identity, 1)
    job.annotations["many"] = (1, float("inf"), frozenset({2}), START, timedelta(minutes=1), b"x")
    queue.put(job)
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    told = json.loads(json.dumps(insights.job_details(job).as_json(), allow_nan=False))
    assert told["annotations"]["many"] == [1, "inf", [2], START.isoformat(), 60.0, "b'x'"]
    json.dumps([q.as_json() for q in insights.all_queue_stats(connection)], allow_nan=False)
    json.dumps([j.as_json() for j in insights.list_jobs(connection)], allow_nan=False)


# Find


def test_find_job(connection: Any, queue: Any) -> None:
    other = zodbjobs.get_queues(connection).create("other")
    transaction.commit()
    jobs = [put(queue, sample.nothing), put(other, sample.nothing)]
    for job in jobs:
        assert insights.find_job(connection, zodbjobs.get_job_id(job)) is job
    strange = [str(int.from_bytes(queue._p_oid)), "0", "-1", "x", "", "9" * 30, "99999"]
    for job_id in strange:
        assert insights.find_job(connection, job_id) is None
    removed = zodbjobs.get_job_id(jobs[0])
    queue.remove(jobs[0])
    assert insights.find_job(connection, removed) is None


def test_jobs_whose_class_is_missing(db: Any, queue: Any, connection: Any) -> None:
    whole = put(queue, sample.nothing)
    with gone_from_sample("Special") as kind:
        special = queue.put(kind(sample.add, 1))
        transaction.commit()
        job_id = zodbjobs.get_job_id(special)
    with contextlib.closing(DB(db.storage)) as other:
        # The class of the object in the first connection's cache is still there.
        place = other.open()
        rows = insights.list_jobs(place)
        assert set(ids(rows)) == {whole.id, job_id}
        (row,) = (row for row in rows if row.id == job_id)
        assert (row.state, row.description, row.kind) == ("parked", "sample:add", "Special")
        found = insights.find_job(place, job_id)
        assert found is not None
        why = insights.job_details(found).parked
        assert why == "the class sample.Special is missing in this process"
        place.close()


def test_jobs_that_had_ended_before_their_class_went(db: Any, queue: Any) -> None:
    with gone_from_sample("Special") as kind:
        queue.put_many([kind(sample.identity, number) for number in range(30)])
        transaction.commit()
        assert run_in_groups(db) == 30
    with contextlib.closing(DB(db.storage)) as other:
        place = other.open()
        rows = insights.list_jobs(place)
        assert [(row.state, row.queue) for row in rows] == [("succeeded", "")] * 30
        place.close()


# List


def test_the_newest_first(db: Any, queue: Any, connection: Any) -> None:
    with moving_clock(START) as clock:
        expected = []
        for number in range(60):
            clock.advance(60)
            terms: dict[str, Any] = {"priority": number % 3 - 1}
            if number % 7 == 0:
                terms["begin_after"] = timedelta(seconds=30)
            expected.append(put(queue, sample.nothing, **terms).id)
            if number == 20:
                run_jobs(db)  # these have ended ...
            if number == 40:
                claimer = queue.parent.workers["w"] = record("w")
                claim(queue, claimer, 10, int(clock.datetime().timestamp() * 1e6), queue.shards)
                transaction.commit()  # ... and some of these are claimed
        expected.reverse()
        listed = insights.list_jobs(connection, limit=100)
        assert sorted(ids(listed)) == sorted(expected)
        # Those of one run ended at one time of this clock, in any order among themselves.
        moments = [job.finished or job.begin_after for job in listed]
        assert moments == sorted(moments, reverse=True)
        assert ids(listed)[:39] == expected[:39]
        assert insights.list_jobs(connection, limit=7) == listed[:7]
        for status in ("waiting", "scheduled", "assigned", "completed", "pending"):
            some = insights.list_jobs(connection, status=status, limit=100)
            assert some == [job for job in listed if status in (job.status, job.state)]
            assert some or status in ("scheduled",)


def test_jobs_of_one_transaction_are_listed_singly(connection: Any, queue: Any) -> None:
    with moving_clock(START):
        now = queue.put_many(zodbjobs.Job(sample.add, n) for n in range(30))
        later = queue.put_many(
            (zodbjobs.Job(sample.add, n) for n in range(30)), begin_after=timedelta(hours=1)
        )
        transaction.commit()
        listed = ids(insights.list_jobs(connection, limit=100))
        assert set(listed[:30]) == set(ids(later))
        assert set(listed[30:]) == set(ids(now))
        assert len(insights.list_jobs(connection, limit=5)) == 5


def test_a_short_list_reads_little(db: Any, queue: Any) -> None:
    queue.put_many(zodbjobs.Job(sample.add, n) for n in range(500))
    transaction.commit()
    run_jobs(db)
    queue.put_many(zodbjobs.Job(sample.add, n) for n in range(500))
    transaction.commit()
    fresh = db.open(transaction.TransactionManager())
    fresh.cacheMinimize()
    fresh.getTransferCounts(clear=True)
    assert len(insights.list_jobs(fresh, limit=5)) == 5
    assert len(insights.list_jobs(fresh, limit=5, outcome="succeeded")) == 5
    loaded, _ = fresh.getTransferCounts()
    fresh.close()
    # The roots of 8 shards' trees, a few leaves, and the jobs.
    assert loaded < 200


@pytest.mark.promise(153)
def test_filters(db: Any, queue: Any, connection: Any) -> None:
    other = zodbjobs.get_queues(connection).create("other")
    transaction.commit()
    failed = put(queue, sample.fail)
    added = put(other, sample.add)
    run_jobs(db)
    waiting = put(other, sample.add)
    cancelled = put(queue, sample.add)
    cancelled.cancel()
    transaction.commit()

    def found(**words: Any) -> set[str]:
        return set(ids(insights.list_jobs(connection, **words)))

    assert found() == {failed.id, added.id, waiting.id, cancelled.id}
    assert found(queue="other") == {added.id, waiting.id}
    assert found(callable="*:add") == {added.id, waiting.id, cancelled.id}
    assert found(callable="*:ADD") == set()
    assert found(outcome="failed") == {failed.id}
    assert found(outcome="cancelled", queue="other") == set()
    assert found(status="pending") == {waiting.id}
    assert found(status="completed", callable="sample:*") == {failed.id, added.id, cancelled.id}


@pytest.mark.promise(154)
def test_unknown_words(connection: Any, queue: Any) -> None:
    with pytest.raises(BadArgument, match="unknown status 'done'; use one of new, pending"):
        insights.list_jobs(connection, status="done")
    with pytest.raises(BadArgument, match="unknown outcome 'good'; use one of succeeded"):
        insights.list_jobs(connection, outcome="good")
    with pytest.raises(UnknownQueue):
        insights.list_jobs(connection, queue="nosuch")
    with pytest.raises(UnknownQueue):
        insights.queue_stats(connection, "nosuch")


@pytest.mark.promise(154)
def test_filters_that_contradict_each_other(db: Any, queue: Any, connection: Any) -> None:
    zodbjobs.get_queues(connection).create("other")
    agent = Agent("").copy_for("w")
    early, late = START, START + timedelta(hours=1)
    contradictions: list[tuple[str, dict[str, Any]]] = [
        ("one that is pending has no outcome", {"status": "pending", "outcome": "failed"}),
        ("no worker has one that is parked", {"status": "parked", "worker": "w"}),
        ("isn't before until=", {"since": late, "until": early}),
        ("isn't before until=", {"since": late, "until": late}),
        ("is of worker w, not of x", {"agent": agent, "worker": "x"}),
        ("takes none of queue 'other'", {"agent": agent, "queue": "other"}),
        ("is of no worker; stored_agents", {"agent": Agent("")}),
        ("since must be an aware datetime", {"since": datetime(2026, 3, 1)}),
        ("until must be an aware datetime", {"until": "yesterday"}),
    ]
    for message, words in contradictions:
        with pytest.raises(BadArgument, match=message):
            insights.list_jobs(connection, **words)
    assert insights.list_jobs(connection, status="completed", outcome="failed") == []
    assert insights.list_jobs(connection, status="active", worker="w", agent=agent) == []


@pytest.mark.promise(153)
def test_a_range_of_time(db: Any, queue: Any, connection: Any) -> None:
    moments = {}
    with moving_clock(START) as clock:
        for number in range(6):
            moments[put(queue, sample.add, number).id] = clock.datetime()
            run_jobs(db)
            clock.advance(60)
        for number in range(6):
            moments[put(queue, sample.add, priority=number).id] = clock.datetime()
            later = put(queue, sample.add, begin_after=timedelta(hours=1 + number))
            moments[later.id] = clock.datetime() + timedelta(hours=1 + number)
            clock.advance(60)
        for hours in (5, 1, 9):  # one bundle
            job = queue.put(zodbjobs.Job(sample.add), begin_after=timedelta(hours=hours))
            moments[zodbjobs.get_job_id(job)] = clock.datetime() + timedelta(hours=hours)
        transaction.commit()
    bounds = [START + timedelta(minutes=m) for m in (0, 2, 5, 6, 8, 66, 67, 129, 312, 552, 1000)]
    for filed in (False, True):
        if filed:
            claim(queue, record("w"), 0, int(START.timestamp() * 1e6), queue.shards)
            transaction.commit()
        for since in bounds:
            for until in bounds:
                if since < until:
                    found = insights.list_jobs(connection, since=since, until=until)
                    expected = {i for i, moment in moments.items() if since <= moment < until}
                    assert set(ids(found)) == expected, (filed, since, until)
                    assert found.looked_back_to is None
        assert len(insights.list_jobs(connection, since=START)) == len(moments)
        assert len(insights.list_jobs(connection, until=bounds[-1])) == len(moments)


@pytest.mark.promise(153)
def test_a_range_of_time_is_indexed(db: Any, queue: Any) -> None:
    with moving_clock(START) as clock:
        for _ in range(4):
            queue.put_many(zodbjobs.Job(sample.add, n) for n in range(500))
            transaction.commit()
            run_in_groups(db)
            clock.advance(60)

    def loaded(minute: int) -> int:
        """How many records are loaded for the first of a minute in which 500 have ended."""
        moment = START + timedelta(minutes=minute)
        with contextlib.closing(db.open(transaction.TransactionManager())) as fresh:
            fresh.cacheMinimize()
            fresh.getTransferCounts(clear=True)
            found = insights.list_jobs(
                fresh, since=moment, until=moment + timedelta(seconds=1), limit=5
            )
            assert len(found) == 5
            number: int = fresh.getTransferCounts()[0]
            return number

    assert loaded(0) < loaded(3) + 30


@pytest.mark.promise(153)
def test_a_search_that_finds_little_stops_and_goes_on(queue: Any, connection: Any) -> None:
    with moving_clock(START) as clock:
        expected = []
        for number in range(30):
            expected.append(put(queue, sample.nothing if number % 10 else sample.add).id)
            clock.advance(1)
        words: dict[str, Any] = {"callable": "*:add", "seconds": 0}
        first = insights.list_jobs(connection, **words)
        assert first == []
        assert first.looked_back_to == START + timedelta(seconds=28, microseconds=1)
        found, until, steps = [], None, 0
        while steps == 0 or until is not None:
            listed = insights.list_jobs(connection, until=until, **words)
            found, until, steps = [*found, *ids(listed)], listed.looked_back_to, steps + 1
        assert found == expected[20::-10]
        assert steps == 28
        # Time is only for what isn't wanted, and time enough finds all.
        assert len(insights.list_jobs(connection, seconds=0)) == 30
        whole = insights.list_jobs(connection, callable="*:add")
        assert (ids(whole), whole.looked_back_to) == (found, None)
        # So does the limit.
        pages: list[str] = []
        until = None
        while not pages or until is not None:
            page = insights.list_jobs(connection, until=until, limit=7)
            pages += ids(page)
            until = page.looked_back_to
        assert pages == expected[::-1]


@pytest.mark.promise(153, 155)
def test_jobs_of_workers_and_agents(db: Any, queue: Any, connection: Any) -> None:
    def found(**words: Any) -> list[str]:
        return sorted(ids(insights.list_jobs(connection, **words)))

    failed = put(queue, sample.fail)
    put(queue, sample.add, 1)
    run_jobs(db)
    transaction.begin()
    (ran_by,) = (past.worker for past in failed.past_attempts)
    assert ran_by is not None
    assert insights.job_details(failed).worker == ran_by
    assert found(worker=ran_by) == found(worker=ran_by[:8]) == [failed.id]
    jobs = [put(queue, sample.identity, number) for number in range(5)]
    (agent, *_) = (Agent("", 1, sample.is_odd).copy_for(name) for name in ("holder", "other"))
    for name in ("holder", "other"):
        queue.parent.workers[name] = record(name)
        claim(queue, queue.parent.workers[name], 2, int(START.timestamp() * 1e6), queue.shards)
    transaction.commit()
    assert found(worker="holder") == sorted(ids(jobs[:2]))
    assert found(worker="holder", status="assigned") == sorted(ids(jobs[:2]))
    assert found(worker="holder", status="active") == []
    assert found(worker="o") == sorted(ids(jobs[2:4]))
    assert found(worker="o", queue="", outcome="succeeded") == []
    for words in ({}, {"outcome": "succeeded"}, {"status": "completed"}):
        told = insights.list_jobs(connection, worker="o", **words).leaves_out
        assert told is not None
        assert "that succeeded at their first attempt aren't among these" in told
    for words in ({"outcome": "failed"}, {"status": "assigned"}, {"status": "active"}):
        assert insights.list_jobs(connection, worker="o", **words).leaves_out is None
    assert insights.list_jobs(connection).leaves_out is None
    assert insights.list_jobs(connection, agent=agent).leaves_out is not None
    # Of what waits, and of what its worker holds, those that its filter takes.
    odd = [job.id for job in jobs if sample.is_odd(job)]
    assert found(agent=agent) == sorted(set(odd) & set(ids([*jobs[:2], jobs[4]])))
    assert found(agent=agent, status="assigned") == sorted(set(odd) & set(ids(jobs[:2])))


def test_places() -> None:
    with pytest.raises(NotStored):
        insights.list_jobs(object())
    with contextlib.closing(DB(MappingStorage())) as db, db.transaction() as empty:
        for read in (insights.list_jobs, insights.all_queue_stats, insights.list_workers):
            with pytest.raises(NotInstalled):
                read(empty)


# Numbers


@pytest.mark.promise(98)
def test_counts(db: Any, queue: Any, connection: Any) -> None:
    with moving_clock(START) as clock:
        put(queue, sample.add)
        put(queue, sample.fail)
        run_jobs(db)
        for _ in range(2):  # in the inboxes, then filed by a claim
            queue.put_many([zodbjobs.Job(sample.add) for _ in range(3)])
            transaction.commit()
            queue.put_many([zodbjobs.Job(sample.add)] * 1, begin_after=timedelta(minutes=5))
            queue.put_many(
                [zodbjobs.Job(sample.add) for _ in range(2)], begin_after=timedelta(minutes=9)
            )
            put(queue, sample.add, begin_after=timedelta(minutes=5))

            stats = insights.queue_stats(connection, "")
            claim(queue, record("w"), 0, 0, queue.shards)
            transaction.commit()
        assert (stats.waiting, stats.scheduled, stats.finished) == (6, 8, 2)
        clock.advance(6 * 60)
        stats = insights.queue_stats(connection, "")
        assert (stats.waiting, stats.scheduled) == (10, 4)
        assert (stats.parked, stats.assigned, stats.active) == (0, 0, 0)
        assert insights.all_queue_stats(connection) == [stats]


@pytest.mark.promise(99, 102)
def test_the_chart(db: Any, queue: Any, connection: Any) -> None:
    with moving_clock(START) as clock:
        for function in (sample.add, sample.fail):
            for _ in range(3):
                put(queue, function)
            run_jobs(db)
            clock.advance(120)
        transaction.begin()
        chart = insights.queue_stats(connection, "").chart
        assert [(m.start, m.finished, m.failed) for m in chart] == [
            (START, 3, 0),
            (START + timedelta(minutes=2), 3, 3),
        ]
        assert len(insights.queue_stats(connection, "", minutes=3).chart) == 1
        put(queue, sample.take, 7)
        run_jobs(db)
        transaction.begin()
        assert [m.seconds for m in insights.queue_stats(connection, "").chart] == [0, 0, 7]
        clock.advance(3600)
        assert insights.queue_stats(connection, "").chart == ()


@pytest.mark.promise(102, 153)
def test_the_times_of_an_hour(db: Any, queue: Any, connection: Any) -> None:
    with moving_clock(START) as clock:
        assert insights.queue_stats(connection, "").duration is None
        for number in range(20):
            put(queue, sample.take, 1 if number else 40)
            clock.advance(7)
            run_jobs(db)
            clock.advance(60)
        put(queue, sample.take, 2, begin_after=timedelta(minutes=5))
        clock.advance(5 * 60 + 3)
        run_jobs(db)
        transaction.begin()
        stats = insights.queue_stats(connection, "")
        assert stats.duration == insights.Times(
            p50=1, p95=pytest.approx(2, rel=0.19), max=40, min=1
        )
        assert stats.waiting_time is not None
        assert stats.waiting_time.p50 == pytest.approx(7, rel=0.19)
        assert (stats.waiting_time.min, stats.waiting_time.max) == (3, 7)
        # What has ended without having been begun took no time.
        put(queue, sample.take, 9).cancel()
        put(queue, sample.take, 9, begin_by=timedelta(seconds=1))
        clock.advance(2)
        run_jobs(db)
        transaction.begin()
        after = insights.queue_stats(connection, "")
        assert (after.duration, after.waiting_time) == (stats.duration, stats.waiting_time)
        assert after.finished == stats.finished + 2
        clock.advance(3600 + 600)
        assert insights.queue_stats(connection, "").duration is None


def test_the_times_are_stored_once_in_ten_minutes(db: Any, queue: Any) -> None:
    """Whatever is booked writes a leaf of these entries anew."""
    with moving_clock(START) as clock:
        for _ in range(60):
            for _ in range(20):
                put(queue, sample.take, 1)
            run_jobs(db)
            clock.advance(60 - 20)
        transaction.begin()
        for shard in queue.shards:
            minutes = [m for m, booked in minutes_of(shard) if len(booked) > 3]
            assert len(minutes) == len({minute // 10 for minute in minutes}) <= 7
        duration = insights.queue_stats(queue, "", minutes=120).duration
        assert duration is not None
        assert (duration.min, duration.max) == (1, 1)


@pytest.mark.parametrize("micros", [0, 1, 2, 3, 1_000, 44_444, 7_000_000, 10**12])
def test_the_precision_of_times(micros: int) -> None:
    spread = spreads.spread_of([micros, *([1, 10**13] if micros else [])])
    assert spread is not None
    assert spreads.quantile(spread, 0.5) == pytest.approx(micros, rel=0.19)


def hold(queue: Any, name: str, number: int, running: int = 0) -> list[str]:
    """Let a worker hold so many jobs of a queue; the ids."""
    workers = queue.parent.workers
    if name not in workers:
        workers[name] = record(name, host="another.host")
    record_of = workers[name]
    jobs = [put(queue, sample.nothing) for _ in range(number)]
    transaction.commit()
    claimed = claim(queue, record_of, number, clock.now(), queue.shards)
    for each in claimed[:running]:
        record_of.running[each.key] = RunningJob(0)
    transaction.commit()
    return [job.id for job in jobs]


def loads(db: Any, name: str) -> int:
    """How many jobs are loaded for the numbers of a queue."""
    loaded = []
    with db.transaction() as fresh:
        fresh.cacheMinimize()
        setstate = fresh.setstate
        fresh.setstate = lambda o: loaded.append(type(o)) or setstate(o)
        insights.queue_stats(fresh, name)
        del fresh.setstate
    return loaded.count(zodbjobs.Job)


def test_what_workers_hold_is_counted_by_looking_at_few(
    db: Any, queue: Any, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(queue, "w", 5, running=2)
    stats = insights.queue_stats(connection, "")
    assert (stats.assigned, stats.active, stats.not_looked_at) == (3, 2, 0)
    assert loads(db, "") == 0
    other = queue.parent.create("other")
    hold(other, "w", 4, running=3)
    hold(other, "x", 2)
    found = {s.name: (s.assigned, s.active) for s in insights.all_queue_stats(connection)}
    assert found == {"": (3, 2), "other": (3, 3)}
    assert loads(db, "other") == 11
    monkeypatch.setattr(defaults, "LEASED_LOOKS", 7)
    assert loads(db, "other") == 7
    first, second = insights.all_queue_stats(connection)
    assert (first.active, second.active) == (2, 3)  # what runs is looked at first
    assert first.assigned + second.assigned == 2
    assert first.not_looked_at == second.not_looked_at == 4


def test_jobs_that_workers_hold_are_those_of_the_queue(
    db: Any, queue: Any, connection: Any
) -> None:
    other = queue.parent.create("other")
    mine, theirs = hold(queue, "w", 3), hold(other, "w", 2)
    assert sorted(ids(insights.list_jobs(connection))) == sorted(mine + theirs)
    assert sorted(ids(insights.list_jobs(connection, queue="other"))) == sorted(theirs)
    found = insights.list_jobs(connection, queue="", status="assigned", worker="w")
    assert sorted(ids(found)) == sorted(mine)
    # It stops looking among those of others, too.
    listed = insights.list_jobs(connection, queue="", limit=1, seconds=0)
    assert listed.looked_back_to is not None


@pytest.mark.promise(153)
def test_next_due_last_ended_and_the_oldest(db: Any, queue: Any, connection: Any) -> None:
    def found() -> tuple[Any, ...]:
        transaction.begin()
        stats = insights.queue_stats(connection, "")
        times = (stats.next_due, stats.last_ended, stats.oldest_waiting)
        # The next microsecond is the time of one of several that were put in one.
        return tuple(None if t is None else round((t - START).total_seconds(), 3) for t in times)

    with moving_clock(START) as clock:
        assert found() == (None, None, None)
        put(queue, sample.nothing)
        run_jobs(db)
        clock.advance(1)
        assert found() == (None, 0, None)
        for _ in range(2):  # in the inboxes, then filed by a claim
            put(queue, sample.nothing, begin_after=timedelta(seconds=90))
            put(queue, sample.nothing, begin_after=timedelta(seconds=60), priority=-8)
            queue.put_many([sample.nothing] * 3, begin_after=timedelta(seconds=70))
            transaction.commit()
            assert found() == (61, 0, None)
            claim(queue, record("w"), 0, int(START.timestamp() * 1e6), queue.shards)
            transaction.commit()
            assert found() == (61, 0, None)
        clock.advance(1)
        queue.put_many([sample.nothing] * 3, priority=2)
        transaction.commit()
        assert found() == (61, 0, 2)
        run_jobs(db)
        assert found() == (61, 2, None)
        put(queue, sample.nothing, priority=-8)
        clock.advance(1)
        queue.put_many([sample.nothing] * 3)
        transaction.commit()
        put(queue, sample.nothing, priority=7)
        assert found() == (61, 2, 2)
        claim(queue, record("w"), 0, int(START.timestamp() * 1e6), queue.shards)
        transaction.commit()
        assert found() == (61, 2, 2)
        clock.advance(60)
        assert found() == (71, 2, 2)
        clock.advance(600)
        run_jobs(db)
        assert found() == (None, 663, None)


@pytest.mark.promise(103)
def test_the_state_of_a_worker(connection: Any, queue: Any) -> None:
    def states() -> dict[str, str]:
        return {worker.id: worker.state for worker in insights.list_workers(connection)}

    records = {name: record(name, host="another.host") for name in ("well", "stuck")}
    records["stuck"].stuck = 2
    records["gone"] = record("gone", process_started="another start")
    queue.parent.workers.update(records)
    assert states() == {"gone": "gone", "stuck": "stuck", "well": "running"}
    transaction.commit()
    now = datetime.now(UTC)
    with moving_clock(now) as clock:
        assert states() == {"gone": "gone", "stuck": "stuck", "well": "running"}
        (shown,) = (w for w in insights.list_workers(connection) if w.id == "well")
        assert abs(shown.last_written - now) < timedelta(minutes=1)  # type: ignore[operator]
        clock.advance(3600)
        assert states() == {"gone": "gone", "stuck": "silent", "well": "silent"}


@pytest.mark.promise(103)
def test_a_worker_that_died(connection: Any, queue: Any) -> None:
    records = {
        "elsewhere": record("elsewhere", host="another.host"),
        "dead": record("dead", process_started="another start"),
    }
    queue.parent.workers.update(records)
    transaction.commit()
    gone = {worker.id: worker.gone for worker in insights.list_workers(connection)}
    assert gone == {"elsewhere": False, "dead": True}


def test_values_outlive_the_connection(db: Any, queue: Any, connection: Any) -> None:
    put(queue, sample.add, 1)
    other = db.open(transaction.TransactionManager())
    (row,) = insights.list_jobs(other)
    details = insights.job_details(insights.find_job(other, row.id))  # type: ignore[arg-type]
    other.close()
    assert details.as_json()["arguments"] == ["1"]
    with pytest.raises(AttributeError):
        row.state = "scheduled"  # type: ignore[misc]
