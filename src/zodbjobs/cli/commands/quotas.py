"""`quotas`: how many jobs of a name run at once and begin in a span of time, and changes of that;
`conflicts`: what jobs fight over.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from zodbjobs import operations
from zodbjobs.cli import tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.moments import span_of
from zodbjobs.insights import all_queue_stats, list_conflicts, list_quotas
from zodbjobs.insights.reading import reading


@options.command()
@options.database
@click.option("--queue", metavar="NAME", help="Those of this queue; '' is the default one.")
@click.option(
    "--name", metavar="QUOTA", help="Change this one, of the default queue without --queue."
)
@click.option("--size", type=click.IntRange(1), help="How many of its jobs run at once.")
@click.option("--rate", type=click.IntRange(1), help="How many begin in --per.")
@click.option("--per", type=span_of, metavar="SPAN", help="What the rate is for: 30s, 1m, 2h.")
@click.option("--burst", type=click.IntRange(1), help="How many may begin at once.")
@click.option(
    "--add", "adds", is_flag=True, help="Make it, with what is given; size 1 if nothing."
)
@click.option("--remove", "removes", is_flag=True, help="Remove it; what waits for it is let go.")
@options.why
@options.read_only
@options.json
def quotas(
    database: Database,
    queue: str | None,
    name: str | None,
    size: int | None,
    rate: int | None,
    per: timedelta | None,
    burst: int | None,
    adds: bool,
    removes: bool,
    why: str | None,
    read_only: bool,
    as_json: bool,
) -> None:
    """List the quotas of the queues, who has a slot of them and waits, or change one.

    --size, --rate, --per and --burst change the quota --name; what is left out stays. With --add
    they make it; --remove removes it.
    """
    change: dict[str, Any] = {"per": per, "burst": burst}
    change |= {} if size is None else {"size": size}
    change |= {} if rate is None else {"rate": rate}
    changes = any(value is not None for value in change.values())
    if (changes or adds or removes) and name is None:
        raise CommandError("a change is of one quota; say --name QUOTA, as the list has it")
    if name is not None and not (changes or adds or removes):
        raise CommandError(
            "--name chooses what is changed; say --size, --rate, --per or --burst, or --add or "
            "--remove"
        )
    if removes and (adds or changes):
        raise CommandError("--remove removes the quota; give it without limits and without --add")
    if name is not None:
        who: dict[str, Any] = {"by": options.me(), "why": why}
        with opened(database) as db:
            if removes:
                operations.remove_quota(db, queue or "", name, **who)
            elif adds:
                said = {key: value for key, value in change.items() if value is not None}
                operations.create_quota(db, queue or "", name, **said, **who)
            else:
                operations.change_quota(db, queue or "", name, **change, **who)
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        names = [each.name for each in all_queue_stats(connection)] if queue is None else [queue]
        found = {each: list_quotas(connection, each) for each in names}
    if as_json:
        tables.print_json(
            [{"queue": each, **info.as_json()} for each in found for info in found[each]]
        )
    else:
        tables.print_quotas(found)


@options.command()
@options.database
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="So many at most."
)
@options.read_only
@options.json
def conflicts(database: Database, limit: int, read_only: bool, as_json: bool) -> None:
    """Tell what jobs fought over in the last week, what cost most first, and what to do.

    A job that changes what another one has changed meanwhile is rolled back and run again: that is
    right, and costs time. Workers write what they count with their heartbeats.
    """
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        found = list_conflicts(connection, limit)
    if as_json:
        tables.print_json([{**info.as_json(), "what_to_do": info.what_to_do} for info in found])
    else:
        tables.print_conflicts(found)
