"""Rates of quotas: how many jobs of a name begin in a span of time, over all workers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed
from meanwhile import commit_meanwhile
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, insights
from zodbjobs.errors import BadArgument
from zodbjobs.runtime import turns
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.runtime.tasks.slots import FreeSlots
from zodbjobs.stored.lifecycle import delivery
from zodbjobs.stored.lifecycle.claim import Claim, claim, next_due
from zodbjobs.testing import conflict_once, moving_clock, run_jobs

MINUTE = timedelta(minutes=1)
#: From one turn to the next at 60 a minute: a second, and what makes it strict.
GAP = 61 / 60 + 0.001


@pytest.fixture
def mine() -> Any:
    """The test's own transaction manager, which a bench replaces by the runner's."""
    return transaction.manager.manager


@pytest.fixture
def now() -> Iterator[Any]:
    with moving_clock() as moved:
        yield moved


def put(queue: Any, value: Any, *names: str, **options: Any) -> zodbjobs.Job:
    job = zodbjobs.Job(sample.note, value)
    return queue.put(job, quota_names=names or ["mail"], **options)  # type: ignore[no-any-return]


def take(worker: Bench, most: int = 100, shards: slice = slice(None)) -> list[Claim]:
    """Claim up to `most` jobs with quotas, from all shards if need be; commits."""
    session = worker.registration.session
    with session.manager:
        queue = session.stored[""]
        chosen = queue.shards[shards]
        found = claim(queue, session.record, 100, clock.now(), chosen, with_quotas=most)
    worker.parts.lanes[0].outstanding.update((c.key, c) for c in found)
    return found


def run(worker: Bench, claims: list[Claim] | None = None) -> int:
    """Claim what may be, and run it; how many it were."""
    claims = take(worker) if claims is None else claims
    for each in claims:
        worker.runner.run(each)
    worker.runner.flush()
    worker.dispatcher.step()
    return len(claims)


def waiting(queue: Any, name: str = "mail") -> int:
    slots = queue.quotas.slots(name)
    return 0 if slots is None or slots.waiting is None else len(slots.waiting) - 1


def most_in(moments: list[datetime], per: timedelta) -> int:
    found = sorted(moments)
    return max(sum(a <= b < a + per for b in found) for a in found)


# What is said


def test_a_rate_has_what_it_is_per(queue: Any) -> None:
    quotas = queue.quotas
    mail = quotas.create("mail", rate=100, per=MINUTE)
    assert (mail.size, mail.rate, mail.per, mail.burst) == (None, 100, MINUTE, 1)
    assert "Quota 'mail' 100 per 0:01:00" in repr(mail)
    both = quotas.create("both", size=5, rate=2, per=timedelta(seconds=1), burst=2)
    assert (both.size, both.rate, both.burst) == (5, 2, 2)
    plain = quotas.create("plain")
    assert (plain.size, plain.rate, plain.per) == (1, None, None)
    with pytest.raises(BadArgument, match="rate of quota 'plain' must be an int from 1"):
        plain.rate = 0
    with pytest.raises(BadArgument, match="say per="):
        plain.rate = 5
    plain.per = timedelta(hours=1)
    plain.rate = 5
    plain.size = None
    with pytest.raises(BadArgument, match="has no rate"):
        plain.rate = None
    for bad in ({"rate": 1.5}, {"rate": 2}, {"rate": 2, "per": 60}, {"burst": 0}, {"rate": True}):
        with pytest.raises(BadArgument):
            quotas.create("bad", **bad)
    with pytest.raises(BadArgument, match="at least a second"):
        quotas.create("bad", rate=1, per=timedelta(milliseconds=999))
    for per in (timedelta(days=367), timedelta.max):  # of which a turn may be in no calendar
        with pytest.raises(BadArgument, match="at most 366 days"):
            quotas.create("bad", rate=1, per=per)
    quotas.create("good", rate=1, per=timedelta(days=366))
    assert "bad" not in quotas


# When they begin


def test_they_begin_evenly(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    for number in range(4):
        put(queue, number)
    free = queue.put(zodbjobs.Job(sample.note, "free"))
    mine.commit()
    with bench(any_db) as worker:
        assert run(worker) == 2  # the first one, and what has no quota
        mine.begin()
        assert free.outcome == "succeeded"
        for _ in range(3):
            now.advance(GAP - 0.1)
            assert run(worker) == 0
            now.advance(0.1)
            assert run(worker) == 1
    assert sorted(sample.noted, key=str) == [0, 1, 2, 3, "free"]


def test_a_burst_may_begin_at_once(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE, burst=3)
    for number in range(8):
        put(queue, number)
    mine.commit()
    with bench(any_db) as worker:
        assert run(worker) == 3
        assert run(worker) == 0
        now.advance(GAP)
        assert (run(worker), run(worker)) == (1, 0)
        now.advance(2 * GAP)
        assert (run(worker), run(worker)) == (2, 0)
        now.advance(20 * GAP)
        assert run(worker) == 2


def test_what_waits_is_looked_at_once_it_is_its_turn(
    any_db: Any, queue: Any, mine: Any, now: Any
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    jobs = [put(queue, number) for number in range(3)]
    mine.commit()
    with bench(any_db) as worker:
        assert run(worker) == 1
        worker.dispatcher.tick()
        mine.begin()
        assert [insights.job_info(job).state for job in jobs] == ["succeeded", *["blocked"] * 2]
        assert insights.job_details(jobs[1]).limited_by == "mail"
        assert next_due(queue) == clock.now() + 1_016_667
        for _ in range(3):  # nothing is written, or looked at, until then
            before = any_db.lastTransaction()
            now.advance(0.3)
            worker.dispatcher.tick()
            assert any_db.lastTransaction() == before
        now.advance(0.2)
        worker.dispatcher.tick()
        assert len(worker.parts.workload.take_all()) == 1


def test_the_most_urgent_goes_first_when_its_turn_comes(
    any_db: Any, queue: Any, mine: Any, now: Any
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    for number in range(3):
        put(queue, number)
    mine.commit()
    with bench(any_db) as worker:
        assert run(worker) == 1
        mine.begin()
        put(queue, "urgent", priority=5)
        mine.commit()
        assert run(worker) == 0
        now.advance(GAP)
        assert run(worker) == 1
        assert sample.noted == [0, "urgent"]


def test_who_sees_that_it_is_its_turn_takes_it_from_anywhere_and_nothing_else(
    any_db: Any, queue: Any, mine: Any, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    monkeypatch.setattr(delivery._producer, "number", 0)
    first, second = put(queue, 1), put(queue, 2)
    mine.commit()
    with bench(any_db) as busy, bench(any_db) as other:
        assert ids(take(busy, shards=slice(1))) == [first.id]
        mine.begin()
        queue.put(zodbjobs.Job(sample.note, "theirs"))
        mine.commit()
        assert len(take(busy, most=0, shards=slice(1))) == 1
        mine.begin()
        queue.put(zodbjobs.Job(sample.note, "theirs, too"))
        mine.commit()
        assert take(other, shards=slice(1, 2)) == []
        now.advance(GAP)
        assert ids(take(other, shards=slice(1, 2))) == [second.id]


def ids(claims: list[Claim]) -> list[str]:
    return [str(claim).removeprefix("job ") for claim in claims]


def test_a_rate_and_a_size_both_hold(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", size=2, rate=60, per=MINUTE)
    for number in range(5):
        put(queue, number)
    mine.commit()
    with bench(any_db) as worker:
        first = take(worker)
        now.advance(GAP)
        second = take(worker)
        now.advance(5 * GAP)
        assert (len(first), len(second), take(worker)) == (1, 1, [])
        assert run(worker, first) == 1
        assert len(take(worker)) == 1
        run(worker, second)
        assert take(worker) == []  # a slot is free, and it is nobody's turn
        now.advance(GAP)
        assert len(take(worker)) == 1


def test_several_rates_of_one_job(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    queue.quotas.create("slow", rate=6, per=MINUTE)
    for number in range(3):
        put(queue, number, "mail", "slow")
        put(queue, number + 10, "mail")
    mine.commit()
    seconds = 0.0
    with bench(any_db) as worker:
        while seconds < 25:
            run(worker)
            now.advance(0.5)
            seconds += 0.5
    assert sample.noted == [0, 10, 11, 12, 1, 2]


def test_of_a_pattern_each_name_has_a_rate(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("customer:*", rate=60, per=MINUTE)
    for customer in ("a", "b", "c"):
        for number in range(2):
            put(queue, f"{customer}{number}", f"customer:{customer}")
    mine.commit()
    with bench(any_db) as worker:
        assert run(worker) == 3
        now.advance(GAP)
        assert run(worker) == 3
        mine.begin()
        rates = queue._rates
        assert list(rates._logs) == ["customer:a", "customer:b", "customer:c"]
        now.advance(30)
        free_slots(worker)
        mine.begin()
        assert len(rates._logs) == 3
        now.advance(130)
        free_slots(worker)
        now.advance(130)
        free_slots(worker)
        mine.begin()
        assert (list(rates._logs), len(rates._to_drop), len(rates._waiting)) == ([], 1, 1)
        assert queue.quotas.all_slots() == []


def free_slots(worker: Bench) -> None:
    session = worker.registration.session
    with session.manager:
        FreeSlots().write(session)


def test_jobs_that_are_run_in_a_test_wait_for_the_clock(
    any_db: Any, queue: Any, mine: Any, now: Any
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    for number in range(3):
        put(queue, number)
    mine.commit()
    assert run_jobs(any_db) == 1
    now.advance(5)
    assert run_jobs(any_db) == 1
    now.advance(GAP)
    assert run_jobs(any_db) == 1


# What is changed while they wait


def test_the_rate_is_changed_while_they_wait(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    mail = queue.quotas.create("mail", rate=1, per=timedelta(hours=1))
    for number in range(9):
        put(queue, number)
    mine.commit()
    with bench(any_db) as worker:
        assert (run(worker), run(worker)) == (1, 0)
        now.advance(120)
        mine.begin()
        mail.limit(None, 60, MINUTE, 2)
        mine.commit()
        assert (run(worker), run(worker)) == (2, 0)
        mine.begin()
        mail.rate = 1  # what has begun before counts
        mine.commit()
        now.advance(59)
        assert run(worker) == 0
        now.advance(2.5)
        assert (run(worker), run(worker)) == (1, 0)
        mine.begin()
        mail.limit(4, None, None, 1)
        mine.commit()
        assert run(worker) == 4
        mine.begin()
        del queue.quotas["mail"]
        mine.commit()
        assert run(worker) == 1
    assert sample.noted == list(range(9))


def test_who_waits_may_be_taken_out(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    jobs = [put(queue, number) for number in range(5)]
    late = put(queue, "late", begin_by=timedelta(seconds=2))
    mine.commit()
    with bench(any_db) as worker:
        assert run(worker) == 1
        mine.begin()
        jobs[1].cancel()
        queue.remove(jobs[2])
        jobs[3].quota_names = []
        mine.commit()
        assert run(worker) == 1
        now.advance(10)
        take(worker)
        mine.begin()
        assert waiting(queue) == 0
        assert late.outcome is None
    assert sample.noted == [0, 3]
    assert [jobs[1].outcome, jobs[2].status] == ["cancelled", "new"]


# Attempts count


def test_an_attempt_that_conflicts_takes_another_turn(
    any_db: Any, queue: Any, mine: Any, now: Any
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    job = put(queue, 1)
    other = put(queue, 2)
    mine.commit()
    told: list[Any] = []
    forget = zodbjobs.events.subscribe(told.append)
    with bench(any_db) as worker, conflict_once():
        assert run(worker) == 1
        forget()
        (ended,) = [event for event in told if isinstance(event, zodbjobs.events.AttemptEnded)]
        assert (ended.outcome, ended.conflicts) == ("given back", 1)
        mine.begin()
        assert (sample.noted, job.status, job.attempts) == ([1], "pending", 0)
        assert run(worker) == 0
        now.advance(GAP)
        assert (run(worker), run(worker)) == (1, 0)
        assert sample.noted == [1, 1]
        now.advance(GAP)
        assert run(worker) == 1
        mine.begin()
        assert {job.outcome, other.outcome} == {"succeeded"}


def test_an_attempt_that_conflicts_goes_on_if_there_is_room(
    any_db: Any, queue: Any, mine: Any, now: Any
) -> None:
    mail = queue.quotas.create("mail", rate=60, per=MINUTE, burst=2)
    job = put(queue, 1)
    mine.commit()
    with bench(any_db) as worker, conflict_once():
        assert run(worker) == 1
    mine.begin()
    assert (sample.noted, job.outcome) == ([1, 1], "succeeded")
    assert queue.quotas.rates.room("mail", mail.turns, clock.now()) == 0


def test_who_begins_late_moves_its_turn(
    any_db: Any, queue: Any, mine: Any, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = queue.quotas.create("mail", rate=2, per=MINUTE, burst=2)
    for number in range(4):
        put(queue, number)
    mine.commit()
    with bench(any_db) as worker:
        claims = take(worker)
        assert [c.turn and c.turn.until - c.turn.at for c in claims] == [1_000_000] * 2
        now.advance(50)  # other jobs were before it
        run(worker, claims)
        assert sample.noted == [0, 1]
        for seconds in (11.5, 40):
            now.advance(seconds)
            assert run(worker) == 0
        now.advance(10)
        assert run(worker) == 2
        mine.begin()
        assert queue.quotas.rates.room("mail", mail.turns, clock.now()) == 0


def test_the_turn_is_looked_at_right_before_the_call(
    any_db: Any, queue: Any, mine: Any, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    job = put(queue, 1)
    mine.commit()
    asked = []

    def over(turn: Any) -> bool:
        asked.append(turn)
        if len(asked) == 2:
            now.advance(30)  # it took long to load the job
        return clock.now() > turn.until

    monkeypatch.setattr(turns, "is_over", over)
    with bench(any_db) as worker:
        run(worker)
    mine.begin()
    assert (job.outcome, sample.noted, len({turn.at for turn in asked})) == ("succeeded", [1], 2)


def test_an_interrupted_attempt_has_begun(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", size=1, rate=60, per=MINUTE)
    job = put(queue, 1)
    mine.commit()
    doomed = make_doomed(any_db)
    mine.begin()
    assert len(take(doomed)) == 1
    doomed_id = doomed.registration.session.record.id
    die(doomed)
    with bench(any_db) as worker:
        session = worker.registration.session
        rescue(session.manager, session.stored, doomed_id)
        assert run(worker) == 0
        now.advance(GAP)
        assert run(worker) == 1
    mine.begin()
    assert job.outcome == "succeeded"


# Two workers


def test_of_two_workers_one_has_the_turn(any_db: Any, queue: Any, mine: Any, now: Any) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    put(queue, 1)
    put(queue, 2)
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        session = worker.registration.session
        commit_meanwhile(session.manager, lambda: take(other))
        with pytest.raises(ConflictError):
            take(worker)
        assert take(worker) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_who_begins_to_wait_while_another_lets_the_last_go_is_not_forgotten(
    any_db: Any,
    queue: Any,
    mine: Any,
    now: Any,
    is_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue.quotas.create("mail", rate=60, per=MINUTE)
    monkeypatch.setattr(delivery._producer, "number", 0)
    for number in range(2):
        put(queue, number)
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        assert run(worker) == 1
        mine.begin()
        monkeypatch.setattr(delivery._producer, "number", 1)  # which is another worker's shard
        put(queue, 2)
        mine.commit()
        claims: list[Claim] = []
        start = now.datetime()

        def claim_at(seconds: float, who: Bench) -> list[Claim]:
            before = now.datetime()
            now.advance((start - before).total_seconds() + seconds)
            found = take(who, shards=slice(1) if who is other else slice(1, 2))
            now.advance((before - now.datetime()).total_seconds())
            return found

        def let_wait() -> None:
            assert claim_at(GAP / 2, worker) == []

        def let_go() -> None:
            claims.extend(claim_at(GAP, other))

        outer, inner, who = (let_go, let_wait, other) if is_first else (let_wait, let_go, worker)
        commit_meanwhile(who.registration.session.manager, inner)
        with contextlib.suppress(TransientError):
            outer()
        run(other, claims)
        for _ in range(4):
            now.advance(2 * GAP)
            run(other)
            run(worker)
    assert sorted(sample.noted) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("burst", [1, 5])
def test_two_workers_never_begin_more(
    any_db: Any, queue: Any, mine: Any, now: Any, seed: int, burst: int
) -> None:
    """They claim when they like, run it late, conflict, and die."""
    chance = random.Random(seed)
    rate, per = 10, timedelta(seconds=10)
    queue.quotas.create("mail", rate=rate, per=per, burst=burst)
    begun: list[datetime] = []
    sample.meanwhile = lambda: begun.append(now.datetime())
    for number in range(60):
        job = zodbjobs.Job(sample.note_meanwhile, number)
        queue.put(job, quota_names=["mail"])
    mine.commit()
    workers = [make_doomed(any_db), make_doomed(any_db)]
    held: list[list[Claim]] = [[], []]
    start = now.datetime()
    try:
        while now.datetime() < start + timedelta(seconds=60):
            now.advance(chance.choice([0.01, 0.1, 0.5, 1.1]))
            which = chance.randrange(2)
            if chance.random() < 0.5:
                held[which] += take(workers[which], chance.randint(1, 4))
            elif held[which]:
                with conflict_once() if chance.random() < 0.1 else contextlib.nullcontext():
                    run(workers[which], [held[which].pop(0)])
            if chance.random() < 0.02:
                doomed = workers[which].registration.session.record.id
                die(workers[which])
                held[which], workers[which] = [], make_doomed(any_db)
                session = workers[which].registration.session
                rescue(session.manager, session.stored, doomed)
        for worker, claims in zip(workers, held, strict=True):
            run(worker, claims)
    finally:
        sample.meanwhile = None
        for worker in workers:
            die(worker)
    assert most_in(begun, per) <= rate
    assert len(begun) >= 20
