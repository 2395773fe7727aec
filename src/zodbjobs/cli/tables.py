"""Tables of jobs, queues and workers, and all of one job, on stdout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zodbjobs import clock
from zodbjobs.insights import (
    AuditEntry,
    ConflictInfo,
    JobDetails,
    JobInfo,
    JobList,
    PauseInfo,
    QueueStats,
    QuotaInfo,
    Times,
    TreeRow,
    WorkerInfo,
)
from zodbjobs.stored.agents import Agent
from zodbjobs.terminal import console, duration, one_line, queue_text, since, state_text

_BARS = " ▁▂▃▄▅▆▇█"


def print_json(value: Any) -> None:
    """Print `value` as JSON; TypeError if it has none."""
    click.echo(json.dumps(value, indent=2))


def print_jobs(jobs: JobList, limit: int) -> None:
    """Print a table, one job a line; tells how to see more, if there may be."""
    out = console()
    back_to = jobs.looked_back_to
    if not jobs:
        out.print("no such jobs" if back_to is None else looked_text(back_to), soft_wrap=True)
    else:
        _print_rows(out, jobs)
        if len(jobs) == limit:
            out.print(f"the newest {limit}; --limit shows more, --help how to filter", style="dim")
        elif back_to is not None:
            out.print(looked_text(back_to), style="dim", soft_wrap=True)
    if jobs.leaves_out is not None:
        out.print(jobs.leaves_out, style="dim", soft_wrap=True)


def _print_rows(out: Console, jobs: JobList) -> None:
    several = len({job.queue for job in jobs}) > 1
    owned = any(job.owner for job in jobs)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("ID", justify="right", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    if several:
        table.add_column("QUEUE")
    if owned:
        table.add_column("OWNER")
    table.add_column("JOB", min_width=16)
    table.add_column("WHEN", no_wrap=True, justify="right")
    table.add_column("TOOK", no_wrap=True, justify="right")
    table.add_column("", style="dim")
    for job in jobs:
        row: list[Any] = [job.id, state_text(job.state)]
        row += [_cut(queue_text(job.queue))] if several else []
        row += [_cut(job.owner or "")] if owned else []
        row += [
            _cut(job.title or job.description),
            since(_when(job)),
            duration(job.seconds),
            _cut(_note(job)),
        ]
        table.add_row(*row)
    out.print(table)


def looked_text(back_to: datetime) -> str:
    """How far a search looked that stopped before it had looked at all jobs."""
    moment = back_to.isoformat()
    return f"no others found back to {moment}, and there are older ones; --until {moment} goes on"


def _cut(text: str) -> Text:
    """The text on one line. Its column alone shrinks when the terminal is narrow."""
    return Text(one_line(text), no_wrap=True, overflow="ellipsis")


def _when(job: JobInfo) -> datetime | None:
    if job.state == "scheduled":
        return job.begin_after
    return job.finished or job.started or job.created


def _note(job: JobInfo) -> str:
    if job.parked or job.failure:
        return job.parked or job.failure or ""
    if job.percent is None or job.outcome:
        return job.message or ""
    return f"{job.percent:.0f} % {job.message or ''}"


def print_pauses(pauses: Mapping[str, Sequence[PauseInfo]]) -> None:
    """Print a line for each pause of queues, given by their names."""
    out = console()
    for name, each in pauses.items():
        for pause in each:
            counted = pause.match is not None and pause.jobs is not None
            aside = f", {pause.jobs:,} jobs put aside" if counted else ""
            text = f"{paused_text(name, pause.match)} paused {since(pause.since)}{aside}: "
            out.print(Text(text + one_line(pause.reason), style="yellow"), soft_wrap=True)


def paused_text(queue: str, match: str | None = None) -> str:
    """A queue, or some of its jobs, for people."""
    shown = f"queue {queue_text(queue)}"
    return shown if match is None else f"{match} of {shown}"


def print_queue_state(state: str, queue: str, match: str | None, as_json: bool) -> None:
    """Print what a queue, or some of its jobs, is now."""
    if as_json:
        print_json({"queue": queue, "match": match, "state": state})
    else:
        click.echo(f"{state}: {paused_text(queue, match)}")


def drained_text(queue: QueueStats) -> str:
    """What a queue that is drained still has, for people."""
    waiting = queue.waiting + queue.scheduled + queue.blocked + queue.paused
    held = " and it is paused;" if queue.pauses else ""
    return (
        f"{paused_text(queue.name)} has {waiting:,} jobs waiting,{held} "
        f"{queue.assigned + queue.active:,} at work"
    )


def agent_rows(agents: Iterable[Agent]) -> list[dict[str, Any]]:
    """Agents as plain values, with their numbers among those of the worker."""
    numbers: Counter[str | None] = Counter()
    rows = []
    for agent in agents:
        numbers[agent.worker] += 1
        queues = None if agent.queues is None else list(agent.queues)
        row = {"worker": agent.worker, "number": numbers[agent.worker], "queues": queues}
        rows.append({**row, "size": agent.size, "filter": agent.filter})
    return rows


def print_agents(rows: Sequence[dict[str, Any]]) -> None:
    """Print the agents, one a line."""
    out = console()
    if not rows:
        out.print("no worker is registered")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("WORKER", no_wrap=True)
    table.add_column("AGENT", justify="right", no_wrap=True)
    table.add_column("QUEUE")
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("FILTER")
    for row in rows:
        names = row["queues"]
        queues = "(all)" if names is None else ", ".join(map(queue_text, names))
        cells = (_cut(queues), f"{row['size']:,}", _cut(row["filter"] or ""))
        table.add_row((row["worker"] or "")[:12], str(row["number"]), *cells)
    out.print(table)


def print_quotas(quotas: dict[str, list[QuotaInfo]]) -> None:
    """Print the quotas of queues, one a line."""
    out = console()
    if not any(quotas.values()):
        out.print("no queue has a quota")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("QUEUE")
    table.add_column("QUOTA")
    for title in ("SIZE", "RUNNING", "WAITING"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("RATE")
    table.add_column("NEXT TURN", no_wrap=True)
    for queue, infos in quotas.items():
        for info in infos:
            numbers = (info.size, info.held, info.waiting)
            table.add_row(
                _cut(queue_text(queue)),
                _cut(info.name),
                *("" if number is None else f"{number:,}" for number in numbers),
                _rate_text(info),
                "" if info.next_turn is None else since(info.next_turn),
            )
    out.print(table)


def print_conflicts(found: Sequence[ConflictInfo]) -> None:
    """Print what jobs fought over, each with what to do."""
    out = console()
    if not found:
        out.print("no job had to be run again for a conflict")
    for info in found:
        times = "once" if info.count == 1 else f"{info.count:,} times"
        title = f"{info.job}: {times}, {duration(info.seconds)} lost, last {since(info.last)}"
        out.print(Text(title, style="bold"), soft_wrap=True)
        which = "several objects" if info.oid is None else f"object {info.oid}"
        others = ", ".join(one_line(who) or "somebody who doesn't say" for who in info.others)
        rivals = f", with {others}" if others else ""
        out.print(Text(f"  over {which} of {info.kind or '?'}{rivals}"), soft_wrap=True)
        out.print(Text(f"  {info.what_to_do}", style="dim"), soft_wrap=True)


def _rate_text(info: QuotaInfo) -> str:
    if info.rate is None or info.per is None:
        return ""
    burst = f", {info.burst:,} at once" if info.burst > 1 else ""
    return f"{info.rate:,} in {duration(info.per.total_seconds())}{burst}"


def print_tree(rows: Sequence[TreeRow]) -> None:
    """Print a job, and below it what it waits for and what follows it."""
    out = console()
    for row in rows:
        relation = f"{row.relation} " if row.depth else ""
        line = Text.assemble("  " * row.depth, (relation, "dim"), f"{row.job.id}  ")
        line.append_text(state_text(row.job.state)).append(f"  {row.job.description}")
        out.print(line, soft_wrap=True)


def print_job(job: JobDetails) -> None:
    """Print all about one job."""
    out = console()
    head = Text.assemble((f"{job.description}({', '.join(job.arguments)})", "bold"), "  ")
    out.print(head.append_text(state_text(job.state)), soft_wrap=True)
    for name, value in _fields(job):
        out.print(Text.assemble((f"{name:>13}  ", "dim"), value), soft_wrap=True)
    parts = (
        ("past attempts", _attempts(job)),
        ("done to it", _deeds(job)),
        ("log", job.log),
        ("traceback", (job.traceback or "").splitlines()),
    )
    for title, lines in parts:
        if lines:
            out.print()
            out.print(title, style="dim")
            for line in lines:
                out.print(f"  {line}", soft_wrap=True)


def _attempts(job: JobDetails) -> Sequence[str]:
    """A line for each past attempt; none for an only one, of which the fields tell all."""
    if len(job.past_attempts) == 1 and job.outcome:
        return ()
    return [
        " ".join(
            one_line(part)
            for part in (
                _moment(attempt.started or attempt.finished),
                attempt.outcome,
                f"on {attempt.worker[:12]}" if attempt.worker else None,
                attempt.failure,
            )
            if part
        )
        for attempt in job.past_attempts
    ]


def _deeds(job: JobDetails) -> Sequence[str]:
    """A line for each deed of somebody."""
    return [
        " ".join(
            one_line(part) for part in (_moment(deed.when), deed.action, deed.by, deed.why) if part
        )
        for deed in job.deeds
    ]


def print_audit(entries: Sequence[AuditEntry]) -> None:
    """Print the deeds of the audit trail, one a line."""
    out = console()
    if not entries:
        out.print("nobody has done anything yet")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("WHEN", no_wrap=True)
    table.add_column("WHO")
    table.add_column("WHAT")
    table.add_column("WHY", style="dim")
    for entry in entries:
        table.add_row(
            _moment(entry.when), _cut(entry.by or ""), _cut(_deed(entry)), _cut(entry.why or "")
        )
    out.print(table)


def _deed(entry: AuditEntry) -> str:
    shown = ", ".join(entry.job_ids[:_MOST_IDS])
    more = "" if len(entry.job_ids) <= _MOST_IDS else f" and {len(entry.job_ids) - _MOST_IDS} more"
    parts = [entry.action]
    if entry.job_ids:
        parts.append(f"job {shown}{more}")
    elif entry.queue is not None:
        parts.append(f"queue {queue_text(entry.queue)}")
    return " ".join([*parts, *([entry.detail] if entry.detail else [])])


# Ids of jobs that a line of the audit trail shows.
_MOST_IDS = 5


def _fields(job: JobDetails) -> Iterable[tuple[str, str]]:
    progress = None if job.percent is None else f"{job.percent:.0f} % {job.message or ''}".strip()
    extra = {n: v for n, v in job.annotations.items() if n not in ("percent", "message")}
    fields = {
        "id": f"{job.id} ({job.kind} in queue {queue_text(job.queue)})",
        "title": job.title,
        "owner": job.owner,
        "about": job.about,
        "realm": job.realm,
        "parked": job.parked,
        "failure": job.failure,
        "result": job.result,
        "file": job.result_file,
        "attachments": ", ".join(f"{f.name} ({f.size:,} bytes)" for f in job.attachments),
        "progress": progress or job.message,
        "annotations": ", ".join(f"{name}={value!r}" for name, value in extra.items()),
        "put": _moment(job.created),
        "due": _moment(job.begin_after) if job.begin_after != job.created else None,
        "begin by": None if job.begin_by is None else f"{duration(job.begin_by)} after due",
        "timeout": None if job.timeout is None else duration(job.timeout),
        "started": _moment(job.started),
        "finished": _moment(job.finished),
        "took": duration(job.seconds),
        "priority": str(job.priority) if job.priority else None,
        "attempts": str(job.attempts) if job.attempts > 1 else None,
        "conflicts": str(job.conflicts) if job.conflicts else None,
        "interrupted": f"{job.interruptions} times" if job.interruptions else None,
        "policy": job.retry_policy,
        "worker": job.worker,
        "waits for": ", ".join(job.waits_for),
        "callbacks": ", ".join(job.callbacks),
    }
    return [(name, value) for name, value in fields.items() if value]


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    local = moment.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} ({since(moment)})"


def print_stats(queues: Sequence[QueueStats], workers: Sequence[WorkerInfo]) -> None:
    """Print the queues and the workers in numbers."""
    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("QUEUE")
    titles = ("WAITING", "SCHEDULED", "BLOCKED", "PARKED", "ASSIGNED", "ACTIVE", "FINISHED")
    for title in (*titles, "LAST HOUR"):
        table.add_column(title, justify="right", no_wrap=True)
    for queue in queues:
        waiting = (queue.waiting, queue.scheduled, queue.blocked, queue.parked)
        numbers = (*waiting, queue.assigned, queue.active)
        done = sum(minute.finished for minute in queue.chart)
        bad = sum(minute.failed for minute in queue.chart)
        hour = f"{done:,}" + (f", {bad:,} failed" if bad else "")
        counts = [f"{number:,}" for number in (*numbers, queue.finished)]
        table.add_row(_cut(queue_text(queue.name)), *counts, hour)
    out.print(table)
    for number in {queue.not_looked_at for queue in queues if queue.not_looked_at}:
        out.print(
            f"the workers hold {number:,} more jobs, too many to look of which queue each is",
            style="dim",
            soft_wrap=True,
        )
    for queue in queues:
        _print_times(out, queue)
    print_pauses({queue.name: queue.pauses for queue in queues})
    for queue in queues:
        if queue.draining is not None:
            text = f"{paused_text(queue.name)} takes no new jobs: {one_line(queue.draining)}"
            out.print(Text(text, style="yellow"), soft_wrap=True)
    for queue in queues:
        if queue.chart:
            out.print(f"\n{queue_text(queue.name)}, jobs per minute in the last hour", style="dim")
            out.print(_chart(queue))
    out.print()
    print_workers(workers)


def _print_times(out: Console, queue: QueueStats) -> None:
    """Print a line of how long a queue's jobs wait and take, if there is anything to tell."""
    moments = (("oldest is from", queue.oldest_waiting), ("next due", queue.next_due))
    parts = [f"{name} {since(moment)}" for name, moment in moments if moment is not None]
    for name, times in (("waited", queue.waiting_time), ("took", queue.duration)):
        if times is not None:
            parts.append(f"{name} {_times_text(times)}")
    if queue.last_ended is not None:
        parts.append(f"last ended {since(queue.last_ended)}")
    if parts:
        text = f"{queue_text(queue.name)}: {'; '.join(parts)}"
        out.print(Text(text, style="dim"))


def _times_text(times: Times) -> str:
    p50, p95, most = (duration(seconds) for seconds in (times.p50, times.p95, times.max))
    return f"{p50}, 95 % up to {p95}, at most {most}"


def _chart(queue: QueueStats) -> str:
    """A chart of the last 60 minutes, a character for each."""
    now = clock.to_datetime(clock.now())
    heights = [0] * 60
    for minute in queue.chart:
        age = int((now - minute.start).total_seconds() // 60)
        if 0 <= age < 60:
            heights[59 - age] = minute.finished
    top = max(heights) or 1
    bars = "".join(_BARS[-(-height * 8 // top)] for height in heights)
    return f"{bars} most: {top:,}"


def print_workers(workers: Sequence[WorkerInfo]) -> None:
    """Print the workers, one a line."""
    out = console()
    if not workers:
        out.print("no worker is registered")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("WORKER", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    table.add_column("PROCESS")
    for title in ("THREADS", "ASSIGNED", "ACTIVE", "SEEN", "SINCE"):
        table.add_column(title, justify="right", no_wrap=True)
    for worker in workers:
        process = _cut(f"{worker.pid} on {worker.host}")
        threads = f"{worker.threads:,}" + (f", {worker.stuck:,} stuck" if worker.stuck else "")
        times = (since(worker.last_written), since(worker.started))
        cells = (threads, f"{worker.assigned:,}", f"{worker.active:,}", *times)
        table.add_row(worker.id[:12], state_text(worker.state), process, *cells)
    out.print(table)
