"""What saturates first: varies workers, shards, and how far away the ZEO server is.

Prints tables in Markdown: jobs a second, medians of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench_jobs
import figures
import places
import transaction
from bench_jobs import Thing
from BTrees.LOBTree import LOBTree
from places import Place
from server_figures import until_ended, workers

import zodbjobs

_DELAY = Path(__file__).with_name("delay.py")

#: As many threads put the jobs, each into an inbox that it draws.
_PRODUCERS = 16

Jobs = Callable[[Any, int], list[Any]]


def no_ops(connection: Any, number: int) -> list[Any]:
    """Jobs that write nothing."""
    return [bench_jobs.nothing] * number


def writing(connection: Any, number: int) -> list[Any]:
    """Jobs that write an object each."""
    things = LOBTree({n: Thing() for n in range(number)})
    connection.root().setdefault("things", []).append(things)
    connection.root()._p_changed = True
    transaction.commit()
    return [zodbjobs.Job(thing.change) for thing in things.values()]


KINDS: dict[str, tuple[Jobs, int]] = {"no-op": (no_ops, 20_000), "writing": (writing, 2_000)}


def put(db: Any, kind: str) -> int:
    """Put jobs of that kind from several threads; how many."""
    make, number = KINDS[kind]

    def produce() -> None:
        with contextlib.closing(db.open()) as connection:
            zodbjobs.get_queue(connection).put_many(make(connection, number // _PRODUCERS))
            transaction.commit()

    for _ in range(_PRODUCERS):
        thread = threading.Thread(target=produce)
        thread.start()
        thread.join()
    return number // _PRODUCERS * _PRODUCERS


def rate(place: Place, kind: str, processes: int, shards: int = 8) -> float:
    """Jobs a second, from when all workers have begun to the last booking."""
    with place.open() as db:
        if shards != 8:
            remake_queue(db, shards)
        number = put(db, kind)
        with workers(place, db, processes):
            left = number - figures.ended(db)
            return left / until_ended(db, number)


def remake_queue(db: Any, shards: int) -> None:
    """An empty default queue with so many shards."""
    with db.transaction() as connection:
        queues = zodbjobs.get_queues(connection)
        del queues._queues[""]
        queues.create("", shards)


@contextlib.contextmanager
def delayed(place: Place, milliseconds: float) -> Iterator[Place]:
    """The same server, so far away."""
    address = place.config.split("server ")[1].split()[0]
    command = [sys.executable, _DELAY, address.rpartition(":")[2], str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        port = int(proxy.stdout.readline())
        far = Place("")
        far.config = place.config.replace(address, f"127.0.0.1:{port}")
        try:
            yield far
        finally:
            proxy.communicate()


def both_in_one(kind: str) -> float:
    """Two workers on one server."""
    with places.place("ZEO") as place:
        return rate(place, kind, 2)


def one_each(kind: str) -> float:
    """Two servers, a worker each, and the jobs divided between them; both at once."""
    with (
        places.place("ZEO") as first,
        places.place("ZEO") as second,
        first.open() as one,
        second.open() as two,
    ):
        numbers = [put(one, kind), put(two, kind)]
        with workers(first, one), workers(second, two):
            left = sum(numbers) - figures.ended(one) - figures.ended(two)
            seconds = until_ended(one, numbers[0]) + until_ended(two, numbers[1])
            return left / seconds


def table(title: str, rows: dict[str, Callable[[str], float]], rounds: int) -> None:
    """Measure each row for each kind of jobs."""
    print(f"\n| {title} | " + " | ".join(f"{kind} /s" for kind in KINDS) + " |")
    print("|---|" + "---:|" * len(KINDS), flush=True)
    for name, measure in rows.items():
        cells = [
            f"{statistics.median(measure(kind) for _ in range(rounds)):,.0f}" for kind in KINDS
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def at(processes: int, milliseconds: float = 0, shards: int = 8) -> Callable[[str], float]:
    """A measurement with these many workers, and a server so far away."""

    def measure(kind: str) -> float:
        with places.place("ZEO") as place:
            if not milliseconds:
                return rate(place, kind, processes, shards)
            with delayed(place, milliseconds) as far:
                return rate(far, kind, processes, shards)

    return measure


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    table("worker processes", {str(n): at(n) for n in (1, 2, 3, 4)}, rounds)
    table("shards, 2 workers", {str(n): at(2, shards=n) for n in (1, 2, 8, 32)}, rounds)
    far = {f"{ms} ms": at(1, ms) for ms in (0, 1, 5, 20)}
    table("to the server and back, 1 worker", far, rounds)
    rows = {
        "one queue in one database": both_in_one,
        "two queues, each in a database with a server of its own": one_each,
    }
    table("2 workers", rows, rounds)


if __name__ == "__main__":
    main()
