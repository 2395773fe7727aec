"""A ZEO server without zodbjobs: zeo_server.py FOLDER-OF-LIBRARIES CONFIGURATION.

Start it with -I and -S, so that nothing but that folder is added to the standard library.
Ends when its standard input does, and then removes the folder of the configuration.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import threading


def end_with_input() -> None:
    """Ask this process to end when whoever started it is gone."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(libraries: str, config: str) -> None:
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

    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        runzeo.main(["-C", config])
    finally:
        shutil.rmtree(os.path.dirname(config))


if __name__ == "__main__":
    main(*sys.argv[1:])
