"""The commands: options, and what each prints."""

from __future__ import annotations

import click

from zodbjobs.cli.commands.check import check
from zodbjobs.cli.commands.demo import demo_
from zodbjobs.cli.commands.group import Group
from zodbjobs.cli.commands.jobs import cancel, forget, jobs, remove, retry, show, watch_
from zodbjobs.cli.commands.metrics import metrics
from zodbjobs.cli.commands.put import put
from zodbjobs.cli.commands.queues import audit, drain, pause, resume, stats
from zodbjobs.cli.commands.quotas import conflicts, quotas
from zodbjobs.cli.commands.schedules import schedules
from zodbjobs.cli.commands.web import web
from zodbjobs.cli.commands.worker import agents, worker, workers
from zodbjobs.cli.commands.zc_async import zc_async_


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zodbjobs", message="%(prog)s %(version)s")
def cli() -> None:
    """Background jobs in a ZODB.

    DATABASE is the path of a FileStorage (often Data.fs), or a URI such as
    zeo://localhost:8100. Blobs beside a path lie in PATH.blobs.

    Try `zodbjobs demo` first.
    """


# In the order in which --help lists them.
for command in (
    worker,
    put,
    jobs,
    show,
    watch_,
    cancel,
    retry,
    remove,
    forget,
    stats,
    check,
    workers,
    pause,
    resume,
    drain,
    agents,
    quotas,
    conflicts,
    schedules,
    audit,
    metrics,
    web,
    demo_,
    zc_async_,
):
    cli.add_command(command)

__all__ = ["cli"]
