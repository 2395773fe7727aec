"""A portal with pages, and a way to put jobs into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sample
import transaction
from web_site import Site

import zodbjobs


@pytest.fixture
def site(db: Any) -> Site:
    return Site(db)


Put = Callable[..., str]


@pytest.fixture
def put(site: Site, connection: Any, queue: Any) -> Put:
    """Puts a job of Ada's about the account in the realm "/here"; returns its id."""
    site.account = connection.root()["account"] = sample.Account()
    transaction.commit()

    def put(function: Any = sample.nothing, *args: Any, run: bool = False, **terms: Any) -> str:
        said = {"owner": "ada", "about": site.account, "realm": "/here", "title": "An export"}
        job = queue.put(zodbjobs.ProgressableJob(function, *args), **{**said, **terms})
        transaction.commit()
        if run:
            zodbjobs.testing.run_jobs(site.db)
            connection.sync()
        return zodbjobs.get_job_id(job)

    return put
