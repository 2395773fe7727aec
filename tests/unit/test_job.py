"""What can be set on a job, and when."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import local
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.testing import run_jobs


def run(db: Any, job: zodbjobs.Job) -> zodbjobs.Job:
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    return job


# Arguments


CHANGES: dict[str, Any] = {
    "args[0] = 1": lambda job: job.args.__setitem__(0, 1),
    "del args[0]": lambda job: job.args.__delitem__(0),
    "del args[9]": lambda job: job.args.__delitem__(9),
    "args.clear()": lambda job: job.args.clear(),
    "args.append()": lambda job: job.args.append(1),
    "args = []": lambda job: setattr(job, "args", []),
    "kwargs = {}": lambda job: setattr(job, "kwargs", {}),
    "kwargs['more'] = 1": lambda job: job.kwargs.__setitem__("more", 1),
    "del kwargs['more']": lambda job: job.kwargs.__delitem__("more"),
    "kwargs.clear()": lambda job: job.kwargs.clear(),
    "kwargs.update()": lambda job: job.kwargs.update(more=1),
}


@pytest.mark.promise(5)
@pytest.mark.parametrize("change", CHANGES)
def test_arguments_stay_as_they_were_at_the_end(change: str) -> None:
    job = zodbjobs.Job(sample.add, 1, more=2)
    empty = zodbjobs.Job(sample.add)
    for ended in (job, empty):
        ended()
        with pytest.raises(BadStatus, match="has ended; its arguments"):
            CHANGES[change](ended)
    assert (job.args, dict(job.kwargs)) == ([1], {"more": 2})


@pytest.mark.promise(5)
def test_arguments_can_be_cleared_until_then() -> None:
    job = zodbjobs.Job(sample.add, 1, more=2)
    job.args.clear()
    job.kwargs.clear()
    assert (list(job.args), dict(job.kwargs)) == ([], {})


# A partial as the callable


@pytest.mark.promise(4, 7)
def test_a_partials_arguments_go_with_it(db: Any, queue: Any) -> None:
    job = zodbjobs.Job(functools.partial(sample.add, 1, more=10), 5)
    assert (job.args, dict(job.kwargs)) == ([1, 5], {"more": 10})
    for _ in range(2):
        job.callable = functools.partial(sample.add, 2, 3)
        assert (job.args, dict(job.kwargs)) == ([2, 3, 5], {})
    job.callable = functools.partial(sample.add, more=7)
    queue.put(job)
    transaction.commit()
    queue.remove(job)
    transaction.commit()
    queue._p_jar.cacheMinimize()
    job.callable = sample.identity
    assert (job.args, dict(job.kwargs)) == ([5], {})
    queue.put(job)
    assert run(db, job).result == 5


def test_the_jobs_own_keywords_win_and_stay() -> None:
    job = zodbjobs.Job(functools.partial(sample.add, more=1, other=2), more=5)
    assert dict(job.kwargs) == {"more": 5, "other": 2}
    job.callable = sample.add
    assert dict(job.kwargs) == {"more": 5}


def test_arguments_that_were_changed_are_the_jobs_own() -> None:
    job = zodbjobs.Job(functools.partial(sample.add, 1))
    with pytest.raises(BadArgument):
        job.args.append(sample.Unpicklable())
    job.args.append(2)
    job.callable = functools.partial(sample.add, 3)
    assert job.args == [3, 1, 2]
    job.callable = sample.add
    assert job.args == [1, 2]


def test_a_callable_that_is_refused_changes_nothing() -> None:
    job = zodbjobs.Job(functools.partial(sample.add, 1), 2)
    with pytest.raises(BadArgument):
        job.callable = lambda: None
    assert (job.callable, job.args) == (sample.add, [1, 2])


# Progress


@pytest.mark.promise(167)
def test_the_progress_goes_with_the_run(db: Any, queue: Any) -> None:
    failed = queue.put(zodbjobs.ProgressableJob(sample.report_and_fail, 30))
    failed.annotations["mine"] = 1
    assert run(db, failed).progress == (30.0, "at 30")
    queue.retry(failed)
    assert (failed.percent, failed.progress) == (None, (None, None))
    assert failed.annotations["mine"] == 1
    transaction.commit()
    queue.remove(failed)
    assert (failed.status, failed.percent, failed.progress) == ("new", None, (None, None))
    assert failed.annotations["mine"] == 1
    only = queue.put(zodbjobs.ProgressableJob(sample.report_and_fail, 30))
    run(db, only)
    queue.retry(only)
    assert dict(only.annotations) == {}


def test_percent_can_be_set_by_hand(db: Any, queue: Any) -> None:
    job = zodbjobs.ProgressableJob(sample.nothing)
    for value in (0, 12.5, 100, True + 1):
        job.percent = value
        assert job.percent == job.progress.percent == value
        assert type(job.percent) is float
    queue.put(job)
    job.percent = 50
    assert run(db, job).percent == 50
    job.percent = 99
    assert job.percent == 99
    job.percent = None
    assert (job.percent, dict(job.annotations)) == (None, {})
    job.percent = None


@pytest.mark.parametrize("value", [-1, 100.5, math.nan, math.inf, True, "50", [50]])
def test_what_is_no_percentage_is_refused(value: Any) -> None:
    job = zodbjobs.ProgressableJob(sample.nothing)
    with pytest.raises(BadArgument, match="from 0 to 100"):
        job.percent = value
    assert job.percent is None


def test_percent_of_a_running_job_is_its_own(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.ProgressableJob(sample.set_own_percent))
    assert run(db, job).outcome == "failed"
    assert "zodbjobs.local.set_progress(50)" in job.failure.message
    with pytest.raises(ValueError, match="no job is running"):
        local.set_progress(50)
