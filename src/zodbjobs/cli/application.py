"""An application by whose configuration a command finds its databases: ``--zope-conf FILE``,
``--paste FILE``.

Each kind of application has a module of two functions, which is loaded when it is asked for:

``opened(path, *, read_only, wait_seconds)``
    the context of an open ZODB.DB, closed at the end: of the databases of the application alone,
    where they can be had without the rest of it;
``started(path)``
    the same with the application, as its server starts it; for the process of a worker. The
    transaction of the thread isn't begun. With a log of its own if it configures one.

Both raise CommandError in place of what a configuration can be refused with.
"""

from __future__ import annotations

import importlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """What a kind of application is asked for with, and where it is opened."""

    module: str
    help: str
    metavar: str
    #: What its file says for a server that shares the database.
    served: str


#: The kinds, by option.
KINDS = {
    "--zope-conf": Kind(
        "zodbjobs.cli.zope_conf",
        "In place of DATABASE: the configuration of a Zope instance.",
        "FILE",
        "<zeoclient>",
    ),
    "--paste": Kind(
        "zodbjobs.cli.paste",
        "In place of DATABASE: the ini file of a Pyramid application.",
        "FILE[#NAME]",
        "zodbconn.uri = zeo://HOST:PORT",
    ),
}


def without_values(path: str) -> str:
    """``FILE?NAME=***`` for ``FILE?NAME=VALUE``."""
    file, question, rest = path.partition("?")
    return file + question + re.sub(r"=[^&#]*", "=***", rest)


@dataclass(frozen=True)
class Application:
    """One application. Its text is that of the command line, for errors with a cure."""

    option: str
    path: str

    def __str__(self) -> str:
        return f"{self.option} {self.shown}"

    @property
    def shown(self) -> str:
        """The path without the values of variables that follow it: one may be a password."""
        return without_values(self.path)

    @property
    def served(self) -> str:
        """What its file says for a server that shares the database."""
        return KINDS[self.option].served

    def opened(
        self, *, read_only: bool = False, wait_seconds: int | None = None
    ) -> AbstractContextManager[Any]:
        """Its open database, to look at the queues and change them."""
        return self._module().opened(  # type: ignore[no-any-return]
            self.path, read_only=read_only, wait_seconds=wait_seconds
        )

    def started(self) -> AbstractContextManager[Any]:
        """Its open database, with all that its jobs need."""
        return self._module().started(self.path)  # type: ignore[no-any-return]

    def _module(self) -> Any:
        return importlib.import_module(KINDS[self.option].module)


#: What a command is given: the path of a FileStorage, a URI, or an application.
Database = str | Application
