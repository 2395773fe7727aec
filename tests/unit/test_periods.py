"""Numbers of the overview: periods, how many there are at most, quotas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import bench

from zodbjobs import insights
from zodbjobs.errors import BadArgument, UnknownQueue
from zodbjobs.testing import moving_clock, run_jobs
from zodbjobs.web.charts import throughput, waiting
from zodbjobs.web.language import language


def run(queue: Any, function: Any = sample.nothing, **terms: Any) -> None:
    queue.put(function, **terms)
    transaction.commit()
    run_jobs(queue._p_jar.db())
    queue._p_jar.sync()


def test_periods_count_what_ended(queue: Any, connection: Any) -> None:
    with moving_clock() as clock:
        clock.set(clock.datetime().replace(minute=0, second=0, microsecond=0))
        run(queue)
        clock.advance(60)
        run(queue)
        run(queue, sample.fail)
        clock.advance(120)
        found = insights.list_periods(connection, 5)
    assert [(p.finished, p.failed) for p in found] == [(0, 0), (1, 0), (2, 1), (0, 0), (0, 0)]
    assert [p.start for p in found] == [
        found[0].start + timedelta(minutes=n) for n in range(len(found))
    ]
    assert {p.waiting_time for p in found} == {None}


def test_periods_of_ten_minutes_tell_times(queue: Any, connection: Any) -> None:
    with moving_clock() as clock:
        clock.set(clock.datetime().replace(minute=0, second=0, microsecond=0))
        queue.put(sample.nothing)
        transaction.commit()
        clock.advance(8)
        run(queue)
        clock.advance(600)
        connection.sync()
        first, second = insights.list_periods(connection, 20, 10)
    assert (first.finished, second.finished) == (2, 0)
    assert first.waiting_time is not None
    assert (first.waiting_time.min, first.waiting_time.max) == (0.0, 8.0)
    assert second.waiting_time is None


def test_periods_of_one_queue(queue: Any, connection: Any) -> None:
    other = queue.parent.create("other")
    transaction.commit()
    run(queue), run(other), run(other)
    for name, number in (("other", 2), ("", 1)):
        found = insights.list_periods(queue, queue=name)
        assert sum(period.finished for period in found) == number
    assert sum(p.finished for p in insights.list_periods(queue)) == 3
    with pytest.raises(UnknownQueue):
        insights.list_periods(queue, queue="nosuch")


@pytest.mark.parametrize(("minutes", "step"), [(60, 0), (0, 1), (5, 10), (60, -1)])
def test_periods_that_cannot_be(queue: Any, minutes: int, step: int) -> None:
    with pytest.raises(BadArgument, match="there are no periods"):
        insights.list_periods(queue, minutes, step)


def test_how_many_there_are_at_most(queue: Any, connection: Any) -> None:
    run(queue)
    run(queue, sample.fail)
    queue.put(sample.nothing)
    queue.put(sample.nothing, begin_after=timedelta(hours=1))
    other = queue.parent.create("other")
    other.put(sample.nothing)
    transaction.commit()
    most = insights.most_jobs
    assert most(queue, outcome="succeeded") == 1
    assert most(queue, outcome="failed") == most(queue, outcome="cancelled") == 1
    assert most(queue, status="completed") == 2
    assert (most(queue, status="waiting"), most(queue, status="waiting", queue="")) == (2, 1)
    assert most(queue, status="scheduled") == 1
    assert most(queue, status="parked") == 0
    assert most(queue) is None
    with pytest.raises(BadArgument, match="unknown outcome 'lost'"):
        most(queue, outcome="lost")
    for terms in ({"outcome": "failed"}, {"status": "waiting"}):
        with pytest.raises(UnknownQueue):
            most(queue, queue="nosuch", **terms)


def test_quotas_tell_what_they_hold(db: Any, queue: Any) -> None:
    queue.quotas.create("exports", 1)
    queue.quotas.create("idle", 2)
    queue.quotas.create("customer:*", 3)
    for _ in range(3):
        queue.put(sample.nothing, quota_names=["exports"])
    transaction.commit()
    with bench(db) as worker:
        assert len(worker.claim()) == 1
        queue._p_jar.sync()
        found = {each.name: each for each in insights.list_quotas(queue, "")}
    assert (found["exports"].held, found["exports"].size) == (1, 1)
    assert (found["customer:*"].held, found["customer:*"].size) == (None, 3)
    assert (found["idle"].held, found["idle"].waiting) == (0, 0)
    with pytest.raises(UnknownQueue):
        insights.list_quotas(queue, "nosuch")


def test_charts_of_nothing() -> None:
    for chart in (
        throughput(language("en"), "x", [], "X", "then"),
        waiting(language("en"), "x", [], "X", "then"),
    ):
        assert chart.columns == ()
        assert not any(shape.path for shape in chart.shapes)


def test_charts_show_the_least(queue: Any) -> None:
    """One that has failed of many is seen, and nothing is higher than the chart."""
    with moving_clock() as clock:
        clock.set(clock.datetime().replace(minute=0, second=0, microsecond=0))
        queue.put_many([sample.nothing] * 300)
        run(queue, sample.fail)
        chart = throughput(language("en"), "x", insights.list_periods(queue, 1), "X", "then")
    assert chart.columns == ("301 finished, 1 without success",)
    good, bad = (shape.path for shape in chart.shapes)
    assert bad == "M0.1 98.5h0.8v1.5h-0.8z"
    assert good.startswith("M0.1 39.")
    assert chart.most == "500"
