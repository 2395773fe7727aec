"""`metrics`: the numbers for Prometheus, once or served."""

from __future__ import annotations

import importlib.util
import math

import click

from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.listening import address_of, reason_of
from zodbjobs.insights.reading import reading
from zodbjobs.stored.lifecycle.root import get_queues


@options.command()
@options.database
@click.option(
    "--serve", metavar="PORT",
    help="Serve them at http://127.0.0.1:PORT/metrics; HOST:PORT lets others in, without asking "
    "who they are. Port 0 takes a free one.",
)  # fmt: skip
@options.read_only
def metrics(database: Database, serve: str | None, read_only: bool) -> None:
    """Print the numbers of all queues and workers as Prometheus reads them.

    They are those of the database, true after restarts and for all processes together. The pages
    of `zodbjobs web` have them too, at /metrics.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        raise CommandError('metrics need prometheus_client: pip install "zodbjobs[metrics]"')
    from zodbjobs.cli.metrics_server import serve as serve_at
    from zodbjobs.metrics import Collector, make_wsgi_app, text_of

    address = None if serve is None else address_of(serve, "127.0.0.1")
    if address is not None and read_only:
        raise CommandError(
            "--read-only looks at a file as it is now, and sees no later change; leave out --serve"
            f" or --read-only; `zodbjobs worker {database} --processes 2` serves it to others"
        )
    with opened(database, read_only=read_only) as db:
        if address is None:
            text, _ = text_of(Collector(db, seconds=math.inf).collect())
            click.echo(text.decode("utf-8"), nl=False)
            return
        with reading(db) as connection:
            get_queues(connection)  # an error now, not a server without an answer
        try:
            serve_at(make_wsgi_app(db), *address, listens=_told)
        except OSError as error:
            raise CommandError(
                f"can't listen at {serve}: {reason_of(error)}; choose another port with --serve"
            ) from error


def _told(url: str) -> None:
    click.echo(f"zodbjobs: metrics are at {url}", err=True)
