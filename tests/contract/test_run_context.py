"""A job runs in what it was put in: the site, the principals, the trace, context variables."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import context_jobs as jobs
import pytest
import sample
import transaction
from context_jobs import Folder, customer
from opentelemetry import trace
from patience import wait_for
from zope.authentication.interfaces import IAuthentication
from zope.component import getGlobalSiteManager, hooks
from zope.principalregistry.principalregistry import PrincipalRegistry
from zope.security.management import endInteraction, newInteraction, system_user

import zodbjobs
from zodbjobs import context
from zodbjobs.context import registry
from zodbjobs.errors import BadArgument, BadStatus, ContextGone, MissingCode
from zodbjobs.operations import deeds
from zodbjobs.testing import run_jobs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = registry._pairs
    jobs.found.clear()
    yield
    registry._pairs = before
    hooks.setSite(None)
    endInteraction()


@pytest.fixture
def site(connection: Any) -> Folder:
    """A stored site of the application's."""
    made = connection.root()["site"] = Folder("shop")
    transaction.commit()
    return made


@pytest.fixture
def principals() -> Iterator[PrincipalRegistry]:
    """The utility that knows who there is."""
    registry = PrincipalRegistry()
    registry.definePrincipal("ada", "Ada", login="ada")
    registry.definePrincipal("bola", "Bola", login="bola")
    getGlobalSiteManager().registerUtility(registry, IAuthentication)
    yield registry
    getGlobalSiteManager().unregisterUtility(registry, IAuthentication)


@contextlib.contextmanager
def interaction(*principals: Any) -> Iterator[None]:
    newInteraction(*map(jobs.Participation, principals))
    try:
        yield
    finally:
        endInteraction()


def run(db: Any) -> None:
    transaction.commit()
    run_jobs(db)
    transaction.begin()


# Sites and principals


@pytest.mark.promise(143)
def test_it_runs_in_the_site_and_as_the_principals_it_was_put_with(
    any_db: Any, queue: Any, site: Folder, principals: PrincipalRegistry
) -> None:
    """Also in its commit, and in the abort of another attempt; the next job in that thread has
    nothing of it.
    """
    people = [principals.getPrincipal(name) for name in ("ada", "bola")]
    with hooks.site(site), interaction(*people):
        job = queue.put(zodbjobs.Job(jobs.look_and_conflict_once, site))
    assert job.context == {"site": site, "interaction": ("ada", "bola")}
    next_one = queue.put(zodbjobs.Job(jobs.look, None))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1):
        wait_for([job, next_one])
    transaction.begin()
    inside = {"site": "shop", "principals": ["ada", "bola"]}
    assert (job.outcome, job.result) == ("succeeded", inside)
    assert jobs.found[:4] == [inside] * 4  # its attempt, the abort, its attempt, the commit
    assert next_one.result == {"site": None, "principals": None}
    assert next_one.context == {}


@pytest.mark.promise(143)
def test_what_it_is_to_run_in_can_be_set_while_it_is_new(
    db: Any, queue: Any, site: Folder, principals: PrincipalRegistry
) -> None:
    job = zodbjobs.Job(jobs.look, None)
    job.context = {"interaction": ("bola",)}
    with hooks.site(site):
        queue.put(job)
    assert job.context == {"interaction": ("bola",)}
    with pytest.raises(BadStatus, match="only while new"):
        job.context = {}
    with pytest.raises(TypeError):
        job.context["site"] = site  # type: ignore[index]
    run(db)
    assert job.result == {"site": None, "principals": ["bola"]}


@pytest.mark.promise(144)
def test_without_a_site_and_an_interaction_nothing_is_stored(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(jobs.look, None))
    assert job.context == {}
    assert not {"_context", "_given_context"} & set(job.__getstate__())
    run(db)
    assert job.result == {"site": None, "principals": None}


@pytest.mark.promise(144)
def test_a_put_may_say_that_nothing_is_to_be_captured(db: Any, queue: Any, site: Folder) -> None:
    with hooks.site(site):
        put = [queue.put(sample.nothing, context=False)]
        put += queue.put_many([sample.nothing] * 2, context=False)
        many = queue.put_many([sample.nothing] * 2)
    assert [job.context for job in put] == [{}] * 3
    assert [job.context for job in many] == [{"site": site}] * 2


def test_an_empty_interaction_and_the_system_need_no_utility(db: Any, queue: Any) -> None:
    with interaction():
        nobody = queue.put(zodbjobs.Job(jobs.look, None))
    with interaction(system_user):
        system = queue.put(zodbjobs.Job(jobs.look, None))
    run(db)
    assert nobody.result["principals"] == []
    assert system.result["principals"] == [system_user.id]


@pytest.mark.promise(143)
def test_a_principal_who_is_gone(
    db: Any, queue: Any, principals: PrincipalRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """The job fails without another attempt, and says who."""
    job = zodbjobs.Job(sample.note, "ran")
    job.retry_policy = zodbjobs.Retry(5)
    with interaction(principals.getPrincipal("ada")):
        queue.put(job)
    principals._clear()
    run(db)
    assert (job.outcome, job.attempts, sample.noted) == ("failed", 1, [])
    assert isinstance(job.failure.exception, ContextGone)
    assert "'ada', who isn't known any more" in job.failure.message


def test_no_utility_knows_principals(
    db: Any, queue: Any, principals: PrincipalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is parked until there is one."""
    with interaction(principals.getPrincipal("ada")):
        job = queue.put(zodbjobs.Job(jobs.look, None))
    getGlobalSiteManager().unregisterUtility(principals, IAuthentication)
    run(db)
    assert "'ada', and this worker has no utility for IAuthentication" in job.parked
    getGlobalSiteManager().registerUtility(principals, IAuthentication)
    queue.retry(job)
    assert job.context == {"interaction": ("ada",)}
    run(db)
    assert job.result["principals"] == ["ada"]


def test_what_cannot_be_stored_is_refused_before_anything_is_written(db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    with hooks.site(jobs.Unstorable()):
        with pytest.raises(BadArgument, match=r"the run context 'site'.*context=False"):
            queue.put(job)
        with pytest.raises(BadArgument, match="the run context 'site'"):
            queue.put_many([job])
        parent = queue.put(sample.nothing, context=False)
        with pytest.raises(BadArgument, match="the run context 'site'"):
            parent.add_callback(job)
    assert (job.status, parent.callbacks, len(queue)) == ("new", (), 1)


# Who gets it


def test_a_callback_has_that_of_its_adder(db: Any, queue: Any, site: Folder) -> None:
    other = site["other"] = Folder("other")
    with hooks.site(site):
        parent = queue.put(zodbjobs.Job(jobs.look, None))
    with hooks.site(other):
        callback = parent.add_callback(zodbjobs.Job(jobs.look))
        handle = parent.add_callbacks(success=jobs.look)
    outside = parent.add_callback(jobs.look)
    given = zodbjobs.Job(jobs.look)
    given.context = {"site": site}
    with hooks.site(other):
        parent.add_callback(given)
    run(db)
    each = [parent, callback, handle, outside, given]
    assert [job.result["site"] for job in each] == ["shop", "other", "other", None, "shop"]


def test_what_a_job_puts_runs_where_it_runs(db: Any, queue: Any, site: Folder) -> None:
    """And so do the parts of a composition."""
    with hooks.site(site):
        queue.put(zodbjobs.Job(jobs.put_look))
        queue.put(zodbjobs.serial(jobs.look_around, postprocess=jobs.look))
    run(db)
    assert [found["site"] for found in jobs.found] == ["shop"] * 3


def test_a_job_that_is_put_once_more_has_that_of_then(db: Any, queue: Any, site: Folder) -> None:
    """After an aborted put, and after it was taken out."""
    job = zodbjobs.Job(jobs.look, None)
    with hooks.site(site):
        queue.put(job)
        transaction.abort()
    queue.put(job)
    assert job.context == {}
    queue.remove(job)
    with hooks.site(site):
        queue.put(job)
    assert job.context == {"site": site}


def test_what_is_retried_has_that_of_its_put(db: Any, queue: Any, site: Folder) -> None:
    with hooks.site(site):
        job = queue.put(sample.fail)
    run(db)
    queue.retry(job)
    assert job.context == {"site": site}


def test_a_new_job_of_the_same_call_has_that_of_who_puts_it(
    db: Any, queue: Any, site: Folder, principals: PrincipalRegistry
) -> None:
    """Also if one was set: nobody calls anything in another's name."""
    with hooks.site(site), interaction(principals.getPrincipal("ada")):
        captured = queue.put(zodbjobs.Job(jobs.look, None))
    given = zodbjobs.Job(jobs.look, None)
    given.context = {"interaction": ("ada",)}
    queue.put(given)
    run(db)
    assert [each.result["principals"] for each in (captured, given)] == [["ada"]] * 2
    with interaction(principals.getPrincipal("bola")):
        again = [deeds.put_again(queue, each.id, by="bola") for each in (captured, given)]
    run(db)
    assert [each.result for each in again] == [{"site": None, "principals": ["bola"]}] * 2


# Pairs of applications


def test_a_context_variable_that_is_remembered(db: Any, queue: Any) -> None:
    context.remember(customer)
    context.remember(customer)
    token = customer.set("Ada")
    job = queue.put(jobs.who)
    customer.reset(token)
    unset = queue.put(jobs.who)
    assert (job.context, unset.context) == ({"contextvars.customer": "Ada"}, {})
    run(db)
    assert (job.result, unset.result, customer.get()) == ("Ada", "nobody", "nobody")
    with pytest.raises(BadArgument, match="another context variable with the name 'customer'"):
        context.remember(ContextVar("customer"))
    with pytest.raises(BadArgument, match=r"takes a contextvars\.ContextVar"):
        context.remember("customer")  # type: ignore[arg-type]


def pair(name: str, *, fails: type[Exception] | None = None, **options: Any) -> list[str]:
    """Register a pair; returns what it did."""
    did: list[str] = []

    @contextlib.contextmanager
    def restore(value: str) -> Iterator[None]:
        if fails is not None:
            raise fails(f"{value} can't be restored")
        did.append(f"enter {value}")
        try:
            yield
        finally:
            did.append(f"leave {value}")

    context.register(name, lambda: "something", restore, **options)
    return did


def test_a_worker_that_lacks_a_required_pair_parks_the_job(db: Any, queue: Any) -> None:
    did = pair("tenant")
    job = queue.put(zodbjobs.Job(sample.note, "ran"))
    transaction.commit()
    pairs = registry._pairs
    context.unregister("tenant")
    run(db)
    assert "lacks 'tenant'" in job.parked
    assert sample.noted == []
    registry._pairs = pairs
    queue.retry(job)
    run(db)
    assert (job.outcome, did) == ("succeeded", ["enter something", "leave something"])


def test_one_that_is_not_required_is_left_out(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it isn't registered, and where it fails."""
    pair("lacking", required=False)
    pair("failing", required=False, fails=RuntimeError)
    context.register("broken", lambda: 1 / 0, contextlib.nullcontext, required=False)
    job = queue.put(sample.nothing)
    context.unregister("lacking")
    run(db)
    assert set(job.context) == {"lacking", "failing"}
    assert job.outcome == "succeeded"
    errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert errors == [
        "the run context 'broken' can't be captured",
        "the run context 'failing' can't be restored",
    ]


@pytest.mark.parametrize(
    ("error", "outcome", "attempts"),
    [(ContextGone, "failed", 1), (RuntimeError, "failed", 3), (MissingCode, None, 0)],
)
def test_a_restore_that_raises(
    db: Any, queue: Any, error: type[Exception], outcome: str | None, attempts: int
) -> None:
    """What was restored before it is undone."""
    did = pair("first")
    pair("second", fails=error)
    job = zodbjobs.Job(sample.note, "ran")
    job.retry_policy = zodbjobs.Retry(2)
    queue.put(job)
    run(db)
    assert (job.outcome, job.attempts, sample.noted) == (outcome, attempts, [])
    assert did == ["enter something", "leave something"] * max(1, attempts)
    told = job.parked if outcome is None else job.failure.message
    assert "something can't be restored" in told


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, asyncio.CancelledError])
def test_one_that_cannot_be_left_harms_nobody(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    @contextlib.contextmanager
    def restore(value: str) -> Iterator[None]:
        yield
        raise error("no way out")

    context.register("trap", lambda: "something", restore)
    caught = queue.put(sample.nothing)
    context.unregister("trap")
    free = queue.put(sample.nothing)
    context.register("trap", lambda: None, restore)
    run(db)
    assert (caught.outcome, free.outcome) == ("succeeded", "succeeded")
    assert "a job's run context can't be left" in caplog.text


def test_what_cannot_be_captured(db: Any, queue: Any) -> None:
    context.register("broken", lambda: 1 / 0, contextlib.nullcontext)
    with pytest.raises(BadArgument, match=r"'broken' can't be captured \(ZeroDivisionError"):
        queue.put(sample.nothing)
    assert len(queue) == 0
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match=r"no run context of the name 'sight'.* 'site'"):
        job.context = {"sight": 1}
    with pytest.raises(BadArgument, match="a dict of values by name"):
        job.context = ["site"]  # type: ignore[assignment]
    with pytest.raises(BadArgument, match="the run context 'site'"):
        job.context = {"site": jobs.Unstorable()}
    for name, function in (("", print), ("x", None)):
        with pytest.raises(BadArgument, match="needs a name"):
            context.register(name, function, print)  # type: ignore[arg-type]


# The trace


def test_a_trace_goes_on_in_the_job(db: Any, queue: Any) -> None:
    span = trace.SpanContext(0x1234, 0x5678, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(span)):
        job = queue.put(jobs.trace_id)
        assert set(context.capture()) == {"trace"}
    outside = queue.put(jobs.trace_id)
    assert (list(job.context), outside.context) == (["trace"], {})
    run(db)
    assert (job.result, outside.result) == (0x1234, 0)
