"""Quotas: how many jobs of a name run at once, over all workers."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed
from meanwhile import commit_meanwhile, committed
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, defaults, insights
from zodbjobs.errors import BadArgument, BadStatus, UnknownQuota
from zodbjobs.interfaces import IQuota, IQuotas
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.runtime.tasks.slots import FreeSlots
from zodbjobs.stored.lifecycle.claim import Claim, claim
from zodbjobs.testing import moving_clock, run_jobs


@pytest.fixture
def mine() -> Any:
    """The test's own transaction manager, which a bench replaces by the runner's."""
    return transaction.manager.manager


def put(queue: Any, value: Any, *names: str, **options: Any) -> zodbjobs.Job:
    job = zodbjobs.Job(sample.note, value)
    return queue.put(job, quota_names=names, **options)  # type: ignore[no-any-return]


def held(queue: Any, name: str) -> int:
    slots = queue.quotas.slots(name)
    return 0 if slots is None else len(slots.held)


def take(worker: Bench, most: int = 100) -> list[Claim]:
    """Claim up to `most` jobs with quotas, whoever owns their shards; commits."""
    session = worker.registration.session
    with session.manager:
        queue = session.stored[""]
        found = claim(queue, session.record, 100, clock.now(), queue.shards, with_quotas=most)
    worker.parts.lanes[0].outstanding.update((c.key, c) for c in found)
    return found


def end(worker: Bench, *claims: Claim) -> None:
    for each in claims:
        worker.runner.run(each)
    worker.runner.flush()
    worker.dispatcher.step()


def ids(claims: list[Claim]) -> list[str]:
    return [str(claim).removeprefix("job ") for claim in claims]


# What is said


@pytest.mark.promise(68)
def test_an_unknown_quota_is_refused(queue: Any, mine: Any) -> None:
    job = zodbjobs.Job(sample.note, 1)
    with pytest.raises(ValueError, match=r"no quota 'mail'.*create\('mail'"):
        queue.put(job, quota_names=["mail"])
    job.quota_names = ["mail"]
    with pytest.raises(UnknownQuota):
        queue.put(job)
    with pytest.raises(UnknownQuota):
        queue.put_many([sample.nothing], quota_names=["mail"])
    assert (job.status, len(queue), job.quota_names) == ("new", 0, ("mail",))
    queue.quotas.create("mail")
    queue.put(job)
    with pytest.raises(UnknownQuota):
        job.quota_names = ["post"]
    assert job.quota_names == ("mail",)


@pytest.mark.promise(69)
def test_a_string_is_no_list_of_names(queue: Any) -> None:
    queue.quotas.create("mail")
    job = zodbjobs.Job(sample.note, 1)
    for bad in ("mail", 3, [3]):
        with pytest.raises(TypeError):
            job.quota_names = bad  # type: ignore[assignment]
        with pytest.raises(TypeError):
            queue.put(job, quota_names=bad)
    assert (job.quota_names, job.status) == ((), "new")


@pytest.mark.promise(70)
def test_names_are_set_until_it_is_claimed(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    queue.quotas.create("post")
    job, other = put(queue, 1), put(queue, 2, "mail")
    mine.commit()
    with bench(any_db) as worker:
        (other_claim,) = [c for c in take(worker, 1) if c.names]
        mine.begin()
        assert other.status == "assigned"
        with pytest.raises(BadStatus):
            other.quota_names = ["post"]
        end(worker, other_claim)
        mine.begin()
        with pytest.raises(BadStatus):
            other.quota_names = ["post"]
    mine.begin()
    late = put(queue, 3, begin_after=timedelta(hours=1))
    late.quota_names = ["mail", "post", "mail"]
    assert (late.quota_names, late.status, list(queue)[-1]) == (("mail", "post"), "pending", late)
    assert job.status in ("pending", "assigned", "completed")


def test_names_that_are_set_while_it_waits_take_effect_at_once(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    first, blocked, free = put(queue, 1, "mail"), put(queue, 2, "mail"), put(queue, 3, "mail")
    mine.commit()
    with bench(any_db) as worker:
        assert ids(take(worker)) == [first.id]
        mine.begin()
        assert insights.job_details(blocked).limited_by == "mail"
        blocked.quota_names = []
        mine.commit()
        assert ids(take(worker)) == [blocked.id]
        mine.begin()
        free.quota_names = ["mail"]
        mine.commit()
        assert take(worker) == []


def test_quotas_are_a_mapping(queue: Any, mine: Any) -> None:
    quotas = queue.quotas
    assert IQuotas.providedBy(quotas)
    assert not quotas
    mail = quotas.create("mail")
    assert IQuota.providedBy(mail)
    assert (mail.name, mail.size, len(quotas), list(quotas), "mail" in quotas) == (
        *("mail", 1, 1),
        ["mail"],
        True,
    )
    assert quotas["mail"] is quotas.get("mail") is mail
    assert (quotas.get("post"), "Quota 'mail' of 1" in repr(mail)) == (None, True)
    with pytest.raises(ValueError, match="already"):
        quotas.create("mail", 2)
    with pytest.raises(KeyError):
        quotas["post"]
    with pytest.raises(KeyError):
        del quotas["post"]
    for bad in (0, -1, True, 1.5, "2", None):
        with pytest.raises(BadArgument, match="size of quota"):
            mail.size = bad  # type: ignore[assignment]
        if bad is not None:
            with pytest.raises(BadArgument, match="size of quota"):
                quotas.create("post", bad)
    for name in (3, "*", "a*", "a:*b", "a:b:*", "*:*"):
        with pytest.raises(BadArgument):
            quotas.create(name)
    assert (mail.size, list(quotas)) == (1, ["mail"])


# Who runs


@pytest.mark.promise(71)
def test_a_full_quota_holds_up_nobody_else(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    jobs = [put(queue, n, "mail") for n in range(3)]
    other = put(queue, "other")
    mine.commit()
    with bench(any_db) as worker:
        assert ids(take(worker)) == [jobs[0].id, other.id]
        mine.begin()
        assert [job.status for job in jobs] == ["assigned", "pending", "pending"]
        assert [insights.job_info(job).state for job in jobs[1:]] == ["blocked"] * 2
        assert (len(queue), list(queue), queue[1]) == (2, jobs[1:], jobs[2])
        assert insights.queue_stats(queue, "").blocked == 2
        assert {i.id for i in insights.list_jobs(queue, status="blocked")} == {
            job.id for job in jobs[1:]
        }
        assert take(worker) == []


@pytest.mark.promise(72)
def test_a_slot_is_free_at_the_end_before_the_callbacks(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    first, second = put(queue, 1, "mail"), put(queue, 2, "mail")
    first.add_callback(sample.note)
    mine.commit()
    with bench(any_db) as worker:
        (found,) = take(worker)
        end(worker, found)
        mine.begin()
        assert (first.status, held(queue, "mail")) == ("callbacks", 0)
        assert second.id in ids(take(worker))


@pytest.mark.promise(73)
def test_the_size_is_changed_while_jobs_run(any_db: Any, queue: Any, mine: Any) -> None:
    mail = queue.quotas.create("mail")
    jobs = [put(queue, n, "mail") for n in range(6)]
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        assert ids(claims) == [jobs[0].id]
        mine.begin()
        mail.size = 3
        mine.commit()
        claims += take(worker)
        assert ids(claims) == [job.id for job in jobs[:3]]
        mine.begin()
        mail.size = 1
        mine.commit()
        end(worker, *claims[:2])
        assert take(worker) == []
        end(worker, claims[2])
        assert ids(take(worker)) == [jobs[3].id]
    assert sorted(sample.noted) == [0, 1, 2]


@pytest.mark.promise(74)
def test_a_quota_that_is_removed_limits_nothing(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    jobs = [put(queue, n, "mail") for n in range(4)]
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        mine.begin()
        del queue.quotas["mail"]
        mine.commit()
        claims += take(worker)
        assert ids(claims) == [job.id for job in jobs]
        mine.begin()
        queue.quotas.create("mail", 1)
        last = put(queue, 4, "mail")
        mine.commit()
        assert take(worker) == []  # the first one runs, and has its slot still
        end(worker, *claims)
        assert ids(take(worker)) == [last.id]


@pytest.mark.promise(75)
def test_at_once_it_keeps_its_turn_and_later_it_yields(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    soon, late = zodbjobs.Job(sample.fail, "soon"), zodbjobs.Job(sample.fail, "late")
    soon.retry_policy = zodbjobs.Retry(1)
    late.retry_policy = zodbjobs.Retry(1, delay=60)
    for job in (soon, late):
        queue.put(job, quota_names=["mail"])
    last = put(queue, 3, "mail")
    mine.commit()
    with moving_clock() as now, bench(any_db) as worker:
        for expected in (soon, soon, late, last):
            claims = take(worker)
            assert ids(claims) == [expected.id]
            end(worker, *claims)
        mine.begin()
        assert (late.status, late.attempts, held(queue, "mail")) == ("pending", 1, 0)
        now.advance(120)
        assert ids(take(worker)) == [late.id]


@pytest.mark.promise(76)
def test_of_two_workers_one_gets_the_last_slot(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail", 2)
    jobs = [put(queue, n, "mail") for n in range(4)]
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        assert len(take(worker, 1)) == 1
        session = worker.registration.session
        commit_meanwhile(session.manager, lambda: take(other, 1))
        with pytest.raises(ConflictError):
            take(worker, 1)
        assert take(worker) == []
        mine.begin()
        assert [job.status for job in jobs].count("assigned") == held(queue, "mail") == 2


@pytest.mark.promise(77)
def test_it_is_a_limit_and_no_preference(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail", 5)
    jobs = [put(queue, 1), put(queue, 2, "mail"), put(queue, 3), put(queue, 4, "mail")]
    urgent = put(queue, 0, priority=5)
    mine.commit()
    with bench(any_db) as worker:
        assert ids(take(worker)) == [job.id for job in (urgent, *jobs)]


def test_no_more_is_claimed_than_runs(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail", 5)
    for n in range(4):
        put(queue, n, "mail")
    mine.commit()
    with bench(any_db) as worker:
        assert len(worker.claim()) == 1
        assert worker.claim() == []


@pytest.mark.promise(57)
def test_it_expires_while_it_waits_for_a_slot(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    with moving_clock() as now:
        first = put(queue, 1, "mail")
        job = put(queue, 2, "mail", begin_by=timedelta(seconds=10))
        mine.commit()
        with bench(any_db) as worker:
            assert ids(take(worker)) == [first.id]
            now.advance(9)
            assert take(worker) == []
            now.advance(2)
            claims = take(worker)
            assert ids(claims) == [job.id]
            now.advance(-11)  # the clock of another machine
            end(worker, *claims)
            mine.begin()
            assert (job.outcome, held(queue, "mail")) == ("expired", 1)
    assert sample.noted == []


# Several names, and patterns


def test_all_slots_or_none(any_db: Any, queue: Any, mine: Any) -> None:
    for name in ("a", "b"):
        queue.quotas.create(name)
    first, both, only = put(queue, 1, "b"), put(queue, 2, "a", "b"), put(queue, 3, "a")
    again = put(queue, 4, "b", "a")
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        assert ids(claims) == [first.id, only.id]
        end(worker, claims[0])
        assert take(worker) == []
        end(worker, claims[1])
        claims = take(worker)
        assert ids(claims) == [both.id]
        mine.begin()
        assert (held(queue, "a"), held(queue, "b")) == (1, 1)
        end(worker, *claims)
        assert ids(take(worker)) == [again.id]


def test_a_long_chain_behind_another_quota_is_looked_through_in_parts(
    any_db: Any, queue: Any, mine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "REFUSALS", 3)
    for name in ("a", "b"):
        queue.quotas.create(name)
    first = put(queue, 0, "b")
    mine.commit()
    with bench(any_db) as worker:
        assert ids(take(worker)) == [first.id]
        mine.begin()
        holder = put(queue, 1, "a")
        mine.commit()
        claims = take(worker)
        assert ids(claims) == [holder.id]
        mine.begin()
        for n in range(10):
            put(queue, n, "a", "b")
        last = put(queue, "last", "a")
        mine.commit()
        assert take(worker) == []
        end(worker, *claims)
        found: list[Claim] = []
        for _ in range(6):
            found += take(worker)
        assert ids(found) == [last.id]


def test_a_pattern_is_for_each_name(any_db: Any, queue: Any, mine: Any) -> None:
    pattern = queue.quotas.create("customer:*")
    queue.quotas.create("customer:7", 2)
    jobs = {
        name: [put(queue, name, f"customer:{name}") for _ in range(3)]
        for name in ("42", "43", "7")
    }
    for bad in ("customer", "customer:*", "shop:1"):
        with pytest.raises(UnknownQuota):
            put(queue, 1, bad)
    with pytest.raises(KeyError):
        queue.quotas["customer:42"]
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        expected = [jobs["42"][0], jobs["43"][0], *jobs["7"][:2]]
        assert sorted(ids(claims)) == sorted(str(job.id) for job in expected)
        mine.begin()
        pattern.size = 2
        mine.commit()
        more = take(worker)
        assert sorted(ids(more)) == sorted(str(jobs[n][1].id) for n in ("42", "43"))
        mine.begin()
        queue.quotas.create("customer:42", 3)
        mine.commit()
        found = take(worker)
        assert ids(found) == [jobs["42"][2].id]
        mine.begin()
        del queue.quotas["customer:*"]
        mine.commit()
        more += found
        more += take(worker)
        end(worker, *claims, *more)
        end(worker, *take(worker))
    mine.begin()
    assert len(sample.noted) == 9
    assert [slots.name for slots in queue.quotas.all_slots() if slots.is_used] == []


def test_of_many_names_nothing_is_left(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("customer:*")
    for n in range(20):
        put(queue, n, f"customer:{n % 10}")
    mine.commit()
    assert run_jobs(any_db) == 20
    mine.begin()
    assert queue.quotas.all_slots() == []


# Slots come back


def test_who_is_taken_out_makes_way(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    jobs = [put(queue, n, "mail") for n in range(6)]
    mine.commit()
    with bench(any_db) as worker:
        assert ids(take(worker)) == [jobs[0].id]
        mine.begin()
        jobs[1].cancel()  # waits for a slot
        jobs[0].cancel()  # has one, and the next is admitted
        mine.commit()
        assert held(queue, "mail") == 0
        jobs[2].cancel()  # was admitted
        mine.commit()
        claims = take(worker)
        assert ids(claims) == [jobs[3].id]
        mine.begin()
        queue.remove(jobs[4])
        mine.commit()
        worker.dispatcher.give_back(claims)
        mine.begin()
        assert (held(queue, "mail"), jobs[3].status) == (0, "pending")
        claims = take(worker)
        assert ids(claims) == [jobs[3].id]
        end(worker, *claims)
        assert ids(take(worker)) == [jobs[5].id]
    mine.begin()
    assert jobs[4].status == "new"


def test_a_slot_comes_back_with_the_death_of_its_worker(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    first, second = put(queue, 1, "mail"), put(queue, 2, "mail")
    mine.commit()
    doomed = make_doomed(any_db)
    assert ids(take(doomed)) == [first.id]
    die(doomed)
    with bench(any_db) as worker:  # which rescues it
        mine.begin()
        assert (held(queue, "mail"), first.interruptions) == (0, 1)
        claims = take(worker)
        assert (ids(claims), claims[0].interruptions) == ([first.id], 1)
        assert take(worker) == []
        end(worker, *claims)
        assert ids(take(worker)) == [second.id]


def test_a_rescue_and_the_end_of_the_job_give_one_slot_back(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    put(queue, 1, "mail")
    mine.commit()
    doomed = make_doomed(any_db)
    (found,) = take(doomed)
    doomed.runner.run(found)

    def rescued() -> None:
        manager = transaction.TransactionManager()
        connection = any_db.open(manager)
        rescue(manager, zodbjobs.get_queues(connection), doomed.registration.id)
        connection.close()

    commit_meanwhile(doomed.registration.session.manager, rescued)
    doomed.runner.flush()
    with pytest.raises(ConflictError):
        doomed.dispatcher.step()
    with pytest.raises(Fenced):
        doomed.dispatcher.step()
    die(doomed)
    mine.begin()
    assert held(queue, "mail") == 0
    assert run_jobs(any_db) <= 1
    mine.begin()
    assert held(queue, "mail") == 0


def test_one_that_waits_for_another_one_has_no_slot(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    outer = zodbjobs.Job(sample.identity, zodbjobs.Job(sample.note, "inner"))
    queue.put(outer, quota_names=["mail"])
    second = put(queue, 2, "mail")
    mine.commit()
    with bench(any_db) as worker:
        end(worker, *take(worker))
        mine.begin()
        assert (outer.status, held(queue, "mail")) == ("active", 0)
        assert second.id in ids(take(worker))


def test_who_waits_as_the_last_slot_is_given_back_is_not_forgotten(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    put(queue, 1, "mail")
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        (found,) = take(worker)
        worker.runner.run(found)
        worker.runner.flush()
        mine.begin()
        second = put(queue, 2, "mail")
        mine.commit()
        session = other.registration.session
        commit_meanwhile(session.manager, worker.dispatcher.step)
        with pytest.raises(ConflictError):
            take(other)  # which would have let the second one wait
        assert ids(take(other)) == [second.id]


def test_who_waits_just_before_the_last_slot_is_given_back_is_not_forgotten(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    put(queue, 1, "mail")
    waited = put(queue, 0, "mail")
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        (found,) = take(worker)
        mine.begin()
        waited.cancel()
        third = put(queue, 3, "mail")
        mine.commit()
        worker.runner.run(found)
        worker.runner.flush()
        session = worker.registration.session
        commit_meanwhile(session.manager, lambda: take(other))  # the third one waits
        with pytest.raises(ConflictError):
            worker.dispatcher.step()  # which finds that none waits
        worker.dispatcher.step()
        assert ids(take(other)) == [third.id]


def test_who_waits_as_the_size_is_raised_is_not_forgotten(
    any_db: Any, queue: Any, mine: Any
) -> None:
    queue.quotas.create("mail")
    put(queue, 1, "mail")
    mine.commit()
    with bench(any_db) as worker:
        take(worker)
        mine.begin()
        second = put(queue, 2, "mail")
        mine.commit()

        def raised() -> None:
            with committed(any_db) as there:
                there.quotas["mail"].size = 2

        commit_meanwhile(worker.registration.session.manager, raised)
        with pytest.raises(ConflictError):
            take(worker)
        assert ids(take(worker)) == [second.id]


@pytest.mark.parametrize("quota", ["mail", "mail:*"])
def test_the_size_is_raised_as_the_first_one_begins_to_wait(
    any_db: Any, queue: Any, mine: Any, quota: str
) -> None:
    """Who raises it has seen nobody with a slot, and so has nobody to let go."""
    name = quota.replace("*", "a")
    queue.quotas.create(quota)
    first, second = put(queue, 1, name), put(queue, 2, name)
    mine.commit()
    with bench(any_db) as worker:
        mine.begin()
        queue.quotas[quota].size = 2
        assert ids(take(worker)) == [first.id]
        with pytest.raises(ConflictError):
            mine.commit()
        mine.abort()
        mine.begin()
        queue.quotas[quota].size = 2
        mine.commit()
        assert ids(take(worker)) == [second.id]


def test_slots_that_nobody_holds_are_found(
    any_db: Any, queue: Any, mine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue.quotas.create("mail")
    first, second = put(queue, 1, "mail"), put(queue, 2, "mail")
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        assert ids(claims) == [first.id]
        mine.begin()
        queue.quotas.slots("mail").take(("nobody", 3))
        mine.commit()
        end(worker, *claims)
        assert take(worker) == []
        session, task = worker.registration.session, FreeSlots()
        with caplog.at_level(logging.ERROR), session.manager:
            task.write(session)
        assert "a slot of quota 'mail' of the default queue was held" in caplog.text
        claims = take(worker)
        assert ids(claims) == [second.id]
        caplog.clear()
        with session.manager:
            task.write(session)
        mine.begin()
        assert (held(queue, "mail"), caplog.text) == (1, "")


# Put in other ways


def test_for_later_and_after_others(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    with moving_clock() as now:
        first = put(queue, 1, "mail")
        late = put(queue, 2, "mail", begin_after=timedelta(seconds=10))
        behind = put(queue, 3, "mail", after=[first])
        mine.commit()
        with bench(any_db) as worker:
            claims = take(worker)
            assert ids(claims) == [first.id]
            mine.begin()
            assert insights.job_details(behind).waits_for == (first.id,)
            now.advance(11)
            assert take(worker) == []
            end(worker, *claims)
            claims = take(worker)
            assert ids(claims) == [behind.id]
            end(worker, *claims)
            assert ids(take(worker)) == [late.id]


def test_a_callback_whose_quota_is_gone_is_parked(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    job = zodbjobs.Job(sample.note, 1)
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 2))
    callback.quota_names = ["mail"]
    queue.put(job)
    mine.commit()
    del queue.quotas["mail"]
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert (job.outcome, "no quota 'mail'" in str(callback.parked)) == ("succeeded", True)
    queue.quotas.create("mail")
    queue.retry(callback)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert callback.outcome == "succeeded"


def test_many_at_once_and_in_bundles(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail", 3)
    plain = queue.put_many([zodbjobs.Job(sample.nothing) for _ in range(30)])
    plain[3].quota_names = ["mail"]
    jobs = queue.put_many([zodbjobs.Job(sample.nothing) for _ in range(30)], quota_names=["mail"])
    assert {job.status for job in (*jobs, *plain)} == {"pending"}
    assert len({job.id for job in (*jobs, *plain)}) == 60
    mine.commit()
    assert len(queue) == 60
    assert run_jobs(any_db) == 60
    mine.begin()
    assert {job.outcome for job in (*jobs, *plain)} == {"succeeded"}


def test_an_aborted_put_leaves_nothing(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    mine.commit()
    job = put(queue, 1, "mail")
    mine.abort()
    assert (job.status, len(queue)) == ("new", 0)
    queue.put(job)
    mine.commit()
    assert (run_jobs(any_db), sample.noted) == (1, [1])


# None is forgotten, whoever commits first


@pytest.mark.parametrize("name", ["mail", "mail:7"])
def test_who_waits_before_the_last_slot_is_given_back_is_not_forgotten(
    any_db: Any, queue: Any, mine: Any, name: str
) -> None:
    queue.quotas.create("mail", 2)
    queue.quotas.create("mail:*", 2)
    for n in range(3):
        put(queue, n, name)
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        claims = take(worker)
        end(worker, claims[0])
        claims = [claims[1], *take(worker)]
        mine.begin()
        assert (len(claims), queue.quotas.slots(name).has_waiting) == (2, False)
        for each in claims:
            worker.runner.run(each)
        worker.runner.flush()
        mine.begin()
        last = put(queue, 4, name)
        mine.commit()
        commit_meanwhile(worker.registration.session.manager, lambda: take(other))
        with pytest.raises(ConflictError):
            worker.dispatcher.step()  # nothing waits for what it gives back, as far as it sees
        mine.begin()
        assert insights.job_details(last).limited_by == name
        worker.dispatcher.step()
        assert ids(take(other)) == [last.id]


@pytest.mark.parametrize("size", [None, 2])
def test_who_waits_before_the_quota_is_changed_is_not_forgotten(
    any_db: Any, queue: Any, mine: Any, size: int | None
) -> None:
    quota = queue.quotas.create("mail")
    first, second = put(queue, 1, "mail"), put(queue, 2, "mail")
    mine.commit()
    with bench(any_db) as worker:
        end(worker, *take(worker))
        assert ids(take(worker)) == [second.id]
        mine.begin()
        last = put(queue, 3, "mail")
        mine.commit()

        def change() -> None:
            if size is None:
                del queue.quotas["mail"]
            else:
                quota.size = size
            mine.commit()

        commit_meanwhile(mine, lambda: take(worker))
        with pytest.raises(ConflictError):
            change()
        mine.begin()
        assert (first.outcome, insights.job_details(last).limited_by) == ("succeeded", "mail")
        change()
        assert ids(take(worker)) == [last.id]


@pytest.mark.parametrize("where", ["admitted", "lease"])
def test_one_that_is_parked_as_its_turn_comes_makes_way(
    any_db: Any, queue: Any, mine: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    queue.quotas.create("mail")
    first = put(queue, 1, "mail")
    bad = put(queue, [sample.Brittle()], "mail")
    last = put(queue, 3, "mail")
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        assert ids(claims) == [first.id]
        mine.begin()
        record = queue.parent.workers[worker.registration.id]
        tree = bad._shard.admitted if where == "admitted" else record.lease
        tree[bad._key] = (0, first, ()) if where == "admitted" else first
        mine.commit()
        bad._p_deactivate()
        monkeypatch.setattr(sample, "unstorable", True)
        end(worker, *claims)
        mine.begin()
        if where == "admitted":
            del tree[bad._key]
            mine.commit()
        assert ids(take(worker)) == [last.id]
        mine.begin()
        assert bad.parked is not None
        if where == "lease":
            del record.lease[bad._key]
            mine.commit()


# Time


def test_one_that_began_in_time_expires_no_more(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    job = zodbjobs.Job(sample.fail, 1)
    job.retry_policy = zodbjobs.Retry(3)
    with moving_clock() as now:
        first = put(queue, 1, "mail")
        queue.put(job, quota_names=["mail"], begin_by=timedelta(seconds=10))
        mine.commit()
        with bench(any_db) as worker:
            claims = take(worker)
            assert ids(claims) == [first.id]
            end(worker, *claims)
            end(worker, *take(worker))
            mine.begin()
            urgent = put(queue, 3, "mail", priority=5)
            mine.commit()
            assert ids(take(worker)) == [urgent.id]
            now.advance(20)
            assert take(worker) == []
            mine.begin()
            assert (job.attempts, job.status, job.outcome) == (1, "pending", None)


@pytest.mark.promise(56)
@pytest.mark.parametrize("before", [None, timedelta(seconds=10), timedelta(seconds=60)])
@pytest.mark.parametrize("then", [None, timedelta(seconds=30)])
def test_begin_by_that_is_set_while_it_waits_is_what_counts(
    any_db: Any, queue: Any, mine: Any, before: timedelta | None, then: timedelta | None
) -> None:
    queue.quotas.create("mail")
    with moving_clock() as now:
        first = put(queue, 1, "mail")
        limited = put(queue, 2, "mail", begin_by=before)
        blocked = put(queue, 3, after=[first], begin_by=before)
        mine.commit()
        with bench(any_db) as worker:
            assert ids(take(worker)) == [first.id]
            mine.begin()
            limited.begin_by = blocked.begin_by = then
            mine.commit()
            now.advance(20)
            assert take(worker) == []
            now.advance(60)
            claims = take(worker)
            late = [] if then is None else [limited.id, blocked.id]
            assert sorted(ids(claims)) == sorted(str(each) for each in late)
            end(worker, *claims)
            mine.begin()
            outcome = None if then is None else "expired"
            assert (limited.outcome, blocked.outcome) == (outcome, outcome)


def test_what_was_found_too_late_is_not_run_past_its_gate(
    any_db: Any, queue: Any, mine: Any
) -> None:
    with moving_clock() as now:
        first = put(queue, 1, begin_after=timedelta(hours=1))
        job = put(queue, 2, after=[first], begin_by=timedelta(seconds=10))
        mine.commit()
        now.advance(20)
        with bench(any_db) as worker:
            worker.dispatcher.give_back(take(worker))
            mine.begin()
            assert job.status == "pending"
            job.begin_by = None
            mine.commit()
            end(worker, *take(worker))
        mine.begin()
        assert (job.outcome, sample.noted) == ("expired", [])


def test_after_a_claim_in_doubt_it_has_its_quotas(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    job = zodbjobs.Job(sample.fail, 1)
    job.retry_policy = zodbjobs.Retry(3)
    queue.put(job, quota_names=["mail"])
    mine.commit()
    with bench(any_db) as worker:
        manager = worker.registration.session.manager
        commit = manager.commit

        def unconfirmed() -> None:
            manager.commit = commit
            commit()
            raise OSError("the connection was lost")

        manager.commit = unconfirmed
        with pytest.raises(OSError, match="lost"):
            worker.claim()
        assert worker.dispatcher.step() == 1
        end(worker, *worker.parts.workload.take_all())
        mine.begin()
        urgent = put(queue, 3, "mail", priority=5)
        mine.commit()
        assert ids(take(worker)) == [urgent.id]
        mine.begin()
        assert (job.attempts, held(queue, "mail")) == (1, 1)
