"""Whether the work is done: for probes of a machine, and for who is woken by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from zodbjobs import clock
from zodbjobs.errors import BadArgument
from zodbjobs.insights.due import count_due, oldest_due
from zodbjobs.insights.infos import Info
from zodbjobs.insights.numbers import SILENT, state_of, written_at
from zodbjobs.insights.schedules import schedule_lateness
from zodbjobs.runtime.failure_detector import is_dead, is_here
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.workers import WorkerRecord

# Workers that a text names.
_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Problem(Info):
    """Something that is wrong, as a sentence with the cure.

    `kind`: workers, unserved (no worker for the queue), waiting (too many), late (for too long),
    parked (too many) or schedules (one is due for too long). `queue`: its name, or None.
    """

    kind: str
    text: str
    queue: str | None = None


@dataclasses.dataclass(frozen=True)
class Health(Info):
    """What `check_health` has found: no `problems`, or what is wrong.

    `workers`: how many of those that were asked about work; `others`: how many don't any more,
    and weren't struck off yet. `stuck_threads`: of those that work. `last_sign`: the last sign of
    life of any of these. `oldest_waiting`: since when the oldest due job waits, if that was asked
    for.
    """

    ok: bool
    problems: tuple[Problem, ...]
    workers: int
    others: int
    stuck_threads: int
    last_sign: datetime | None
    oldest_waiting: datetime | None = None


class _Limits(NamedTuple):
    """What is not to be exceeded; None isn't looked at."""

    min_workers: int
    max_age: float | None
    max_waiting: int | None
    max_wait: float | None
    max_parked: int | None
    max_late: float | None

    def check(self) -> None:
        """Raise BadArgument for a number that is too small."""
        for name, value in self._asdict().items():
            least = 1 if name == "min_workers" else 0
            if value is not None and value < least:
                raise BadArgument(f"{name} is at least {least}, not {value!r}")


def check_health(
    place: Any,
    *,
    queues: Sequence[str] | None = None,
    worker: str | None = None,
    here: bool = False,
    min_workers: int = 1,
    max_age: float | None = None,
    max_waiting: int | None = None,
    max_wait: float | None = None,
    max_parked: int | None = None,
    max_late: float | None = None,
) -> Health:
    """Tell whether enough workers work, for each queue one, and whether jobs wait too long.

    A worker works if its process hasn't ended, and its record was written in the last `max_age`
    seconds, by default those of the heartbeats after which others take it for dead. `queues`: the
    names of those that are meant, all by default. `worker`: only the one whose id begins so;
    `here`: only those of this machine, or container, as a probe in it asks; with either, queues
    that aren't named may be others' to serve. `min_workers`: how many must work.

    Of each queue `max_waiting` is how many jobs may be due and wait, `max_wait` for how many
    seconds the oldest of them may, `max_parked` how many may be parked; `max_late` is for how many
    seconds a schedule may be due. None isn't looked at. The work is bounded, however many jobs
    there are.

    Raises UnknownQueue, and BadArgument for a number that is too small.
    """
    limits = _Limits(min_workers, max_age, max_waiting, max_wait, max_parked, max_late)
    limits.check()
    stored = get_queues(place)
    meant = [stored[name] for name in (stored if queues is None else queues)]
    records = _meant(stored, worker or "", here)
    now = clock.now()
    why = {record.id: _why_not(record, now, max_age) for record in records}
    work = [record for record in records if why[record.id] is None]
    problems: list[Problem] = []
    if len(work) < min_workers:
        left = [text for text in why.values() if text is not None]
        problems.append(_too_few(len(work), min_workers, left, worker, here))
    if queues is not None or not (worker or here):
        # Where there is no worker at all, that has been said.
        problems += [_unserved(queue) for queue in meant if work and not _is_served(queue, work)]
    since = {queue.name: oldest_due(queue, now) for queue in meant} if max_wait is not None else {}
    for queue in meant:
        problems += _overdue(queue, now, since.get(queue.name), limits)
    if max_late is not None:
        problems += _late(schedule_lateness(place), max_late)
    signs = [sign for record in work if (sign := written_at(record)) is not None]
    return Health(
        ok=not problems,
        problems=tuple(problems),
        workers=len(work),
        others=len(records) - len(work),
        stuck_threads=sum(record.stuck for record in work),
        last_sign=max(signs, default=None),
        oldest_waiting=clock.moment(min(filter(None, since.values()), default=None)),
    )


def _is_served(queue: Queue, work: Sequence[WorkerRecord]) -> bool:
    return any(record.serves(queue.name) for record in work)


# Workers


def _meant(queues: Queues, start: str, here: bool) -> list[WorkerRecord]:
    """The workers with such an id; `here`: of this machine."""
    found = (record for record in queues.workers.values() if record.id.startswith(start))
    return [record for record in found if not here or is_here(record)]


def _why_not(record: WorkerRecord, now: int, max_age: float | None) -> str | None:
    """Why a worker doesn't work, as far as its record tells; None if it does."""
    shown = f"worker {record.id[:12]} (process {record.pid} on {record.host})"
    if is_dead(record, only_process=False):
        return f"{shown} has ended without a word"
    written = written_at(record)
    age = timedelta(0) if written is None else clock.to_datetime(now) - written
    too_old = state_of(record) == SILENT if max_age is None else age.total_seconds() > max_age
    return f"{shown} gave its last sign of life {_seconds(age)} s ago" if too_old else None


def _too_few(
    number: int, least: int, left: Sequence[str], worker: str | None, here: bool
) -> Problem:
    which = " of this machine" if here else ""
    which += f" with an id that begins with {worker!r}" if worker else ""
    words = f"no worker{which} works" if not number else f"{number} of {least} workers{which} work"
    if left:
        more = f", and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        text = f"{words}: {'; '.join(left[:_MOST_NAMED])}{more}; see its log, and start it again"
    else:
        none = ", and no other is registered" if number else ": none is registered"
        text = f"{words}{none}; start one with `zodbjobs worker`"
    return Problem("workers", text)


def _unserved(queue: Queue) -> Problem:
    text = (
        f"no worker that works is for {_shown(queue)}; start one with `zodbjobs worker --queue`, "
        "or add an agent with `zodbjobs agents --add`"
    )
    return Problem("unserved", text, queue.name)


# Jobs


def _overdue(queue: Queue, now: int, oldest: int | None, limits: _Limits) -> Iterator[Problem]:
    _, _, max_waiting, max_wait, max_parked, _ = limits
    shown, name = _shown(queue), queue.name
    if queue.paused is not None:
        cure = f"it is paused ({queue.paused}): resume it with `zodbjobs resume`"
    else:
        cure = "give it more threads or workers, or see with `zodbjobs jobs` what takes so long"
    if oldest is not None and max_wait is not None and now - oldest > max_wait * 1_000_000:
        age = _seconds(timedelta(microseconds=now - oldest))
        limit = f"more than {max_wait:g} s"
        yield Problem("late", f"a job of {shown} has waited for {age} s, {limit}; {cure}", name)
    if max_waiting is not None and count_due(queue, now, max_waiting) > max_waiting:
        text = f"more than {max_waiting:,} jobs of {shown} are due and wait; {cure}"
        yield Problem("waiting", text, name)
    if max_parked is not None and _has_more_parked(queue, max_parked):
        text = (
            f"more than {max_parked:,} jobs of {shown} are parked; "
            "`zodbjobs jobs --status parked` tells what they lack"
        )
        yield Problem("parked", text, name)


def _late(late: timedelta, most: float) -> Iterator[Problem]:
    if late.total_seconds() > most:
        text = (
            f"a schedule is due for {_seconds(late)} s, more than {most:g} s, and hasn't put its "
            "job; `zodbjobs schedules` lists it, and a worker's log tells why"
        )
        yield Problem("schedules", text)


def _has_more_parked(queue: Queue, most: int) -> bool:
    parked = (key for shard in queue.shards for key in shard.parked)
    return next(islice(parked, most, None), None) is not None


def _shown(queue: Queue) -> str:
    return f"queue {queue.name!r}" if queue.name else "the default queue"


def _seconds(age: timedelta) -> str:
    return f"{age.total_seconds():,.0f}"
