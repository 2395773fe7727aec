"""How many jobs are where, and who works."""

from __future__ import annotations

from typing import Any

from zodbjobs import clock
from zodbjobs.insights.infos import Minute, PauseInfo, QueueStats, WorkerInfo
from zodbjobs.insights.newest import is_of
from zodbjobs.runtime.failure_detector import is_dead
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import MINUTE
from zodbjobs.stored.workers import WorkerRecord


def queue_stats(place: Any, name: str, minutes: int = 60) -> QueueStats:
    """The numbers of one queue, and its chart of the last `minutes`.

    Counting what waits reads the queue's indexes, not the jobs: about a second for a
    million. All else takes the same time however many there are.
    """
    return _stats(get_queues(place)[name], minutes)


def all_queue_stats(place: Any, minutes: int = 60) -> list[QueueStats]:
    """`queue_stats` of each queue, by name."""
    return [_stats(queue, minutes) for queue in get_queues(place).values()]


def _stats(queue: Queue, minutes: int) -> QueueStats:
    waiting = scheduled = 0
    now = clock.now()
    for shard in queue.shards:
        waiting += len(shard.interrupted)
        for tree in (*shard.readies(), *shard.inboxes):
            due, later = _count(tree, now)
            waiting, scheduled = waiting + due, scheduled + later
        due, later = _count_scheduled(shard.scheduled, now)
        waiting, scheduled = waiting + due, scheduled + later
        # Lets go of the indexes that were read; there may be many.
        queue._p_jar.cacheGC()
    leased = [
        key in worker.running
        for worker in queue.parent.workers.values()
        for key, job in worker.leased()
        if is_of(job, queue)
    ]
    return QueueStats(
        name=queue.name,
        waiting=waiting,
        scheduled=scheduled,
        blocked=sum(len(shard.blocked) + len(shard.limited) - 2 for shard in queue.shards),
        parked=sum(len(shard.parked) for shard in queue.shards),
        assigned=leased.count(False),
        active=leased.count(True) + sum(len(shard.waiting) - 1 for shard in queue.shards),
        finished=sum(shard.history_length() for shard in queue.shards),
        chart=_chart(queue, minutes, now),
        paused=sum(len(pause) for pause in queue.pauses),
        pauses=list_pauses(queue),
        draining=queue.draining,
    )


def list_pauses(queue: Queue, counted: bool = True) -> tuple[PauseInfo, ...]:
    """The pauses of a queue, the oldest first; to count their jobs reads their indexes."""
    return tuple(
        PauseInfo(p.reason, p.match, p.since, len(p) if counted else None) for p in queue.pauses
    )


def is_empty(place: Any, name: str) -> bool:
    """Whether a queue has no job that is to be run, or runs; parked ones don't count. Cheap."""
    queue = get_queues(place)[name]
    for shard in queue.shards:
        lasting = (*shard.inboxes, shard.blocked, shard.limited, shard.waiting)
        if any(tree.maxKey() != keys.SENTINEL for tree in lasting):
            return False
        if any((*shard.readies(), shard.scheduled, shard.interrupted)):
            return False
    if any(len(pause) for pause in queue.pauses):
        return False
    workers = queue.parent.workers.values()
    return not any(is_of(job, queue) for worker in workers for _, job in worker.leased())


def _count(tree: Any, now: int) -> tuple[int, int]:
    """How many jobs of a tree in the order of keys are due, and how many aren't yet."""
    due = later = 0
    for key, item in tree.items(keys.SENTINEL + 1):
        if isinstance(item, Bundle):
            counted = _count_scheduled(item.jobs, now) if item.for_later else (len(item.jobs), 0)
            due, later = due + counted[0], later + counted[1]
        elif keys.is_for_later(key) and keys.micros_of(key) > now:
            later += 1
        else:
            due += 1
    return due, later


def _count_scheduled(tree: Any, now: int) -> tuple[int, int]:
    due = later = 0
    last = keys.last_scheduled(now)
    for scheduled, item in tree.items():
        if isinstance(item, Bundle):
            counted = _count_scheduled(item.jobs, now)
            due, later = due + counted[0], later + counted[1]
        elif scheduled > last:
            later += 1
        else:
            due += 1
    return due, later


def _chart(queue: Queue, minutes: int, now: int) -> tuple[Minute, ...]:
    sums: dict[int, tuple[int, int, int]] = {}
    for shard in queue.shards:
        for minute, (done, bad, work) in shard.minutes.items(now // MINUTE - minutes + 1):
            before = sums.get(minute, (0, 0, 0))
            sums[minute] = (before[0] + done, before[1] + bad, before[2] + work)
    return tuple(
        Minute(clock.to_datetime(minute * MINUTE), done, bad, work / 1_000_000)
        for minute, (done, bad, work) in sorted(sums.items())
    )


def list_workers(place: Any) -> list[WorkerInfo]:
    """The workers that are registered, those that died without a word among them."""
    return [_worker(record) for record in get_queues(place).workers.values()]


def _worker(record: WorkerRecord) -> WorkerInfo:
    active = sum(1 for key, _ in record.leased() if key in record.running)
    return WorkerInfo(
        id=record.id,
        host=record.host,
        pid=record.pid,
        threads=sum(agent.size for agent in record.agents) or record.threads,
        started=clock.to_datetime(record.started),
        heartbeat=record.heartbeat,
        assigned=len(record.leased()) - active,
        active=active,
        gone=is_dead(record, only_process=False),
        stuck=record.stuck,
    )
