"""Who did what: deeds in the caller's transaction, and the trail that they leave."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import defaults, insights, operations
from zodbjobs.errors import BadArgument, BadStatus, MissingCode, UnknownQuota
from zodbjobs.operations import deeds
from zodbjobs.runtime.tasks.prune import prune
from zodbjobs.stored.lifecycle.root import get_queues, get_secret
from zodbjobs.testing import moving_clock, run_jobs


def trail(place: Any, **filters: Any) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(e.action, e.by, e.job_ids) for e in insights.list_audit(place, **filters)]


# In the caller's transaction


def test_a_deed_is_done_with_what_the_caller_does_or_not_at_all(queue: Any, account: Any) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    account.deposit(1)
    (result,) = deeds.perform(queue, "cancel", [job.id], by="ada", why="too late")
    assert (result.done, job.outcome, trail(queue)) == (
        True,
        "cancelled",
        [("cancel", "ada", (job.id,))],
    )
    transaction.abort()
    assert (job.status, account.balance, trail(queue)) == ("pending", 0, [])
    deeds.perform(queue, "cancel", [job.id], by="ada")
    account.deposit(1)
    transaction.commit()
    assert (job.outcome, account.balance) == ("cancelled", 1)


def test_one_that_is_refused_stops_no_other_and_leaves_no_trace(queue: Any) -> None:
    failed = queue.put(sample.fail_for_good)
    waiting = queue.put(sample.nothing)
    transaction.commit()
    ids = ["99999", failed.id, "no number", waiting.id]
    results = deeds.perform(queue, "retry", ids, by="ada")
    transaction.commit()
    assert [result.done for result in results] == [False] * 4
    assert trail(queue) == []
    results = deeds.perform(queue, "cancel", ids, by="ada")
    transaction.commit()
    assert [result.done for result in results] == [False, True, False, True]
    assert trail(queue) == [("cancel", "ada", (failed.id, waiting.id))]


def test_what_was_begun_with_a_refused_job_is_rolled_back(
    queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    cancel = zodbjobs.Job.cancel

    def half(job: Any) -> None:
        if job is jobs[1]:
            job.annotations["half"] = True
            raise BadStatus("in the middle")
        cancel(job)

    monkeypatch.setattr(zodbjobs.Job, "cancel", half)
    account.deposit(1)
    results = deeds.perform(queue, "cancel", [job.id for job in jobs])
    transaction.commit()
    assert [result.refused for result in results] == [None, "in the middle", None]
    assert [job.outcome for job in jobs] == ["cancelled", None, "cancelled"]
    assert "half" not in jobs[1].annotations
    assert account.balance == 1


def test_conflicts_reach_the_caller(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ZODB.POSException import ConflictError

    job = queue.put(sample.nothing)
    transaction.commit()

    def conflict(job: Any) -> None:
        raise ConflictError

    monkeypatch.setattr(zodbjobs.Job, "cancel", conflict)
    with pytest.raises(ConflictError):
        deeds.perform(queue, "cancel", [job.id])


def test_an_unknown_action_is_refused(queue: Any) -> None:
    with pytest.raises(BadArgument, match="unknown action 'burn'; use one of cancel, retry, rem"):
        deeds.perform(queue, "burn", ["1"])


# The trail


def test_each_operation_is_noted_with_who_and_why(db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 3)
    failed = queue.put(sample.fail_for_good)
    queue.quotas.create("customer", 3)
    transaction.commit()
    operations.cancel(db, [jobs[0].id], by="ada", why="a test")
    operations.remove(db, [jobs[1].id], by="ada")
    run_jobs(db)
    operations.retry(db, [failed.id], by="bola", why="the server is back")
    operations.forget(db, [jobs[2].id], by="bola")
    operations.pause(db, "", "maintenance", by="ada")
    operations.resume(db, "", by="ada", why="done")
    operations.drain(db, "", "moving", by="ada")
    operations.change_quota(db, "", "customer", 5, by="ada")
    transaction.begin()
    assert queue.quotas["customer"].size == 5
    assert trail(queue) == [
        ("change quota", "ada", ()),
        ("drain", "ada", ()),
        ("resume", "ada", ()),
        ("pause", "ada", ()),
        ("forget", "bola", (jobs[2].id,)),
        ("retry", "bola", (failed.id,)),
        ("remove", "ada", (jobs[1].id,)),
        ("cancel", "ada", (jobs[0].id,)),
    ]
    entries = insights.list_audit(queue)
    assert [e.why for e in entries[:4]] == [None, "moving", "done", "maintenance"]
    assert entries[0].detail == "customer: 3 to 5"
    assert entries[-1].as_json()["why"] == "a test"
    assert trail(queue, by="bola", limit=1) == [("forget", "bola", (jobs[2].id,))]
    older = insights.list_audit(queue, before=entries[6].when)
    assert [e.action for e in older] == ["cancel"]


def test_what_changed_nothing_is_not_noted(db: Any, queue: Any) -> None:
    assert operations.resume(db, "", by="ada") is False
    with pytest.raises(UnknownQuota):
        operations.change_quota(db, "", "none", 5, by="ada")
    transaction.begin()
    assert trail(queue) == []


def test_a_job_tells_what_was_done_to_it(db: Any, queue: Any) -> None:
    job = queue.put(sample.fail_for_good)
    transaction.commit()
    for number in range(defaults.AUDIT_PER_JOB):
        run_jobs(db)
        operations.retry(db, [job.id], by=f"somebody {number}", why="once more")
    operations.cancel(db, [job.id], by="ada")
    transaction.begin()
    told = insights.job_details(job).deeds
    assert len(told) == defaults.AUDIT_PER_JOB
    assert [(deed.by, deed.action) for deed in told[-2:]] == [
        ("somebody 19", "retry"),
        ("ada", "cancel"),
    ]
    assert told[0].by == "somebody 1"


def test_the_undo_log_tells_it(db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 30)
    transaction.commit()
    operations.cancel(db, [job.id for job in jobs], by="ada", why="a test")
    last = list(db.storage.iterator())[-1]
    assert last.user.decode().strip("/ ") == "ada"
    description = last.description.decode()
    assert description.startswith(f"zodbjobs: cancel job {jobs[0].id}, {jobs[1].id}, ")
    assert description.endswith(", ... (a test)")


def test_the_undo_log_has_no_secrets(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(sample.nothing)
    queue.put(zodbjobs.Job(account.deposit, 1), owner="ada", title="With password=hunter2")
    transaction.commit()
    operations.cancel(db, [job.id], by="ada", why="token=hunter2 was wrong")
    run_jobs(db)
    descriptions = [each["description"] for each in db.undoLog(0, 9)]
    assert f"zodbjobs: cancel job {job.id} (token=*** was wrong)" in descriptions
    assert "With password=***" in descriptions
    assert "hunter2" not in str(descriptions)


@pytest.mark.parametrize(
    "said", [{"by": "x" * 501}, {"why": "x" * 1_001}, {"why": "\udcff"}, {"by": 7}]
)
def test_what_no_storage_takes_is_refused_before_anything_is_done(
    db: Any, queue: Any, said: dict[str, Any]
) -> None:
    job = queue.put(sample.nothing)
    queue.quotas.create("few", 1)
    transaction.commit()
    for refused in (
        lambda: operations.cancel(db, [job.id], **said),
        lambda: deeds.perform(queue, "cancel", [job.id], **said),
        lambda: deeds.put_again(queue, job.id, **said),
        lambda: deeds.change_quota(queue, "", "few", 2, **said),
        lambda: deeds.create_quota(queue, "", "more", 2, **said),
        lambda: deeds.remove_quota(queue, "", "few", **said),
        lambda: deeds.resume(queue, "", **said),
        lambda: deeds.pause(queue, "", "a reason of any length", by="x" * 501),
        lambda: deeds.drain(queue, "", "a reason of any length", by="x" * 501),
    ):
        with pytest.raises(BadArgument, match="is a text of at most"):
            refused()
    assert (job.status, len(queue), queue.paused) == ("pending", 1, None)
    assert list(queue.quotas) == ["few"]
    assert queue.quotas["few"].size == 1


def test_a_transaction_takes_so_many_notes(db: Any, queue: Any) -> None:
    """However many realms there are, and however much was said."""
    jobs = [queue.put(sample.nothing, realm=f"/{number}") for number in range(100)]
    transaction.commit()
    results = operations.cancel(db, [job.id for job in jobs], by="ada", why="ä" * 1_000)
    assert all(result.done for result in results)
    assert len(trail(db.open(), limit=200)) == 100
    transaction.begin()
    deeds.drain(queue, "", "ä" * 70_000, by="ada")
    transaction.commit()


def test_a_refusal_doesn_t_tell_the_arguments(queue: Any) -> None:
    """Not all who may cancel a job may see them."""
    job = queue.put(zodbjobs.Job(sample.note, "of nobody's business"))
    job.cancel()
    transaction.commit()
    (result,) = deeds.perform(queue, "cancel", [job.id])
    assert (result.refused or "").startswith(f"job {job.id} ")
    assert "business" not in (result.refused or "")
    (result,) = operations.cancel(queue._p_jar.db(), [job.id])
    assert "business" not in (result.refused or "")


def test_deeds_on_agents_are_noted(db: Any, queue: Any) -> None:
    with zodbjobs.Worker(db, queues=[""]) as worker:
        operations.add_agent(db, worker.id, "", 2, by="ada")
        operations.change_agent(db, worker.id, number=2, size=4, by="ada", why="more")
        operations.remove_agent(db, worker.id, number=2, by="ada")
        transaction.begin()
        details = [entry.detail for entry in insights.list_audit(queue)]
    assert details == [
        f"worker {worker.id}, agent 2",
        f"worker {worker.id}, agent 2, size 4",
        f"worker {worker.id}, size 2",
    ]


def test_the_trail_is_pruned_by_age(db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        operations.pause(db, "", "old")
        clock.advance(defaults.AUDIT_SECONDS - 1)
        operations.resume(db, "")
        transaction.begin()
        assert prune([queue], defaults.HISTORY_SECONDS, defaults.HISTORY_COUNT) == 0
        clock.advance(2)
        assert prune([queue], defaults.HISTORY_SECONDS, defaults.HISTORY_COUNT) == 1
    assert [e.action for e in insights.list_audit(queue)] == ["resume"]


def test_two_who_do_something_at_once_do_not_conflict(db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 2)
    transaction.commit()
    deeds.perform(queue, "cancel", [jobs[0].id], by="first")
    transaction.commit()
    first, second = transaction.TransactionManager(), transaction.TransactionManager()
    connections = [db.open(first), db.open(second)]
    try:
        for number, connection in enumerate(connections):
            deeds.pause(connection, "", f"reason {number}", match=f"sample:{number}")
        first.commit()
    finally:
        second.abort()
        for connection in connections:
            connection.close()
    transaction.begin()
    assert [e.action for e in insights.list_audit(queue)] == ["pause", "cancel"]


def test_the_secret_is_there_from_the_first_and_stays(db: Any, queue: Any) -> None:
    assert len(get_secret(queue)) == 32
    assert get_secret(queue) == get_queues(queue)._secret
    assert "_secret" not in repr(get_queues(queue))


# Put again


def test_put_again(db: Any, queue: Any) -> None:
    job = zodbjobs.ProgressableJob(sample.add, 1, more=2)
    job.retry_policy = zodbjobs.NeverRetry
    queue.put(job, priority=3, timeout=60)
    transaction.commit()
    run_jobs(db)
    new = deeds.put_again(queue, job.id, {0: 5}, {"more": 7}, by="ada", why="another sum")
    transaction.commit()
    assert type(new) is zodbjobs.ProgressableJob
    assert (list(new.args), dict(new.kwargs)) == ([5], {"more": 7})
    assert (list(job.args), dict(job.kwargs), job.outcome) == ([1], {"more": 2}, "succeeded")
    assert (new.priority, new.timeout) == (3, timedelta(seconds=60))
    assert isinstance(new.retry_policy, zodbjobs.NeverRetry)
    assert new.annotations == {}
    run_jobs(db)
    transaction.begin()
    assert new.result == 12
    (entry,) = insights.list_audit(queue)
    assert (entry.by, entry.action, entry.job_ids) == ("ada", "put again", (job.id,))
    assert entry.detail == f"as {new.id}, with other arguments"


def test_put_again_of_a_job_with_objects_as_arguments(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    bound = queue.put(zodbjobs.Job.bind(sample.identity))
    transaction.commit()
    run_jobs(db)
    again = deeds.put_again(queue, bound.id)
    assert again.args[0] is again
    deeds.put_again(queue, job.id, {0: 2})
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert account.balance == 3


def test_put_again_refuses_what_cannot_be(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.note, account, {"a": 1}, when=timedelta(1)))
    parts = queue.put(zodbjobs.serial(sample.nothing, sample.nothing))
    transaction.commit()
    for args, kwargs, words in [
        ({0: 1}, {}, "argument 1 of .* can't be replaced: Account isn't plain JSON"),
        ({1: {1, 2}}, {}, "argument 2 of .* can't be replaced: set isn't plain JSON"),
        ({1: {"a": float("nan")}}, {}, "argument 2 of"),
        ({2: 1}, {}, "has no argument 3"),
        ({-1: 1}, {}, "has no argument 0"),
        ({}, {"when": 1}, "argument 'when' of .*: timedelta isn't plain JSON"),
        ({}, {"other": 1}, "has no argument 'other'"),
    ]:
        with pytest.raises(BadArgument, match=words):
            deeds.put_again(queue, job.id, args, kwargs)
    with pytest.raises(BadArgument, match="is a composition, and can't be put again alone"):
        deeds.put_again(queue, parts.id)
    with pytest.raises(BadArgument, match="there is no job 99999 in the database"):
        deeds.put_again(queue, "99999")
    assert len(queue) == 2
    assert trail(queue) == []


def test_put_again_of_a_job_whose_class_is_missing(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ZODB.Connection import resetCaches

    job_id = queue.put(sample.SpecialJob(sample.nothing)).id
    transaction.commit()
    monkeypatch.delattr(sample, "SpecialJob")
    resetCaches()
    with (
        db.transaction() as connection,
        pytest.raises(MissingCode, match=f"job {job_id} can't be put again: the class"),
    ):
        deeds.put_again(connection, job_id)
    monkeypatch.undo()
    resetCaches()
