"""`web`: the pages, served to operators."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.listening import LOOPBACK, address_of, reason_of

if TYPE_CHECKING:
    from zodbjobs.web.host import WhoAsks

#: The environment variable with the password.
PASSWORD_VARIABLE = "ZODBJOBS_WEB_PASSWORD"

# Characters that a password has at least.
_SHORTEST_PASSWORD = 8

_NEEDED = ("chameleon", "waitress", "webob")


@options.command()
@options.database
@click.option(
    "--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT",
    help="Where to serve; port 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE", help=f"The password is its first line; else it is {PASSWORD_VARIABLE}.",
)  # fmt: skip
@click.option(
    "--user-header", metavar="NAME",
    help="Instead of a password: the header in which a proxy names who asks.",
)  # fmt: skip
@click.option(
    "--proxy", "proxies", multiple=True, metavar="ADDRESS",
    help="Believe the header from here only; repeatable.  [default: this machine]",
)  # fmt: skip
@click.option(
    "--metrics-token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE", help="Who sends its first line as a bearer token may read /metrics.",
)  # fmt: skip
@click.option("--prefix", default="", metavar="PATH", help="The path below which it is reached.")
@click.option(
    "--threads", type=click.IntRange(1), default=4, show_default=True,
    help="Requests that are answered at a time.",
)  # fmt: skip
def web(
    database: Database,
    listen: str,
    password_file: Path | None,
    user_header: str | None,
    proxies: tuple[str, ...],
    metrics_token_file: Path | None,
    prefix: str,
    threads: int,
) -> None:
    """Serve the pages: look at all jobs, and act on them, in a browser.

    Closed to all unless there is a password, or a proxy in front of it that knows who asks.
    Whoever gets in may do everything.

    A FileStorage has room for one process. So that a worker has it too, start that first, with
    `zodbjobs worker DATABASE --processes 2`: it serves the file, and this command finds it.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise CommandError(
            'the pages need Chameleon, waitress and WebOb: pip install "zodbjobs[web]"'
        )
    host, port = address_of(listen)
    who_asks = _who_asks(host, _password(password_file), user_header, proxies)
    token = None if metrics_token_file is None else _first_line(metrics_token_file, "token")
    _check_metrics(token)
    from zodbjobs.web.host import make_host
    from zodbjobs.web.server import make_server

    with opened(database) as db:
        app = make_host(db, who_asks, asks_password=user_header is None, metrics_token=token)
        try:
            server = make_server(app, host, port, threads=threads, prefix=prefix)
        except OSError as error:
            raise CommandError(
                f"can't listen at {listen}: {reason_of(error)}; choose another address or "
                "port with --listen"
            ) from error
        click.echo(f"zodbjobs: the jobs of {database} are at {server.url}", err=True)
        server.run()


def _password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE) or None
    return _first_line(file, "password")


def _first_line(file: Path, what: str) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"can't read the {what} in {file} ({error}); let it be text in UTF-8, of yours"
        ) from error
    if not lines or not lines[0]:
        raise CommandError(f"the first line of {file} is empty; it has to be the {what}")
    return lines[0]


def _check_metrics(token: str | None) -> None:
    if token is not None and importlib.util.find_spec("prometheus_client") is None:
        raise CommandError('metrics need prometheus_client: pip install "zodbjobs[metrics]"')


def _who_asks(
    host: str, password: str | None, user_header: str | None, proxies: tuple[str, ...]
) -> WhoAsks:
    from zodbjobs.web.host import by_header, by_password

    if user_header is not None and password is not None:
        raise CommandError("there is a password and --user-header; give one of the two")
    if user_header is not None:
        if host not in (*LOOPBACK, "localhost") and not proxies:
            raise CommandError(
                f"anybody who reaches {host} could send the header {user_header}; name the proxy "
                "with --proxy, or listen at 127.0.0.1"
            )
        return by_header(user_header, proxies or LOOPBACK)
    if password is None:
        raise CommandError(
            f"nobody could log in: set {PASSWORD_VARIABLE}, or give --password-file, or "
            "--user-header if a proxy knows who asks"
        )
    if len(password) < _SHORTEST_PASSWORD:
        raise CommandError(
            f"the password is too short; take {_SHORTEST_PASSWORD} characters or more"
        )
    return by_password(password)
