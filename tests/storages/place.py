"""A place for a database, and the databases that are opened there."""

from __future__ import annotations

import dataclasses
import functools
import io
import string
from pathlib import Path
from typing import Any

import ZConfig
import ZODB.config


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one database is stored.

    `storage`: the storage's section of a ZODB configuration, in which ``$client`` stands
    for a folder of the client's own. `clients`: how many can have it open at once.
    """

    folder: Path
    storage: str
    clients: float = float("inf")

    def config(self, name: str = "unnamed", client: str = "client") -> str:
        """The configuration of a client, for this process or another one."""
        storage = self._section(client)
        imports = [line for line in storage.splitlines() if line.startswith("%")]
        rest = [line for line in storage.splitlines() if not line.startswith("%")]
        return "\n".join([*imports, f"<zodb {name}>", " cache-size 400", *rest, "</zodb>\n"])

    def _section(self, client: str) -> str:
        own = self.folder / client
        own.mkdir(exist_ok=True)
        return string.Template(self.storage).substitute(client=own)

    def open(self, client: str = "client") -> Any:
        """The database, as one client sees it."""
        config, _ = ZConfig.loadConfigFile(_schema(), io.StringIO(self.config(client=client)))
        return ZODB.config.databaseFromConfig(config.database)

    def open_storage(self, client: str = "client") -> Any:
        """The storage, without a database on it."""
        return ZODB.config.storageFromString(self._section(client))


@functools.cache
def _schema() -> Any:
    """That of ZODB with all that our sections import, which is read only once then."""
    packages = ("ZODB", "ZEO", "relstorage", "storages")
    imports = "".join(f'<import package="{package}"/>' for package in packages)
    section = '<multisection type="ZODB.database" name="*" attribute="database" required="yes"/>'
    return ZConfig.loadSchemaFile(io.StringIO(f"<schema>{imports}{section}</schema>"))
