"""Schedules: what is put again and again, once for each planned time."""

from __future__ import annotations

import contextlib
import threading
import zoneinfo
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import patience
import pytest
import sample
import transaction
from bench import bench
from BTrees.LOBTree import LOBTree
from meanwhile import committed
from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches

import zodbjobs
import zodbjobs.clock
from zodbjobs import context, insights, operations
from zodbjobs.errors import (
    BadArgument,
    BadStatus,
    MissingCode,
    UnknownQueue,
    UnknownQuota,
    UnknownSchedule,
)
from zodbjobs.operations import deeds
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.tasks.schedules import FireSchedules
from zodbjobs.stored.lifecycle import firing
from zodbjobs.testing import moving_clock, run_jobs
from zodbjobs.times import zones

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> Any:
    with moving_clock(START) as moved:
        yield moved


@pytest.fixture
def schedules(clock: Any, queue: Any) -> Any:
    return queue.parent.schedules


def note(value: Any) -> zodbjobs.Job:
    return zodbjobs.Job(sample.note, value)


def planned() -> None:
    sample.noted.append((zodbjobs.local.get_job().schedule, zodbjobs.local.get_job().planned))


def run(db: Any) -> list[Any]:
    """What has been noted once all that is due has run; and forgets it."""
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    noted, sample.noted[:] = list(sample.noted), []
    return noted


def fire(db: Any, begin: bool = True) -> int:
    """Fire what is due, and run nothing; returns how many jobs were put."""
    with committed(db) as queue:
        now = zodbjobs.clock.now()
        due = [schedule for _, schedule in queue.parent.schedules.due_until(now)]
        fired = sum(len(firing.fire(schedule, now, 100)) for schedule in due)
    if begin:
        transaction.begin()
    return fired


def at(hour: int, minute: int = 0, day: int = 1) -> datetime:
    return datetime(2026, 6, day, hour, minute, tzinfo=UTC)


# What a schedule does


def test_it_puts_a_job_for_each_planned_time(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("nightly", "30 2 * * *", planned)
    assert run(any_db) == []
    assert made.next == at(2, 30, day=2)
    clock.set(at(2, 29, day=2))
    assert run(any_db) == []
    for day in (2, 3):
        clock.set(at(2, 30, day=day))
        assert run(any_db) == [("nightly", at(2, 30, day=day))]
        assert run(any_db) == []
    assert made.next == at(2, 30, day=4)
    assert [each.planned for each in made.runs] == [at(2, 30, day=3), at(2, 30, day=2)]
    job = schedules.parent[""].get(made.runs[0].job_id)
    assert (job.outcome, job.schedule, job.planned) == (
        *("succeeded", "nightly", at(2, 30, day=3)),
    )


def test_intervals_and_moments(any_db: Any, schedules: Any, clock: Any) -> None:
    steady = schedules.create("steady", planned, every=timedelta(minutes=10))
    schedules.create("later", planned, every=HOUR, start=at(12, 25))
    some = schedules.create("some", planned, at=[at(12, 30), at(12, 20), at(12, 20)])
    seen = []
    for minute in range(40):
        clock.set(START + minute * MINUTE)
        clock.advance(1.7)  # late, which adds up to nothing
        seen += run(any_db)
    assert [time for name, time in seen if name == "steady"] == [
        *(at(12, 10), at(12, 20), at(12, 30))
    ]
    assert [time for name, time in seen if name == "later"] == [at(12, 25)]
    assert [time for name, time in seen if name == "some"] == [at(12, 20), at(12, 30)]
    assert (some.next, some.upcoming()) == (None, [])
    assert steady.upcoming(2) == [at(12, 40), at(12, 50)]


def test_a_job_of_it_is_like_the_one_it_was_given(
    any_db: Any, queue: Any, account: Any, schedules: Any, clock: Any
) -> None:
    queue.quotas.create("mail")
    given = zodbjobs.ProgressableJob(sample.note, [1, account])
    given.retry_policy = zodbjobs.NeverRetry
    given.colour = "red"
    schedules.create(
        "all",
        given,
        every=HOUR,
        priority=3,
        timeout=60,
        begin_by=DAY,
        quota_names=["mail"],
        owner="bob",
        about=account,
        title="An hour",
        realm="/bank",
    )
    transaction.commit()
    given.args[0].append("changed afterwards")
    clock.advance(3600)
    fire(any_db)
    (job,) = list(queue)
    assert type(job) is zodbjobs.ProgressableJob
    assert (job.priority, job.timeout, job.begin_by) == (3, MINUTE, DAY)
    assert (job.owner, job.title, job.realm, job.colour) == ("bob", "An hour", "/bank", "red")
    assert isinstance(job.retry_policy, zodbjobs.NeverRetry)
    assert (job.about, job.quota_names, job.args[0]) == (account, ("mail",), [1, account])
    assert [j.id for j in zodbjobs.jobs_of("bob", queue)] == [job.id]
    assert given.status == "new"


def test_a_sweep_of_it_goes_through_all_each_time(
    any_db: Any, connection: Any, schedules: Any, clock: Any
) -> None:
    tree = connection.root()["tree"] = LOBTree({1: "one", 2: "two"})
    schedules.create("sweep", zodbjobs.Sweep(tree, sample.note), every=HOUR)
    for _ in range(2):
        clock.advance(3600)
        assert run(any_db) == ["one", "two"]


def test_its_jobs_run_in_what_it_was_made_in(any_db: Any, schedules: Any, clock: Any) -> None:
    context.register("colour", lambda: "red", lambda value: contextlib.nullcontext())
    try:
        with_it = schedules.create("with", sample.nothing, every=HOUR)
        without = schedules.create("without", sample.nothing, every=HOUR, context=False)
        clock.advance(3600)
        run(any_db)
    finally:
        context.unregister("colour")
    queue = schedules.parent[""]
    assert queue.get(with_it.runs[0].job_id).context == {"colour": "red"}
    assert queue.get(without.runs[0].job_id).context == {}


def test_a_job_that_is_put_again_keeps_its_planned_time(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    made = schedules.create("often", sample.fail, every=HOUR)
    clock.advance(3600)
    run(any_db)
    queue = schedules.parent[""]
    job = queue.get(made.runs[0].job_id)
    assert job.outcome == "failed"
    queue.retry(job)
    assert (job.schedule, job.planned) == ("often", at(13))
    again = deeds.put_again(queue, job.id)
    assert (again.schedule, again.planned) == ("often", at(13))
    assert zodbjobs.Job(sample.nothing).planned is None


def test_jitter_is_added_to_when_it_is_due(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("spread", planned, every=HOUR, jitter=timedelta(minutes=10))
    transaction.commit()
    clock.advance(3600)
    fire(any_db)
    job = schedules.parent[""].get(made.runs[0].job_id)
    assert at(13) <= job.due <= at(13, 10)
    assert job.planned == at(13)
    clock.advance(600)
    assert run(any_db) == [("spread", at(13))]


# Times that were missed


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"catch_up": "none"}, []),
        ({"catch_up": "latest"}, [at(12, 0, day=2)]),
        ({}, [at(12, 0, day=2)]),
        ({"catch_up": "latest", "window": timedelta(minutes=4)}, []),
        ({"catch_up": "latest", "window": timedelta(minutes=5)}, [at(12, 0, day=2)]),
        ({"catch_up": "all"}, [START + each * HOUR for each in range(1, 25)]),
        (
            {"catch_up": "all", "window": timedelta(hours=2, minutes=5)},
            [at(10, day=2), at(11, day=2), at(12, day=2)],
        ),
        ({"catch_up": "all", "window": None}, [START + each * HOUR for each in range(1, 25)]),
    ],
)
def test_what_was_missed_for_a_day(
    any_db: Any, schedules: Any, clock: Any, options: Any, expected: Any
) -> None:
    made = schedules.create("hourly", "@hourly", planned, overlap="allow", **options)
    transaction.commit()
    clock.set(START + DAY + 5 * MINUTE)
    assert run(any_db) == [("hourly", time) for time in expected]
    assert made.next == at(13, day=2)
    if expected != [START + each * HOUR for each in range(1, 25)]:
        assert made.left_out == [(at(13), "missed")]


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_what_is_a_little_late_is_fired_anyway(
    any_db: Any, schedules: Any, clock: Any, catch_up: str
) -> None:
    schedules.create("hourly", "@hourly", planned, catch_up=catch_up, window=timedelta(0))
    transaction.commit()
    clock.set(at(13) + timedelta(seconds=60))
    assert run(any_db) == [("hourly", at(13))]


def test_many_missed_times_are_put_in_several_commits(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    schedules.create("often", "* * * * *", planned, catch_up="all", overlap="allow")
    transaction.commit()
    clock.set(START + 250 * MINUTE)
    assert len(run(any_db)) == 250


# While the job before hasn't ended


def fire_twice(db: Any, clock: Any) -> None:
    """Let two planned times come, of which no job is run."""
    transaction.commit()
    for _ in range(2):
        clock.advance(3600)
        fire(db)


@pytest.mark.parametrize(
    ("overlap", "statuses", "noted"),
    [
        ("skip", ["pending"], [at(13)]),
        ("queue", ["pending", "pending"], [at(13), at(14)]),
        ("cancel", ["pending"], [at(14)]),
        ("allow", ["pending", "pending"], [at(13), at(14)]),
    ],
)
def test_overlap(
    any_db: Any, schedules: Any, clock: Any, overlap: str, statuses: Any, noted: Any
) -> None:
    made = schedules.create("hourly", "@hourly", planned, overlap=overlap)
    fire_twice(any_db, clock)
    jobs = [schedules.parent[""].get(each.job_id) for each in reversed(made.runs)]
    assert [job.status for job in jobs if job.outcome is None] == statuses
    if overlap == "skip":
        assert made.left_out == [(at(14), "overlap")]
    if overlap == "queue":
        assert insights.job_info(jobs[1]).state == "blocked"
    assert [time for _, time in run(any_db)] == noted
    clock.advance(3600)
    assert [time for _, time in run(any_db)] == [at(15)]


def test_one_that_fails_too_often_is_paused(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("bad", "@hourly", sample.fail, pause_after_failures=2)
    for _ in range(4):
        clock.advance(3600)
        run(any_db)
    assert made.fired == 2
    last = made.runs[0].job_id
    assert made.paused == (
        f"each of its last 2 runs has ended without success, the last one as job {last}"
    )
    assert (made.next, made.paused_since) == (None, at(15))
    made.resume()
    for _ in range(3):
        clock.advance(3600)
        run(any_db)
    assert made.fired == 4
    assert made.paused


# What people do


def test_a_paused_one_does_not_fire(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("hourly", "@hourly", planned, catch_up="all")
    made.pause("the printer burns", "alice")
    assert (made.paused, made.paused_by, made.paused_since) == (
        *("the printer burns", "alice", START),
    )
    assert (made.next, made.upcoming(1)) == (None, [at(13)])
    clock.advance(3 * 3600 + 60)
    assert run(any_db) == []
    assert made.resume() is True
    assert made.resume() is False
    assert run(any_db) == []
    assert made.next == at(16)
    with pytest.raises(BadArgument, match="for a reason"):
        made.pause(" ")


def test_run_now(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("hourly", "@hourly", planned)
    made.pause("for now")
    job = made.run()
    assert (job.schedule, job.planned) == ("hourly", START)
    assert run(any_db) == [("hourly", START)]
    assert made.runs[0].job_id == job.id
    made.resume()
    assert made.next == at(13)


def test_run_now_is_now_whatever_the_jitter(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("spread", "@hourly", planned, jitter=timedelta(days=30))
    assert made.run().status == "pending"
    assert run(any_db) == [("spread", START)]


def test_it_is_edited(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("hourly", "@hourly", planned, owner="bob", priority=2)
    made.edit("@daily", zone="Asia/Kathmandu")
    assert (made.when, made.zone, made.next) == ("@daily", "Asia/Kathmandu", at(18, 15))
    made.edit(note(5), catch_up="none", window=None, pause_after_failures=3)
    assert (made.job.owner, made.job.priority) == ("bob", 0)
    assert (made.catch_up, made.window, made.pause_after_failures) == ("none", None, 3)
    made.edit(every=HOUR, title="Five", priority=1)
    assert (made.when, made.job.title, made.job.priority) == ("every 1:00:00", "Five", 1)
    assert list(made.job.args) == [5]
    made.edit(overlap="allow")
    assert made.next == at(13)
    before = made.when, made.overlap, made.job
    for bad in (
        {"zone": "Mars"},
        {"overlap": "skip", "queue": "nowhere"},
        {"overlap": "skip", "quota_names": ["nothing"]},
        {"at": []},
    ):
        with pytest.raises((BadArgument, UnknownQueue)):
            made.edit(**bad)
    with pytest.raises(TypeError, match="no option 'colour'"):
        made.edit(colour="red")
    assert (made.when, made.overlap, made.job) == before
    clock.advance(3600)
    assert run(any_db) == [5]


def test_it_is_removed(any_db: Any, schedules: Any, clock: Any) -> None:
    made = schedules.create("hourly", "@hourly", planned)
    del schedules["hourly"]
    clock.advance(3600)
    assert run(any_db) == []
    assert (len(schedules), list(schedules), "hourly" in schedules) == (0, [], False)
    for deed in (made.run, made.resume, lambda: made.pause("x"), made.remove, made.edit):
        with pytest.raises(UnknownSchedule, match="was removed"):
            deed()
    with pytest.raises(UnknownSchedule, match="there is no schedule 'hourly'"):
        schedules["hourly"]


# What is refused


@pytest.mark.parametrize(
    ("what", "options", "error", "why"),
    [
        (["0 25 * * *", planned], {}, BadArgument, "at character 3"),
        (["@hourly"], {}, BadArgument, "has nothing to put"),
        ([planned], {}, BadArgument, "either a cron expression"),
        (["@hourly", planned, planned], {}, BadArgument, "is too much"),
        (["@hourly", planned], {"every": HOUR}, BadArgument, "several of them"),
        (["@hourly", 5], {}, TypeError, "callable"),
        (["@hourly", lambda: 0], {}, BadArgument, "lambda"),
        (["@hourly", planned], {"zone": "Mars"}, BadArgument, "no zone 'Mars'"),
        (["@hourly", planned], {"queue": "nowhere"}, UnknownQueue, "nowhere"),
        (["@hourly", planned], {"quota_names": ["x"]}, UnknownQuota, "'x'"),
        (["@hourly", planned], {"catch_up": "some"}, BadArgument, "'none', 'latest', 'all'"),
        (["@hourly", planned], {"overlap": None}, BadArgument, "'skip', 'queue'"),
        (["@hourly", planned], {"window": -HOUR}, BadArgument, "isn't negative"),
        (["@hourly", planned], {"jitter": 5}, BadArgument, "jitter is a timedelta"),
        (["@hourly", planned], {"pause_after_failures": 0}, BadArgument, "1 to 20"),
        (["@hourly", planned], {"priority": 99}, BadArgument, "priority"),
        (["@hourly", planned], {"timeout": -1}, BadArgument, "timeout"),
        (["@hourly", planned], {"owner": 5}, BadArgument, "owner"),
        ([planned], {"at": [datetime(2026, 1, 1)]}, BadArgument, "without a timezone"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_written(
    schedules: Any, what: Any, options: Any, error: Any, why: str
) -> None:
    transaction.commit()
    with pytest.raises(error, match=why):
        schedules.create("bad", *what, **options)
    assert len(schedules) == 0
    assert not schedules._p_jar._registered_objects


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "..", None, 5])
def test_a_name_is_a_short_text(schedules: Any, name: Any) -> None:
    with pytest.raises(BadArgument, match="the name of a schedule"):
        schedules.create(name, "@hourly", planned)


def test_jobs_that_are_for_once_are_refused(queue: Any, schedules: Any) -> None:
    called = zodbjobs.Job(planned)
    called.add_callback(sample.nothing)
    for job, why in ((called, "callbacks"), (zodbjobs.serial(planned), "composition")):
        with pytest.raises(BadArgument, match=why):
            schedules.create("bad", "@hourly", job)
    with pytest.raises(BadStatus, match="takes a new job"):
        schedules.create("bad", "@hourly", queue.put(planned))
    schedules.create("good", "@hourly", planned)
    with pytest.raises(BadArgument, match="there is a schedule 'good' already"):
        schedules.create("good", "@hourly", planned)


def test_a_zone_may_be_an_object(schedules: Any) -> None:
    made = schedules.create("there", "0 12 * * *", planned, zone=ZoneInfo("America/New_York"))
    assert (made.zone, made.next) == ("America/New_York", at(16))
    assert made.words == "At 12:00 every day"


# One commit


@pytest.mark.parametrize("deed", ["edit", "pause", "run", "remove", "fire"])
def test_two_who_write_one_conflict(any_db: Any, schedules: Any, clock: Any, deed: str) -> None:
    made = schedules.create("hourly", "@hourly", planned)
    transaction.commit()
    clock.advance(3600)
    deeds = {
        "edit": lambda: made.edit(title="other"),
        "pause": lambda: made.pause("why"),
        "run": made.run,
        "remove": made.remove,
        "fire": lambda: firing.fire(made, zodbjobs.clock.now(), 1),
    }
    transaction.begin()
    deeds[deed]()
    assert fire(any_db, begin=False) == 1
    with pytest.raises(TransientError):
        transaction.commit()
    transaction.abort()
    assert [each.planned for each in made.runs] == [at(13)]
    assert len(schedules.parent[""]) == 1


def test_a_clock_that_is_set_back_fires_nothing_twice(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    made = schedules.create("hourly", "@hourly", planned)
    clock.advance(3600)
    assert run(any_db) == [("hourly", at(13))]
    clock.set(at(12, 30))
    assert run(any_db) == []
    made.edit("0 * * * *")
    assert run(any_db) == []
    clock.set(at(13))
    assert run(any_db) == []
    clock.set(at(14))
    assert run(any_db) == [("hourly", at(14))]


@pytest.mark.parametrize("deed", ["edit", "resume"])
def test_a_clock_that_was_far_ahead_is_made_good(
    any_db: Any, schedules: Any, clock: Any, deed: str
) -> None:
    made = schedules.create("hourly", "@hourly", planned)
    transaction.commit()
    clock.set(START + 365 * DAY)
    assert run(any_db) == [("hourly", START + 365 * DAY)]
    clock.set(at(13))
    assert run(any_db) == []
    if deed == "edit":
        made.edit("0 * * * *")
    else:
        made.pause("the clock was wrong")
        made.resume()
    clock.set(at(14))
    assert run(any_db) == [("hourly", at(14))]


def test_a_clock_that_no_key_can_tell_fires_nothing(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    """What it fired would have no next time."""
    schedules.create("hourly", "@hourly", planned)
    transaction.commit()
    for year in (2200, 9999):
        clock.set(datetime(year, 12, 31, 23, 59, tzinfo=UTC))
        now = zodbjobs.clock.now()
        assert schedules.first_due_after(now) is None
        assert list(schedules.due_until(now)) == []
        assert insights.schedule_lateness(schedules) == timedelta(0)
        assert fire(any_db) == 0
    clock.set(at(13))
    assert run(any_db) == [("hourly", at(13))]


def test_an_undone_firing_is_fired_again(db: Any, clock: Any) -> None:
    with db.transaction() as connection:
        made = zodbjobs.get_queues(connection).schedules.create("hourly", "@hourly", planned)
    clock.advance(3600)
    fire(db)
    db.undo(db.undoLog(0, 1)[0]["id"])
    transaction.commit()
    connection = db.open()
    queues = zodbjobs.get_queues(connection)
    made = queues.schedules["hourly"]
    assert (made.runs, made.next, len(queues[""])) == ([], at(13), 0)
    assert run(db) == [("hourly", at(13))]
    assert made.fired == 1
    connection.close()


# In a worker: what can't be fired harms no other


def test_a_queue_that_drains_holds_its_schedules_back(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    schedules.parent.create("other")
    made = schedules.create("hourly", "@hourly", planned)
    schedules.create("other", "@hourly", planned, queue="other")
    schedules.parent[""].drain("a new release comes")
    clock.advance(3600)
    assert run(any_db) == [("other", at(13))]
    assert (made.next, made.paused) == (at(13), None)
    schedules.parent[""].resume()
    assert run(any_db) == [("hourly", at(13))]


@contextlib.contextmanager
def firing_task(db: Any) -> Any:
    with bench(db) as worker:
        yield FireSchedules(worker.registration.session, worker.parts.wakeup)


@pytest.mark.parametrize("number", [1, 101])
def test_one_that_catches_up_for_days_delays_no_other(
    any_db: Any, schedules: Any, clock: Any, number: int
) -> None:
    for n in range(number):
        schedules.create(
            f"all {n}", "* * * * *", note(1), catch_up="all", window=None, overlap="allow"
        )
    clock.advance(DAY.total_seconds())
    schedules.create("other", "@hourly", planned)
    transaction.commit()
    clock.advance(HOUR.total_seconds())
    with firing_task(any_db) as task:
        for _ in range(1 if number == 1 else 2):
            assert task.tick()
        with any_db.transaction() as connection:
            fired = [each.fired for each in zodbjobs.get_queues(connection).schedules.values()]
    assert fired[-1] == 1  # that is the other one
    assert min(fired) > 0
    assert sum(fired) <= 300


class Unsayable(Exception):
    """One that can't be shown."""

    def __str__(self) -> str:
        raise RuntimeError("this too")


def test_one_that_can_not_even_be_paused_harms_no_other(
    any_db: Any,
    schedules: Any,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("bad", "good"):
        schedules.create(name, "@hourly", planned)
    put = firing._put

    def put_good(schedule: Any, *rest: Any) -> Any:
        if schedule.name == "bad":
            raise Unsayable
        return put(schedule, *rest)

    monkeypatch.setattr(firing, "_put", put_good)
    clock.advance(3600)
    assert run(any_db) == [("good", at(13))]
    assert "can't even be paused" in caplog.text


def test_many_with_some_bad_ones_among_them(any_db: Any, schedules: Any, clock: Any) -> None:
    schedules.parent.create("gone")
    for n in range(300):
        queue = "gone" if n % 100 == 50 else ""
        schedules.create(f"{n}", "@hourly", planned, overlap="allow", queue=queue)
    del schedules.parent._queues["gone"]
    clock.advance(3600)
    assert len(run(any_db)) == 297
    assert [each.name for each in schedules.values() if each.paused] == ["150", "250", "50"]


def test_one_whose_queue_has_gone_is_paused(
    any_db: Any, schedules: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    schedules.parent.create("other")
    bad = schedules.create("bad", "@hourly", planned, queue="other")
    good = schedules.create("good", "@hourly", planned)
    del schedules.parent._queues["other"]
    transaction.commit()
    clock.advance(3600)
    assert run(any_db) == [("good", at(13))]
    assert bad.paused.startswith("it couldn't be fired: UnknownQueue: there is no queue 'other'")
    assert (good.paused, good.fired) == (None, 1)
    assert "the schedule 'bad' can't be fired, and is paused" in caplog.text


def test_one_whose_code_is_missing_is_left_to_others_for_a_while(
    any_db: Any,
    schedules: Any,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = schedules.create("bad", "@hourly", zodbjobs.Job(sample.note, sample.Brittle()))
    schedules.create("good", "@hourly", planned)
    transaction.commit()
    clock.advance(3600)
    monkeypatch.setattr(sample, "brittle", ImportError)
    any_db.cacheMinimize()
    with worker_that_fires(any_db) as task:
        while task.tick():
            pass
        transaction.begin()
        assert (bad.paused, bad.next) == (None, at(13))
        assert "it is left to other workers for now" in caplog.text
        assert len(schedules.parent[""]) == 1
        clock.advance(59)
        while task.tick():
            pass
        transaction.begin()
        assert bad.paused is None
        clock.advance(11)
        while task.tick():
            pass
    transaction.begin()
    assert "is missing in this process" in bad.paused


def test_code_that_was_missing_for_one_time_is_waited_for_at_the_next_one(
    any_db: Any, schedules: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old release sees each of its times first, and a new one, which has the code, fires it."""
    bad = schedules.create("bad", "@hourly", zodbjobs.Job(sample.note, sample.Brittle()))
    transaction.commit()
    with worker_that_fires(any_db) as old:
        for fired in range(3):
            clock.advance(3600)
            with monkeypatch.context() as patch:
                patch.setattr(sample, "brittle", ImportError)
                any_db.cacheMinimize()
                old._session.stored._p_jar.cacheMinimize()
                while old.tick():
                    pass
            transaction.begin()
            assert (bad.paused, bad.fired) == (None, fired)
            assert len(run(any_db)) == 1


@contextlib.contextmanager
def without_code(db: Any, how: str) -> Any:
    """A time in which the code of the jobs of `special` is missing."""
    transaction.abort()
    with pytest.MonkeyPatch.context() as patch:
        if how == "class":
            patch.delattr(sample, "SpecialJob")
        else:
            patch.setattr(sample, "brittle", SystemExit)
        resetCaches()
        db.cacheMinimize()
        yield
    resetCaches()
    transaction.begin()


def special(schedules: Any, how: str, **options: Any) -> Any:
    """A schedule whose job and last run can't be loaded without their code."""
    job = zodbjobs.Job(sample.note, sample.Brittle())
    if how == "class":
        job = sample.SpecialJob(sample.note, 1)
    made = schedules.create("special", "@hourly", job, owner="bob", realm="/bank", **options)
    made.run()
    transaction.commit()
    return made


@pytest.mark.parametrize("how", ["class", "argument"])
def test_one_whose_code_is_missing_is_shown_and_changed(
    any_db: Any, schedules: Any, clock: Any, how: str
) -> None:
    special(schedules, how)
    with without_code(any_db, how):
        with any_db.transaction() as connection:
            (found,) = insights.list_schedules(connection, realm="/bank")
            shown = insights.schedule_details(connection, "special")
        assert (found.calls, found.owner, found.realm) == ("sample:note", "bob", "/bank")
        assert found.unreadable is not None
        assert "process" in found.unreadable
        assert len(shown.upcoming) == 10
        operations.pause_schedule(any_db, "special", "its code is gone", by="ada")
        operations.resume_schedule(any_db, "special")
        operations.edit_schedule(any_db, "special", "@daily")
        with pytest.raises(MissingCode, match="'special' can't put its job"):
            operations.run_schedule(any_db, "special")
        with pytest.raises(MissingCode, match="'special' can't be changed here"):
            operations.edit_schedule(any_db, "special", priority=1)
        mended = operations.edit_schedule(any_db, "special", sample.nothing)
        assert (mended.unreadable, mended.owner, mended.realm) == (None, "bob", "/bank")
        operations.run_schedule(any_db, "special")
        with any_db.transaction() as connection:
            trail = insights.list_audit(connection, realm="/bank")
        assert sorted(each.action for each in trail) == [
            *("edit schedule", "edit schedule", "pause schedule", "resume schedule"),
            "run schedule",
        ]
        operations.remove_schedule(any_db, "special")


@pytest.mark.parametrize("how", ["class", "argument"])
@pytest.mark.parametrize(("overlap", "number"), [("skip", 0), ("allow", 1)])
def test_a_last_job_that_can_not_be_loaded_counts_as_what_it_is(
    any_db: Any, schedules: Any, clock: Any, how: str, overlap: str, number: int
) -> None:
    """Its schedule calls something else by now, and no code is needed to tell how a job ended."""
    special(schedules, how, overlap=overlap).edit(sample.nothing)
    transaction.commit()
    with without_code(any_db, how):
        clock.set(at(13))
        assert fire(any_db) == number
    run(any_db)
    with without_code(any_db, how):
        clock.set(at(14))
        assert fire(any_db) == 1
    made = schedules["special"]
    assert [each.outcome for each in made.runs][-1] == (
        None if overlap == "allow" else "succeeded"
    )


@pytest.mark.parametrize("how", ["class", "argument"])
@pytest.mark.parametrize("overlap", ["cancel", "queue"])
def test_one_whose_last_job_can_not_be_told_of_it_here_is_left_to_others(
    any_db: Any, schedules: Any, clock: Any, how: str, overlap: str
) -> None:
    made = special(schedules, how, overlap=overlap)
    made.edit(sample.nothing)
    transaction.commit()
    with worker_that_fires(any_db) as task:
        with without_code(any_db, how):
            clock.advance(3600)
            while task.tick():
                pass
        assert (made.paused, made.next) == (None, at(13))


def test_one_whose_zone_is_missing(
    any_db: Any, schedules: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may have an older tzdata than that which made the schedule."""
    made = schedules.create("early", "30 13 * * *", planned, zone="Africa/Lagos")
    schedules.create("other", "@hourly", planned)
    transaction.commit()

    def lacking(name: str) -> ZoneInfo:
        if name == "Africa/Lagos":
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)

    with monkeypatch.context() as patch, worker_that_fires(any_db) as task:
        patch.setattr(zones, "zoneinfo", SimpleNamespace(**vars(zoneinfo)))
        patch.setattr(zones.zoneinfo, "ZoneInfo", lacking)
        zones.zone.cache_clear()
        clock.advance(3600)
        while task.tick():
            pass
        transaction.begin()
        assert (made.paused, made.next, schedules["other"].fired) == (None, at(12, 30), 1)
        shown = insights.schedule_details(schedules, "early")
        assert shown.upcoming == ()
        assert shown.unreadable is not None
        assert "'Africa/Lagos' is missing in this process: install" in shown.unreadable
        made.pause("nobody has its zone")
        with pytest.raises(MissingCode, match="give the schedule another zone"):
            made.resume()
        transaction.abort()
        made.edit(zone="Europe/Berlin")
        assert made.next is not None
        transaction.abort()
    zones.zone.cache_clear()


@contextlib.contextmanager
def worker_that_fires(db: Any) -> Any:
    """What fires the schedules of a worker that does nothing else."""
    parts = Parts(db, Options(), threading.Event())
    yield FireSchedules(parts.registration.session, parts.wakeup)
    parts.registration.drop()
    parts.registration.close()


def test_a_worker_sees_what_is_made_and_changed_within_a_second(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    transaction.commit()
    with worker_that_fires(any_db) as task:

        def tick() -> bool:
            task._wakeup.set()  # where a storage must be asked, that is long ago
            return bool(task.tick())

        assert not tick()
        made = schedules.create("soon", planned, every=timedelta(seconds=5))
        transaction.commit()
        clock.advance(1)
        assert not tick()
        clock.advance(3.9)
        assert not tick()
        clock.advance(0.1)
        assert tick()
        transaction.begin()
        assert made.fired == 1
        made.pause("enough")
        transaction.commit()
        clock.advance(20)
        assert not tick()
        made.resume()
        transaction.commit()
        clock.advance(1)
        assert not tick()
        clock.advance(4)
        assert tick()


def test_an_idle_worker_commits_nothing_for_its_schedules(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    for number in range(30):
        schedules.create(f"number {number}", "@daily", planned)
    transaction.commit()
    with worker_that_fires(any_db) as task:
        task.tick()
        before = any_db.lastTransaction()
        opened = []
        begin = task._session.manager.begin
        task._session.manager.begin = lambda: opened.append(begin())
        for _ in range(600):
            clock.advance(1)
            assert not task.tick()
        assert any_db.lastTransaction() == before
        assert opened == []


def test_a_running_worker_fires(any_db: Any, queue: Any) -> None:
    made = queue.parent.schedules.create("often", sample.nothing, every=timedelta(seconds=1))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1):
        patience.until(lambda: transaction.begin() and made.fired >= 2)
    assert made.runs[0].lateness < timedelta(seconds=30)
