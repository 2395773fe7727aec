"""Every default with its unit and its reason."""

from __future__ import annotations

#: Name of the default queue.
QUEUE_NAME = ""

#: Key of the queues in the root of a database.
QUEUES_KEY = "zodbjobs"

#: Key of the job container in the root of a database.
CONTAINER_KEY = "zodbjobs.jobs"

#: Independent parts of a queue; two workers seldom write the same one.
SHARDS = 8

#: Inboxes of a shard. Each producer stays with one, so 64 of them for 8 shards
#: keep the producers of a busy application apart.
INBOXES = 8

#: Trees of the job container. Two producers conflict if they write to the same one at once, and
#: one of them splits its leaf; with so many that is rarer than one put in 1,000.
CONTAINER_TREES = 256

#: Runner threads of a worker. Most jobs wait for a disk or a network.
THREADS = 4

#: Jobs that an agent runs at a time: what its predecessor of this name ran.
AGENT_SIZE = 3

#: Jobs for which one claim asks a filter, each of which it loads. Bounds its transaction when
#: most are refused; the next claim goes on at once.
MOST_ASKED = 250

#: Seconds between two looks of a worker at its agents, which may have been changed.
AGENTS_SECONDS = 0.5

#: The most jobs in a bundle; further ones of the same transaction are put into the next shard,
#: for another worker to take them. Each shard that a claim reaches has records of its own to
#: write, so that smaller bundles make a single worker slower: with 240 by 3 %.
BUNDLE_JOBS = 500

#: Keys that one claim files from one inbox, and due ones from `scheduled`, unless there is room
#: for more jobs. Bounds the claim's transaction when they have grown while no worker was there.
DRAIN_PER_INBOX = 250

#: The most jobs that a worker claims ahead. Each claim also writes the inner nodes of the
#: trees, up to 500 entries, so that few large claims are cheaper than many small ones.
CLAIM_MOST = 1_000

#: As many objects, jobs and those whose methods they call, are loaded at once. One after the
#: other costs a third of what it costs between the commits of jobs that write; the connection's
#: cache keeps 400 objects, and the indexes are among them.
LOAD_AHEAD = 200

#: Seconds of work that a worker claims ahead. More would keep jobs from idle
#: siblings, less would make a commit for each few of them.
CLAIM_SECONDS = 0.1

#: Results of jobs that wrote nothing are committed together: at most so many on a file that are
#: written into the jobs' records, which a connection's cache, with 400 objects, still has ...
GROUP_JOBS = 200

#: ... or so many on a server, where commits are dear: more than a claim, for the next claim
#: commits them as well ...
SERVER_GROUP_JOBS = 2_000

#: ... and at most so many seconds after the first of them ...
GROUP_SECONDS = 0.01

#: ... or, where commits take long, for so many times the seconds that the last one took ...
GROUP_COMMITS = 4

#: ... which is counted up to this.
MOST_GROUP_SECONDS = 0.1

#: Seconds that the effects of transactional jobs wait for one that runs behind them. Then other
#: threads run them again, and that one is run again alone. They are short, as no callable that
#: lately took longer than MOST_GROUP_SECONDS runs behind others.
TOGETHER_SECONDS = 1.0

#: As many jobs of one bundle must end together for their ends to go into the record that they
#: have in common; it is written anew each time, with up to BUNDLE_JOBS ends in it.
SHARED_TOGETHER = 20

#: Characters, or bits of a number, that a result may have to go there.
SHORT_RESULT = 100

#: Characters that are kept of the message of a Failure, and of its traceback: what a page can
#: show, for the whole is a part of the job's record, eleven times if each error has a cause.
FAILURE_TEXT = 10_000

#: Bytes that the pickle of its exception may have; a longer one isn't kept. Most have some 100.
FAILURE_BYTES = 10_000

#: Past attempts of a job that are kept with it ...
PAST_ATTEMPTS = 20

#: ... and characters that are kept of the message of such a one's failure, and of its traceback:
#: its first and its last lines. The job has the last failure in full.
PAST_FAILURE_TEXT = 1_000

#: Jobs that one gate counts. Each end of one writes it, so that it had better be those that one
#: worker runs; a gate more is a record more.
GATE_JOBS = 100

#: Seconds between two looks at the storage's last transaction; a read in memory, except ...
POLL_SECONDS = 0.01

#: ... with RelStorage, which has to ask its server, and does so less and less often while
#: nothing happens, down to once in so many seconds.
IDLE_POLL_SECONDS = 0.08

#: Seconds between two heartbeats of a worker. Each is a commit and makes the file grow.
HEARTBEAT_SECONDS = 15.0

#: Heartbeats that a worker must have missed, by a sibling's own clock, to be declared dead.
MISSED_HEARTBEATS = 3

#: As many times more of them it takes if the worker's process is seen running on this machine.
#: It may be in code that holds the interpreter's lock; its jobs are better left to it.
SEEN_RUNNING_FACTOR = 20

#: Seconds between two looks at the other workers: at their heartbeats, and at the processes of
#: those on the same machine. Reads in memory, unless there is a new one.
DETECTOR_SECONDS = 1.0

#: Seconds that jobs of a shard which another worker owns are left to that one, before a
#: worker that has nothing to do takes them.
STEAL_SECONDS = 0.05

#: Seconds between two looks of a busy worker at what others have left lying. Twice as long, and
#: the time of a claim, an urgent job may wait while others run less urgent ones.
LEFT_LYING_SECONDS = 0.3

#: Seconds between two writes of what runs.
RUNNING_SECONDS = 0.5

#: Entries of a tree that are looked at for one that is due, of those that were put for later and
#: that no worker has filed yet. There are as many only while no worker is there.
DUE_LOOKS = 1_000

#: Seconds between two looks of a job for a live annotation that it waits for. Each opens a
#: transaction; others write what they show twice a second.
ANNOTATION_POLL_SECONDS = 0.1

#: Seconds that a stopping worker gives its running jobs.
STOP_SECONDS = 30.0

#: Seconds after the first signal to stop in which further ones are the same: a terminal and a
#: wrapper both send it. A later one ends the process at once.
SAME_SIGNAL_SECONDS = 1.0

#: Seconds that a thread has to return from a job whose timeout is over, as one does that asks
#: `local.check`. Then it is stuck, and another one takes its place.
STUCK_SECONDS = 1.0

#: As many stuck threads, for each thread of a worker, end the worker: each keeps memory and a
#: connection, and may take a core from the others. Only the end of its process ends a thread.
STUCK_FACTOR = 1

#: Attempts at a job whose commit conflicts; each is another chance in a fresh snapshot. All
#: but the first few are made alone in the process, so that so many mean a fault.
CONFLICT_ATTEMPTS = 25

#: Conflicts after which a job is run while no other one that conflicts runs here.
CONFLICTS_TOGETHER = 3

#: Seconds before the first retry after a conflict; doubles, with a random part ...
CONFLICT_SECONDS = 0.01

#: ... and is never more than that.
MOST_CONFLICT_SECONDS = 1.0

#: Seconds before the first retry while the storage can't be reached or is full; doubles ...
BACKOFF_SECONDS = 0.1

#: ... and is never more than that. There is no last try.
MOST_BACKOFF_SECONDS = 5.0

#: The longest time in seconds after which a job is tried again: a year. A policy that answers
#: more has a fault.
MOST_RETRY_SECONDS = 366 * 24 * 3600.0

#: The longest wait in seconds of `Retry`, unless it is given another one ...
RETRY_SECONDS = 3600.0

#: ... and the part of a wait by which it is longer or shorter by chance, so that jobs that failed
#: together don't all come back together.
RETRY_JITTER = 0.1

#: Seconds that `RetryForever` waits first; doubles ...
FOREVER_SECONDS = 1.0

#: ... and is never more than that.
MOST_FOREVER_SECONDS = 60.0

#: Times that a job may be interrupted by the death of its worker before it is aborted, unless
#: its own retry policy says otherwise.
INTERRUPTIONS = 9

#: Jobs that were interrupted once which a worker holds at a time; a quarter of them for each
#: further interruption, down to one. So a thousand short jobs of a dead worker are done at once,
#: and one that kills its process takes few others with it, and after five times none.
INTERRUPTED_TOGETHER = 256

#: Seconds of work that a Sweep commits at once, by default. A stop waits for as long, and a kill
#: or a conflict costs as much; a commit for each few items would cost more than the items.
SWEEP_SECONDS = 0.5

#: Items that a Sweep sets aside at most, by default: more of them are a fault of the code rather
#: than of the data. Each is a record of some kilobytes.
SWEEP_SET_ASIDE = 1_000

#: Items after which a Sweep lets a connection's cache shrink within a batch: what is only read
#: would be kept until the batch is committed.
SWEEP_ROOM = 500

#: Lines of a job's log that are kept with it.
LOG_LINES = 200

#: Lines of it that are shown while it runs; they are rewritten twice a second.
LIVE_LOG_LINES = 20

#: Seconds that a finished job stays in the history: a week.
HISTORY_SECONDS = 7 * 24 * 3600.0

#: Finished jobs that a queue keeps at most.
HISTORY_COUNT = 100_000

#: Finished jobs that one transaction takes out of the history.
PRUNE_BATCH = 1_000

#: Seconds between two looks for history to prune.
PRUNE_SECONDS = 60.0

#: Seconds of work with quotas that a worker claims ahead, beside what its threads run at once.
#: Its slots are kept from others for as long, and as little; a claim for each four short jobs
#: would make them cost twice as much.
QUOTA_SECONDS = 0.02

#: Jobs with quotas that one claim finds to have no free slot, and lets wait, before it leaves
#: more of them to the next one: a bound for its transaction.
REFUSALS = 100

#: How much later than its turn a job may begin, as a part of what its rate is per, and the least
#: and the most of it in seconds. Rates are that much lower than said, so that they are never
#: higher. A claim with its commit takes some milliseconds, and more on a busy machine.
RATE_SLACK = 0.02
RATE_LEAST_SLACK_SECONDS = 0.05
RATE_MOST_SLACK_SECONDS = 1.0

#: Days that a rate may be per, at most. A turn comes within two such spans; one that no clock can
#: tell any more would stop the claims of its queue, and the pages that show it.
RATE_MOST_DAYS = 366

#: Seconds by which jobs of a rate may begin more closely after one that was claimed late. The
#: dispatcher looks every 10 to 25 ms: without it a rate of 100/s would come to some 60.
RATE_CATCH_UP_SECONDS = 0.1

#: Moments that are remembered of a rate; what begins between two of them counts as the later.
#: That is a record of 1 kB which is written with each claim of such a job.
RATE_MOMENTS = 100

#: Jobs that are let go on together when it is their turn; each that is claimed lets the next one.
TURNS_TOGETHER = 20

#: Names whose turns are forgotten in one transaction, as none of them counts any more. It is made
#: once in SLOTS_SECONDS, so 33 names that are never used again may come each second.
TURN_LOGS_DROPPED = 2_000

#: Seconds between two looks for slots of quotas that nobody holds. There are none unless
#: somebody has undone a transaction.
SLOTS_SECONDS = 60.0

#: Callables, classes and objects of which a worker remembers that they were fought over, and the
#: database of the workers that are gone. That is a record of 20 kB; the cheapest go by class.
MOST_FIGHTS = 100

#: Others who wrote what a job fought over, of which the database remembers how often they did.
MOST_RIVALS = 3

#: Seconds between two looks in the history of an object for who wrote it, in one worker, and the
#: revisions and the characters that are looked at. Such a look takes a tenth of a millisecond on a
#: file; attempts that conflict aren't to take longer for it.
RIVAL_SECONDS = 0.1
RIVAL_REVISIONS = 5
RIVAL_CHARACTERS = 200

#: Transactions of its own jobs that a worker knows: of these no history has to be asked.
OWN_COMMITS = 1_000

#: Jobs that one transaction moves when a dead worker's lease is given back.
RESCUE_BATCH = 100

#: Jobs that one transaction of an operation (cancel, retry, remove, forget) changes.
OPERATION_BATCH = 100

#: Attempts at such a transaction while it conflicts. After them its jobs are done in smaller
#: transactions, and the one that still conflicts alone is refused.
OPERATION_ATTEMPTS = 5

#: Leased jobs whose records `queue_stats` loads, where there is more than one queue: only the
#: record tells of which one a job is. It takes some 50 ms on a file; a worker may hold so many.
LEASED_LOOKS = 1_000

#: Seconds for which `list_jobs` looks for jobs that pass its filters, from the newest back. With
#: what it takes to open the indexes the answer comes within 100 ms, which people call at once.
LOOK_SECONDS = 0.08

#: The same for the command line, where the process alone takes longer to start.
COMMAND_LOOK_SECONDS = 2.0

#: Trees of the index of the jobs that have an owner, an object or a realm. Two who put such jobs
#: at once, and write to the same one, may conflict, and draw another one then. A page of the index
#: reads from all of them: with 32 it took nearly twice as long.
INDEX_LANES = 16

#: Seconds that a deed of an operator stays in the audit trail: a year and a month.
AUDIT_SECONDS = 396 * 24 * 3600.0

#: Deeds that the record of a job has, the last ones; the trail has them all.
AUDIT_PER_JOB = 20

#: Ids of jobs that the description of a transaction names; a FileStorage has 64 kB for it.
AUDIT_IDS_SHOWN = 20

#: Characters of a transaction's note from which on no deeds are added to it. A storage takes
#: 65,535 bytes, and no deed is to fail for what is said of it.
AUDIT_NOTE_CHARACTERS = 10_000

#: Characters of the owner and the realm of a job: ids, paths and names are shorter, and each
#: stands in the index of such jobs once for every job.
LABEL_CHARACTERS = 500

#: Characters of the title of a job, which is a line of a table.
TITLE_CHARACTERS = 1_000

#: Files that a job may attach. They stand in its record, which each list that shows it loads, and
#: on its page; a thousand are a page of 60 ms. More belong into one archive.
MOST_ATTACHMENTS = 1_000

#: Bytes of a file that are in memory at a time while it is attached or read: enough for a disk to
#: be busy, and little for a thread of a web process.
CHUNK_BYTES = 256 * 1024

#: Seconds after which who was refused for the machine's load or memory is told to try again: the
#: load is that of a minute.
LOAD_RETRY_SECONDS = 60.0

#: Seconds after which who was refused for a full disk is told to; somebody must make room first.
DISK_RETRY_SECONDS = 600.0

#: Seconds after which who has as many jobs as they may is told to: most jobs are short.
OWNER_RETRY_SECONDS = 30.0

#: Jobs of an owner, the newest first, among which a load guard looks for those that wait or run:
#: a bound for what a put costs, some milliseconds.
OWNER_LOOKS = 200

#: Bounds in seconds of the classes in which waiting and running times are counted for ever: from
#: a job that does nothing to one that takes a day, a factor of 5 or less up to what people wait
#: for, and round, for who asks how many began within a minute. Each booking of a shard stores two
#: numbers for each of them: with 16 that are some 100 bytes. The database has counts by these, so
#: other bounds take another place there.
SECONDS_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0),
    *(300.0, 900.0, 3_600.0, 14_400.0, 86_400.0),
)

#: The same of commits: a local disk takes some milliseconds, a server in trouble some seconds.
COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Bounds of the classes of how many jobs end in one commit; on a server that may be
#: SERVER_GROUP_JOBS.
COMMIT_JOBS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)

#: Queues that have a name of their own in metrics; further ones are counted as one. Each has some
#: 60 series, and an application may have a queue for each of its users.
METRICS_QUEUES = 100

#: Seconds for which one reading of the metrics counts what waits, or one shard. A million jobs
#: take some seconds of a core, and who reads them waits for 10, and comes every 15, or 60.
METRICS_SECONDS = 0.5

#: Seconds between two looks of a worker at which schedule is due, while something is committed. A
#: schedule that is made, changed or resumed is known to each worker by then; what is known
#: already is looked at as it becomes due.
SCHEDULES_SECONDS = 1.0

#: Jobs that one transaction puts for schedules that are due.
FIRING_BATCH = 100

#: Seconds by which the last planned time of a schedule may be ahead when somebody edits or resumes
#: it: up to that the clock is thought to have been set back, and no time is planned again; beyond
#: that it is thought to have been wrong, and the schedule is planned from now on.
FAR_AHEAD_SECONDS = 86_400.0

#: Seconds after which a planned time that didn't come to pass is missed, and left to `catch_up`:
#: some more than a worker needs to be restarted.
LATE_SECONDS = 60.0

#: Seconds after which a missed time isn't caught up any more, unless a schedule says otherwise.
CATCH_UP_SECONDS = 24 * 3600.0

#: Seconds between two tries of a worker to fire a schedule which it can't, as its queue drains,
#: or as the process lacks its code.
HELD_SECONDS = 10.0

#: Seconds after which a schedule that a worker can't fire, for its code is missing there, is
#: paused with the reason. Another worker, with another release, may have it.
MISSING_SECONDS = 60.0

#: Runs, and planned times that were left out, that a schedule remembers; all are in its record,
#: which each firing writes: some 40 bytes each.
REMEMBERED_RUNS = 20

#: Characters of the name of a schedule: it is a word in each job's record, and in a URL.
SCHEDULE_NAME_CHARACTERS = 100

#: Moments of one schedule; they are in its record, 9 bytes each.
MOST_MOMENTS = 1_000

#: The longest interval of a schedule: ten years.
MOST_INTERVAL_SECONDS = 3_653 * 24 * 3600.0
