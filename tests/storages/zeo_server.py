"""A ZEO server without zodbjobs: zeo_server.py FOLDER-OF-LIBRARIES CONFIGURATION [MENDER].

Start it with -I and -S, so that nothing but that folder is added to the standard library.
MENDER is the file of a module whose `mend` is called with each storage. Ends when its standard
input does, and then removes the folder of the configuration.
"""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Any


def end_with_input(folder: str) -> None:
    """End this process when whoever started it is gone, or asks for it.

    By a signal it may go on: ZEO raises SystemExit in its handler, wherever the server is just
    then, and what is raised while an object is freed is lost.
    """
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def mend_storages(server_class: Any, mend: Callable[[Any], None]) -> None:
    """Have `mend` called with each storage that such a server opens."""
    open_storages = server_class.open_storages

    def open_and_mend(server: Any) -> None:
        open_storages(server)
        for storage in server.storages.values():
            mend(storage)

    server_class.open_storages = open_and_mend


def main(libraries: str, config: str, mender: str | None = None) -> None:
    """Serve."""
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(__file__)]
    sys.path.append(libraries)
    try:
        importlib.import_module("zodbjobs")
    except ModuleNotFoundError:
        pass
    else:
        sys.exit("zodbjobs can be imported here, so this server would prove nothing")
    from ZEO import runzeo

    if mender is not None:
        mend_storages(runzeo.ZEOServer, runpy.run_path(mender)["mend"])

    threading.Thread(target=end_with_input, args=[os.path.dirname(config)], daemon=True).start()
    runzeo.main(["-C", config])


if __name__ == "__main__":
    main(*sys.argv[1:])
