"""`schedules`: what is put again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from zodbjobs import operations
from zodbjobs.cli import schedule_tables, tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.job_parser import make_job
from zodbjobs.cli.moments import moment_of, span_of
from zodbjobs.insights import list_schedules, schedule_details
from zodbjobs.insights.reading import reading
from zodbjobs.stored.lifecycle.schedule_options import CATCH_UPS, OVERLAPS

_ACTIONS = ("add", "show", "edit", "pause", "resume", "run", "remove")


@options.command(context_settings={"ignore_unknown_options": True})
@options.database
@click.argument(
    "action", required=False, type=click.Choice(_ACTIONS),
    metavar=f"[{'|'.join(_ACTIONS)}]",  # which click 8.1 puts in brackets twice
)  # fmt: skip
@click.argument("name", required=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[MODULE:FUNCTION [ARG]...]")
@click.option("--cron", metavar="EXPRESSION", help="As '30 2 * * *', or @daily.")
@click.option("--every", type=span_of, metavar="SPAN", help="As 90s, 5m, 12h or 1d.")
@click.option("--at", multiple=True, type=moment_of, metavar="TIME", help="Once; repeatable.")
@click.option("--zone", metavar="ZONE", help="As Europe/Berlin; UTC if left out.")
@click.option("--queue", metavar="NAME", help="The default queue if left out.")
@click.option("--catch-up", type=click.Choice(CATCH_UPS), help="Of missed times; latest.")
@click.option("--window", type=span_of, metavar="SPAN", help="Caught up for so long; 1d.")
@click.option("--overlap", type=click.Choice(OVERLAPS), help="While the last one runs; skip.")
@click.option("--jitter", type=span_of, metavar="SPAN", help="Due by chance so much later.")
@click.option("--pause-after", "failures", type=int, metavar="N", help="Failures; then pause.")
@click.option("--priority", type=int, help="From -8 to 7, larger first.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End a job after so long.")
@click.option("--quota", "quotas", multiple=True, metavar="NAME", help="A quota; repeatable.")
@click.option("--owner", metavar="ID", help="Whose its jobs are.")
@click.option("--title", metavar="TEXT", help="What people read of them.")
@click.option("--realm", metavar="NAME", help="The site that they belong to.")
@click.option("--reason", metavar="TEXT", help="Why it is paused, for who will ask.")
@options.why
@options.read_only
@options.json
def schedules(
    database: Database,
    action: str | None,
    name: str | None,
    words: tuple[str, ...],
    reason: str | None,
    why: str | None,
    read_only: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """List the schedules, or do something to one of them.

    \b
    schedules DATABASE
    schedules DATABASE show NAME
    schedules DATABASE add NAME MODULE:FUNCTION [ARG]... --cron '30 2 * * *'
    schedules DATABASE edit NAME --every 5m
    schedules DATABASE pause NAME --reason TEXT
    schedules DATABASE resume|run|remove NAME

    An ARG is JSON or text, NAME=VALUE a keyword argument, as in `put`. `edit` changes what is
    given. `run` puts a job now. Workers follow within a second. Times are shown in UTC; the clock
    on the wall of --zone is what a cron expression goes by.
    """  # noqa: D301 - click knows by a backspace that the lines are to stay
    if action is None:
        with opened(database, read_only=read_only) as db, reading(db) as connection:
            found = list_schedules(connection)
        if as_json:
            tables.print_json([each.as_json() for each in found])
        else:
            schedule_tables.print_schedules(found)
        return
    if name is None:
        raise CommandError(f"say which schedule: schedules {database} {action} NAME")
    given = _given(**said)
    if action not in ("add", "edit") and (given or words):
        raise CommandError("a function, times and options are for add and edit")
    change = _change(action, name, words, given, reason, why)
    if change is not None:
        with opened(database) as db:
            told = change(db)
        if action == "remove":
            tables.print_json({"removed": name}) if as_json else click.echo(f"{name}: removed")
            return
        if action == "run":
            tables.print_json({"job": told}) if as_json else click.echo(told)
            return
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        details = schedule_details(connection, name)
    if as_json:
        tables.print_json(details.as_json())
    else:
        schedule_tables.print_schedule(details)


def _change(
    action: str,
    name: str,
    words: tuple[str, ...],
    given: dict[str, Any],
    reason: str | None,
    why: str | None,
) -> Callable[[Any], Any] | None:
    """What is to be done with a database, or None."""
    by = options.me()
    if action == "show":
        return None
    if action == "pause":
        if reason is None:
            raise CommandError("say why: --reason TEXT, for who will ask")
        return lambda db: operations.pause_schedule(db, name, reason, by=by)
    if action in ("add", "edit"):
        what = [given.pop("cron")] if "cron" in given else []
        if words:
            what.append(make_job(words[0], words[1:], False)())
        do = operations.create_schedule if action == "add" else operations.edit_schedule
        return lambda db: do(db, name, *what, by=by, why=why, **given)
    do_it = {
        "resume": operations.resume_schedule,
        "run": operations.run_schedule,
        "remove": operations.remove_schedule,
    }[action]
    return lambda db: do_it(db, name, by=by, why=why)


def _given(
    cron: str | None,
    every: timedelta | None,
    at: tuple[datetime, ...],
    failures: int | None,
    quotas: tuple[str, ...],
    **more: Any,
) -> dict[str, Any]:
    """The options that were given, as ISchedules.create names them."""
    found = {**more, "cron": cron, "every": every, "at": list(at) or None}
    found |= {"pause_after_failures": failures, "quota_names": quotas or None}
    return {name: value for name, value in found.items() if value is not None}
