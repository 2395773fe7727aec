"""An action on all jobs that match: a job with a bar."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import patience
import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import defaults, insights, operations
from zodbjobs.errors import BadArgument
from zodbjobs.operations import deeds, matching
from zodbjobs.testing import die_once, moving_clock, run_jobs


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "OPERATION_BATCH", 4)


def act(queue: Any, action: str, **more: Any) -> Any:
    transaction.begin()
    filters = more.pop("filters", {"outcome": "failed"})
    job = operations.act_on_matching(queue, action, filters, by="ada", why="test", **more)
    transaction.commit()
    return job


@pytest.mark.usefixtures("small_batches")
def test_all_that_match_are_retried(any_db: Any, queue: Any) -> None:
    failed = queue.put_many([sample.fail_for_good] * 11)
    fine = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    run_jobs(any_db)
    job = act(queue, "retry", expected=11)
    run_jobs(any_db, until=job)
    transaction.begin()
    assert job.result == {"done": 11, "refused": 0, "reasons": {}}
    assert job.progress.message == "11 of 11"
    assert {each.status for each in failed} == {"pending"}
    assert {each.outcome for each in fine} == {"succeeded"}
    actions = [(e.action, e.by, len(e.job_ids)) for e in insights.list_audit(queue)]
    assert actions == [
        ("retry", "ada", 3),
        ("retry", "ada", 4),
        ("retry", "ada", 4),
        ("retry all that match", "ada", 0),
    ]


@pytest.mark.usefixtures("small_batches")
def test_many_of_one_microsecond_that_are_refused_end_it_too(any_db: Any, queue: Any) -> None:
    with moving_clock():
        queue.put_many([sample.nothing] * 30)
        transaction.commit()
        run_jobs(any_db)  # all end in the microsecond at which the clock stands
    job = act(queue, "retry", filters={"callable": "sample:*"})
    run_jobs(any_db, until=job)
    transaction.begin()
    assert (job.result["done"], job.result["refused"]) == (0, 30)
    assert len(job.result["reasons"]) == 10


def test_what_comes_to_match_afterwards_is_left(any_db: Any, queue: Any) -> None:
    queue.put(sample.fail_for_good)
    transaction.commit()
    run_jobs(any_db)
    job = act(queue, "forget")
    later = queue.put(sample.fail_for_good, priority=7)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert later.outcome == "failed"
    assert job.result["done"] == 1
    assert later in list(queue.finished())


@pytest.mark.usefixtures("small_batches")
def test_a_cancelled_one_stops_and_what_it_did_stays(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = queue.put_many([sample.nothing] * 12, priority=-8)
    transaction.commit()
    job = act(queue, "cancel", filters={"callable": "sample:nothing"})
    act_ = matching.act

    def act_and_be_cancelled(*args: Any, **more: Any) -> Any:
        results = act_(*args, **more)
        assert operations.cancel(any_db, [job.id])[0].done
        patience.until(zodbjobs.local.cancel_requested)
        return results

    monkeypatch.setattr(matching, "act", act_and_be_cancelled)
    with zodbjobs.Worker(any_db, threads=1):
        patience.until(lambda: _outcome(job))
    assert job.outcome == "cancelled"
    assert sum(each.outcome == "cancelled" for each in waiting) == 4


def _outcome(job: Any) -> str | None:
    transaction.begin()
    outcome: str | None = job.outcome
    return outcome


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("at", ["before call", "before commit"])
def test_one_whose_worker_dies_goes_on(any_db: Any, queue: Any, at: str) -> None:
    failed = queue.put_many([sample.fail_for_good] * 9)
    transaction.commit()
    run_jobs(any_db)
    job = act(queue, "retry")
    with die_once(at):
        run_jobs(any_db)
    run_jobs(any_db, until=job)
    transaction.begin()
    assert job.outcome == "succeeded"
    assert {each.status for each in failed} <= {"pending", "completed"}
    assert sum(len(e.job_ids) for e in insights.list_audit(queue)) == 9


def test_a_bad_filter_is_refused_before_anything_is_written(queue: Any) -> None:
    for action, filters, words in [
        ("burn", {}, "unknown action 'burn'"),
        ("retry", {"outcome": "burnt"}, "unknown outcome 'burnt'"),
        ("retry", {"outcomes": "failed"}, "there are no filters outcomes; use"),
        ("retry", {"limit": 3}, "there are no filters limit; use"),
        ("retry", {"until": datetime(2030, 1, 1)}, "until must be an aware datetime"),
        ("retry", {"until": "now"}, "until must be an aware datetime"),
    ]:
        with pytest.raises(BadArgument, match=words):
            operations.act_on_matching(queue, action, filters)
    assert len(queue) == 0
    with pytest.raises(BadArgument, match="why is a text of at most 1,000 characters"):
        operations.act_on_matching(queue, "retry", {}, why="x" * 1_001)
    assert len(queue) == 0


def test_it_is_not_put_again_by_who_may_not_do_that_deed(any_db: Any, queue: Any) -> None:
    first = act(queue, "forget", filters={"outcome": "failed", "realm": "/here"})
    with pytest.raises(BadArgument, match="ask for it anew, which takes the right to do that"):
        deeds.put_again(queue, first.id, by="eve")
    assert [job.id for job in queue] == [first.id]


def test_it_is_not_retried_by_who_may_not_do_that_deed(any_db: Any, queue: Any) -> None:
    """Nor among all that match: what was cancelled would go on, under its owner's name."""
    failed = queue.put(sample.fail_for_good)
    transaction.commit()
    run_jobs(any_db)
    first = act(queue, "forget")
    first.cancel()
    transaction.commit()
    (result,) = deeds.perform(queue, "retry", [first.id], by="eve")
    assert "ask for it anew" in (result.refused or "")
    job = act(queue, "retry", filters={"outcome": "cancelled"})
    run_jobs(any_db, until=job)
    transaction.begin()
    assert (job.result["done"], job.result["refused"]) == (0, 1)
    assert (first.outcome, failed.outcome) == ("cancelled", "failed")
