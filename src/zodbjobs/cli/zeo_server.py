"""``python -m zodbjobs.cli.zeo_server ORDERS``: serves a file by ZEO for a supervisor.

Says in one line of JSON on stdout where it listens, or why it can't.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

from ZEO.StorageServer import StorageServer

from zodbjobs.cli import address, lifeline, serve
from zodbjobs.cli.database import file_storage
from zodbjobs.cli.problem import Problem, one_line
from zodbjobs.runtime import signals
from zodbjobs.runtime.storage import full_disk

# A client that stands still within its commit keeps all others from theirs; after so long it
# is disconnected.
_COMMIT_SECONDS = 60


def main() -> None:
    """Serve until neither the supervisor nor one of its workers is there."""
    orders = json.loads(sys.argv[1])
    serve.set_up_logging(orders["name"])
    logging.getLogger("ZEO").setLevel(logging.WARNING)
    # A terminal, or an init system, may signal all processes of a service: the workers
    # need the server until they have stopped.
    for number in signals.STOP:
        signal.signal(number, signal.SIG_IGN)
    try:
        server = _listen(orders["address"], file_storage(orders["path"], create=orders["create"]))
    except Problem as problem:
        _say(problem=problem.message)
        sys.exit(Problem.exit_code)
    loop = server.loop  # closing drops it
    # Closes the file too, in its thread, for which the process waits.
    lifeline.watch_in_server(orders["lifeline"], server.close)
    _say(address=server.addr)
    loop()


def _listen(place: Any, storage: Any) -> Any:
    full_disk.mend(storage)
    where: address.Address = place if isinstance(place, str) else tuple(place)
    try:
        return StorageServer(where, {"1": storage}, transaction_timeout=_COMMIT_SECONDS)
    except OSError as error:
        storage.close()
        raise Problem(
            f"can't listen at {address.text(where)} ({one_line(error)}); name another place "
            "with --address"
        ) from error


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
