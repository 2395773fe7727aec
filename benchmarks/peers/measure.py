"""`python measure.py MODULE COMMAND NUMBER`, in the environment of the module's peer.

`fill` queues jobs; `drain` runs them, `put` queues one by one, `effect` queues and runs jobs that
change a ZODB. These three print one line of JSON: the jobs and the seconds that they took.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable

from peer import Peer

LOOK_SECONDS = 0.25
STALLED_SECONDS = 60.0

Found = dict[str, float]


def watch(done: Callable[[int], int], number: int) -> Found:
    """Look until all are done; the jobs and seconds since the first look that found any.

    So the start of the worker doesn't count, whatever it imports.
    """
    first = latest = 0
    start = moved = time.perf_counter()
    while True:
        seen, now = done(number), time.perf_counter()
        if seen and not first:
            first, start = seen, now
        if seen > latest:
            latest, moved = seen, now
        if seen >= number:
            break
        if now > moved + STALLED_SECONDS:
            raise RuntimeError(f"only {seen} of {number} jobs are done, and no more")
        time.sleep(LOOK_SECONDS)
    if first > number / 2:
        raise RuntimeError(f"{number} jobs are too few: {first} were done at the first look")
    return {"jobs": number - first, "seconds": now - start}


def drain(peer: Peer, number: int) -> Found:
    """Jobs that were queued before."""
    with peer.working():
        return watch(peer.done, number)


def put(peer: Peer, number: int) -> Found:
    """One after the other, without a worker."""
    peer.setup()
    start = time.perf_counter()
    peer.put(number)
    return {"jobs": number, "seconds": time.perf_counter() - start}


def effect(peer: Peer, number: int) -> Found:
    """Jobs that change one object each; each effect is looked at in the end."""
    peer.setup()
    peer.fill_effects(number)
    with peer.working():
        found = watch(peer.done, number)
    changed = peer.changed()
    if changed != number:
        raise RuntimeError(f"{changed} of {number} objects were changed exactly once")
    return found


def main() -> None:
    """Do what the command line says."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # The workers' own commands are to find the jobs.
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    name, command, *rest = sys.argv[1:]
    peer: Peer = importlib.import_module(name).PEER
    if command == "work":
        peer.work()
    elif command == "fill":
        peer.setup()
        peer.fill(int(rest[0]))
    else:
        measures = {"drain": drain, "put": put, "effect": effect}
        print(json.dumps(measures[command](peer, int(rest[0]))))


if __name__ == "__main__":
    main()
