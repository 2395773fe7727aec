"""``python -m zodbjobs.cli.zeo_server SETTINGS``: serves a file by ZEO for a supervisor.

It writes one line of JSON to stdout: the address at which it listens, or the error.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

from ZEO.StorageServer import StorageServer

from zodbjobs.cli import shutdown_pipes, zeo_address
from zodbjobs.cli.database import file_storage
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.log_output import set_up_logging
from zodbjobs.runtime import signals
from zodbjobs.runtime.storage import full_disk
from zodbjobs.terminal import one_line

# A client that stands still within its commit keeps all others from theirs; after so long it
# is disconnected.
_COMMIT_SECONDS = 60


def main() -> None:
    """Serve until neither the supervisor nor one of its workers is there; exits with status 2
    if it can't.
    """
    settings = json.loads(sys.argv[1])
    set_up_logging(settings["name"])
    logging.getLogger("ZEO").setLevel(logging.WARNING)
    # A terminal, or an init system, may signal all processes of a service: the workers
    # need the server until they have stopped.
    for number in signals.STOP:
        signal.signal(number, signal.SIG_IGN)
    try:
        server = _listen(
            settings["address"], file_storage(settings["path"], create=settings["create"])
        )
    except CommandError as error:
        _write(error=error.message)
        sys.exit(CommandError.exit_code)
    loop = server.loop  # closing drops it
    # Closes the file too, in its thread, for which the process waits.
    shutdown_pipes.call_when_server_stops(settings["pipes"], server.close)
    _write(address=server.addr)
    loop()


def _listen(where: Any, storage: Any) -> Any:
    full_disk.mend(storage)
    address: zeo_address.Address = where if isinstance(where, str) else tuple(where)
    try:
        return StorageServer(address, {"1": storage}, transaction_timeout=_COMMIT_SECONDS)
    except OSError as error:
        storage.close()
        raise CommandError(
            f"can't listen at {zeo_address.text(address)} ({one_line(error)}); name another one "
            "with --address"
        ) from error


def _write(**what: Any) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
