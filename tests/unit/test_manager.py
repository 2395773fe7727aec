"""The job manager, beside what an application does with it."""

from __future__ import annotations

from typing import Any

import pytest
import sample
from persistent import Persistent
from ZODB.utils import u64

import zodbjobs
from zodbjobs.errors import BadArgument


@pytest.mark.promise(159)
def test_the_id_of_any_stored_object(account: Any, queue: Any) -> None:
    assert zodbjobs.get_job_id(account) == str(u64(account._p_oid))
    root = account._p_jar.root()
    assert zodbjobs.get_job_id(root) == "0"
    job = queue.put(sample.nothing)
    assert zodbjobs.get_job_id(job) == job.id


def test_what_is_not_stored_has_no_id() -> None:
    with pytest.raises(BadArgument, match="it isn't stored in a database"):
        zodbjobs.get_job_id(sample.Account())
    with pytest.raises(BadArgument, match="put it into a queue first"):
        zodbjobs.get_job_id(zodbjobs.Job(sample.nothing))


@pytest.mark.parametrize("value", [42, None, "12", sample.Account, Persistent, object()])
def test_what_is_no_persistent_object_has_no_id(value: Any) -> None:
    with pytest.raises(TypeError, match="only a job, or another stored object, has an id"):
        zodbjobs.get_job_id(value)
