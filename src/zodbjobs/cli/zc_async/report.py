"""The list of what is left in the queues of zc.async, as JSON and for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from zodbjobs.cli.zc_async.jobs import Callback
from zodbjobs.cli.zc_async.put_again import PREAMBLE, PutAgain, lines_for_queue
from zodbjobs.cli.zc_async.queues import Found, OldQueue
from zodbjobs.terminal import one_line, queue_text

# Longer values are cut.
_MOST = 10_000


def as_json(queues: Sequence[OldQueue], with_ended: bool) -> dict[str, Any]:
    """The queues and their jobs as values that JSON has."""
    return {
        "preamble": list(PREAMBLE),
        "queues": [
            {
                "name": queue.name,
                "quotas": queue.quotas,
                "lines": lines_for_queue(queue),
                "problems": queue.problems,
                "ended": len(queue.ended),
                "jobs": [_job_as_json(found, queue) for found in _listed(queue, with_ended)],
            }
            for queue in queues
        ],
    }


def _listed(queue: OldQueue, with_ended: bool) -> list[Found]:
    return queue.jobs + (queue.ended if with_ended else [])


def _job_as_json(found: Found, queue: OldQueue) -> dict[str, Any]:
    job, again = found.job, PutAgain(found, queue)
    return {
        "id": job.id,
        "state": found.state,
        "kind": job.kind,
        "callable": _cut(job.callable),
        "arguments": [_cut(argument) for argument in job.arguments],
        "begin_after": _iso(job.begin_after),
        "begin_by": None if job.begin_by is None else job.begin_by.total_seconds(),
        "quota_names": list(job.quota_names),
        "callbacks": _callbacks_as_json(job.callbacks),
        "retry_policy": job.retry_policy,
        "agent": found.agent,
        "failure": job.failure,
        "line": again.line,
        "needs": again.needs,
    }


def _callbacks_as_json(callbacks: Sequence[Callback], after: str = "") -> list[dict[str, Any]]:
    """The callbacks one after the other, each with what it comes after."""
    found = []
    for callback in callbacks:
        for when, job in callback.jobs.items():
            found.append(
                {
                    "after": after,
                    "when": when,
                    "callable": _cut(job.callable),
                    "arguments": [_cut(argument) for argument in job.arguments],
                }
            )
            found += _callbacks_as_json(job.callbacks, job.callable)
        names = " or ".join(job.callable for job in callback.jobs.values())
        found += _callbacks_as_json(callback.later, names)
    return found


def print_queues(queues: Sequence[OldQueue], with_ended: bool) -> None:
    """Print all of each job, the line that puts it, and in the end how many there are."""
    for queue in queues:
        shown = [_job_as_json(found, queue) for found in _listed(queue, with_ended)]
        click.echo(f"queue {queue_text(queue.name)}")
        for problem in queue.problems:
            click.echo(f"  can't be read: {problem}")
        if shown:
            for line in lines_for_queue(queue):
                click.echo(f"  make it: {line}")
        for job in shown:
            _print_job(job)
    left = sum(len(queue.jobs) for queue in queues)
    ended = sum(len(queue.ended) for queue in queues)
    if left:
        click.echo(f"\nThe lines need: {'; '.join(PREAMBLE)}; connection = db.open()")
    more = "" if with_ended or not ended else f"; --all lists {ended:,} that have ended"
    click.echo(f"{left:,} left{more}")


def _print_job(job: dict[str, Any]) -> None:
    call = f"{job['callable']}({', '.join(job['arguments'])})"
    click.echo(f"\n  {job['id']}  {job['state']}  {one_line(call)}")
    fields = [
        ("class", job["kind"]),
        ("agent", job["agent"]),
        ("due", job["begin_after"]),
        ("begin by", None if job["begin_by"] is None else f"{job['begin_by']:g} s after due"),
        ("quotas", ", ".join(job["quota_names"])),
        ("failure", job["failure"]),
    ]
    for callback in job["callbacks"]:
        after = f" after {callback['after']}" if callback["after"] else ""
        called = f"{callback['callable']}({', '.join(callback['arguments'])})"
        fields.append(("callback", f"{callback['when']}{after}: {called}"))
    fields += [("policy", job["retry_policy"]), ("line", job["line"])]
    fields += [("needs" if job["line"] else "no line", need) for need in job["needs"]]
    for name, value in fields:
        if value:
            click.echo(f"{name:>13}  {one_line(value)}")


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
