"""The job manager: for whom it works, and what its test job shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sample
import transaction
import ZODB
from patience import until
from zope.component.hooks import setSite

import zodbjobs
from zodbjobs import manager as manager_module
from zodbjobs.testing import wait_for


@pytest.fixture
def sites() -> Iterator[dict[str, Any]]:
    """A stored object in each of two databases, the first is the current site."""
    stored = {}
    opened = []
    for name in ("current", "given"):
        db = ZODB.DB(None)
        zodbjobs.install(db)
        connection = db.open()
        connection.root()["site"] = stored[name] = Site()
        opened += [connection, db]
    transaction.commit()
    setSite(stored["current"])
    yield stored
    setSite(None)
    transaction.abort()
    for thing in opened:
        thing.close()


class Site(sample.Account):
    """A site that needs no component registry."""

    def getSiteManager(self) -> Any:
        from zope.component import getGlobalSiteManager

        return getGlobalSiteManager()


useless_sites = pytest.mark.parametrize(
    "useless", [None, "a name", sample.Account()], ids=["none", "name", "not stored"]
)


def ids(site: Any) -> list[str]:
    return list(site._p_jar.root()["zodbjobs.jobs"])


@pytest.mark.promise(161)
def test_the_site_that_is_given_comes_first(sites: dict[str, Any]) -> None:
    jobs = zodbjobs.JobManager()
    given = sites["given"]
    job_id = jobs.put(zodbjobs.Job(sample.add, 1), site=given)
    assert (ids(given), ids(sites["current"])) == ([job_id], [])
    assert jobs.get(job_id, site=given) is not None
    assert jobs.get(job_id) is None
    assert [found for found, _ in jobs.jobs(site=given)] == [job_id]
    assert list(jobs.jobs()) == []
    jobs.remove(job_id)
    assert ids(given) == [job_id]
    jobs.remove(job_id, site=given)
    assert ids(given) == []
    assert len(zodbjobs.get_queue(given)) == 1


@pytest.mark.promise(161)
@useless_sites
def test_else_it_is_the_current_one(sites: dict[str, Any], useless: Any) -> None:
    jobs = zodbjobs.JobManager()
    job_id = jobs.put(zodbjobs.Job(sample.add, 1), site=useless)
    assert (ids(sites["current"]), ids(sites["given"])) == ([job_id], [])
    assert jobs.get(job_id, site=useless) is jobs.get(job_id)
    assert len(zodbjobs.get_queue(sites["current"])) == 1


@pytest.mark.promise(161)
@useless_sites
def test_without_either_there_is_nothing_to_work_for(sites: dict[str, Any], useless: Any) -> None:
    jobs = zodbjobs.JobManager()
    for site in (None, Site()):
        setSite(site)
        for refused in (
            lambda: jobs.put(zodbjobs.Job(sample.add), site=useless),
            lambda: jobs.get("1", site=useless),
            lambda: jobs.jobs(site=useless),
            lambda: jobs.remove("1", site=useless),
            lambda: jobs.start_test_job(site=useless),
        ):
            with pytest.raises(LookupError, match="cannot find a valid site"):
                refused()
    assert [ids(site) for site in sites.values()] == [[], []]


class Halted:
    """Stands for `time`: half of the test job has passed, and it waits for the test there."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        if self.passed >= 30:
            assert sample.gate.wait(60)


@pytest.mark.promise(166)
def test_the_test_job_shows_how_far_it_is(
    db: Any, connection: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "time", Halted())
    jobs = zodbjobs.JobManager()
    job = jobs.get(jobs.start_test_job(site=account), site=account)
    assert job is not None
    assert (job.callable, list(job.args)) == (zodbjobs.compute, [23, 60])
    transaction.commit()
    with zodbjobs.Worker(db, threads=1):
        seen = until(
            lambda: transaction.begin() and job.percent and job.percent >= 48 and job.percent
        )
        assert seen < 51
        assert (job.status, job.result) == ("active", None)
        assert job.progress.message.endswith(" of 60 s")
        sample.gate.set()
        wait_for(job, 60)
    assert (job.result, job.percent) == (46, 100.0)
