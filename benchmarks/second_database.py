"""What a queue in a database of its own costs jobs whose effects are in the main one.

Two files on one disk, one worker; prints a table in Markdown: jobs a second, medians of rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transaction
import ZODB
from scaling import KINDS
from server_figures import until_ended

import zodbjobs


@contextlib.contextmanager
def database(is_apart: bool) -> Iterator[Any]:
    """An empty one with a queue, which is in a second one if `is_apart`."""
    with tempfile.TemporaryDirectory() as folder:
        opened: dict[str, Any] = {}
        names = ("main", "queue") if is_apart else ("main",)
        for number, name in enumerate(names):
            # Commits are finished in the order of the paths, and the main one is to be first.
            path = str(Path(folder) / f"{number}.fs")
            ZODB.DB(path, databases=opened, database_name=name)
        zodbjobs.install(opened["main"], db_name="queue" if is_apart else None)
        yield opened["main"]
        for db in opened.values():
            db.close()


def rate(is_apart: bool, kind: str) -> float:
    """Jobs of that kind a second."""
    make, number = KINDS[kind]
    with database(is_apart) as db:
        with contextlib.closing(db.open()) as connection:
            zodbjobs.get_queue(connection).put_many(make(connection, number))
            transaction.commit()
        with zodbjobs.Worker(db):
            return number / until_ended(db, number)


def main() -> None:
    """Both, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    seen: dict[tuple[bool, str], list[float]] = {}
    for _ in range(parser.parse_args().rounds):
        for kind in KINDS:
            for is_apart in (False, True):
                seen.setdefault((is_apart, kind), []).append(rate(is_apart, kind))
    print("| the queue | " + " | ".join(f"{kind} /s" for kind in KINDS) + " |")
    print("|---|" + "---:|" * len(KINDS))
    for is_apart, name in ((False, "with the effects"), (True, "in a database of its own")):
        cells = [f"{statistics.median(seen[is_apart, kind]):,.0f}" for kind in KINDS]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
