"""The contracts: what each piece takes, returns and raises, and who commits.

Unless a method says otherwise it works inside the caller's current transaction
and never commits: what it did is there after the caller's commit, and was never
there after an abort. Times are timezone-aware ``datetime`` in UTC, durations are
``timedelta``; numbers of seconds are floats and say so.
"""

from __future__ import annotations

from zope.container.interfaces import IContainer
from zope.interface import Attribute, Interface
from zope.location.interfaces import IContained

NEW = "new"
PENDING = "pending"
ASSIGNED = "assigned"
ACTIVE = "active"
CALLBACKS = "callbacks"
COMPLETED = "completed"

STATUSES = (NEW, PENDING, ASSIGNED, ACTIVE, CALLBACKS, COMPLETED)

SUCCEEDED = "succeeded"
FAILED = "failed"
CANCELLED = "cancelled"
EXPIRED = "expired"
ABORTED = "aborted"

SKIPPED = "skipped"

OUTCOMES = (SUCCEEDED, FAILED, CANCELLED, EXPIRED, ABORTED, SKIPPED)


class IProgressable(Interface):
    """Something that tells how far it is."""

    percent = Attribute(
        "Float from 0 to 100, or None while nothing was reported. Settable while the job doesn't "
        "run, else BadStatus; BadArgument for anything else."
    )


class IJob(IContained):
    """A persistent call: a callable, its arguments, and what became of it."""

    callable = Attribute(
        "What is called. Settable while the status is NEW, else BadStatus. The arguments of a "
        "functools.partial go with it when another callable is set. "
        "Reading it raises MissingCode when the code can't be found."
    )
    args = Attribute("List of positional arguments; changeable until the job runs.")
    kwargs = Attribute("Dict of keyword arguments; changeable until the job runs.")
    status = Attribute(
        f"One of {STATUSES}, derived from where the job is. A running job is ACTIVE for others "
        "when it has reported something or has run for 0.2 s, and its worker has written "
        "that down: at once, or within half a second if it wrote such a thing just before."
    )
    outcome = Attribute(f"How it ended, one of {OUTCOMES}; None until then.")
    result = Attribute("What the callable returned, a Failure, or None; read-only.")
    failure = Attribute(
        "The Failure that the job ended with, or that of an attempt which is to be "
        "followed by another one; else None."
    )
    id = Attribute("The decimal object id as str; None before the job is stored.")
    queue = Attribute(
        "The IQueue that the job was put into, or None. Settable while NEW: where a callback is "
        "put, which is its parent's queue otherwise."
    )
    description = Attribute("What is called, as text: 'module:function' or 'Class.method'.")
    priority = Attribute("Int from -8 to 7, larger first, 0 by default; settable while NEW.")
    begin_after = Attribute(
        "Aware UTC datetime, not to be begun before; None for at once. Settable while NEW, "
        "also to a timedelta, counted from then."
    )
    due = Attribute(
        "When the next attempt became due, or will, aware UTC datetime; None before the put."
    )
    begin_by = Attribute(
        "The timedelta after begin_after within which the job must begin, else it expires; "
        "None for no such limit. Settable until it is claimed."
    )
    timeout = Attribute(
        "The timedelta that one attempt may take, with its commit; None for no limit. Settable "
        "while NEW, also to seconds. Past it the attempt can't commit, is told so, and counts as "
        "one that raised TimedOut. A put gives a job that has none the queue's."
    )
    transactional = Attribute(
        "Whether all that it does is in its transaction, so that it may run behind others there, "
        "be committed with them, and be run again for their sake. By default what "
        "zodbjobs.transactional says of its callable. Settable while NEW, to None for that."
    )
    created = Attribute("When it was put, aware UTC datetime, or None.")
    started = Attribute("When the last attempt started, aware UTC datetime, or None.")
    finished = Attribute("When it ended, aware UTC datetime, or None.")
    attempts = Attribute("Number of the last attempt, counted from 1; 0 before.")
    interruptions = Attribute("How often a worker died or stopped while it held the job.")
    parked = Attribute("Why the job can't be run here (str), or None.")
    progress = Attribute("The last Progress(percent, message) that was reported.")
    attachments = Attribute(
        "Mapping of the names of the files that the job has left to IAttachments, in the order of "
        "attaching; read-only. Empty until the end, but in the job itself, and if the job failed. "
        "The data goes with the job: once that is forgotten, the next pack frees it."
    )
    cursor = Attribute(
        "That of the last checkpoint of the job, which `zodbjobs.local.checkpoint` makes; None "
        "if there was none. The job goes on from it, also after a retry."
    )
    log_lines = Attribute("Tuple of the last lines that the job logged, also live.")
    annotations = Attribute("Mutable mapping of immutable values; live ones included.")
    callbacks = Attribute("Tuple of the callbacks, jobs and handles, in the order of adding.")
    failure_log_level = Attribute(
        "Level of logging at which its failure is told; ERROR, for callbacks CRITICAL. Settable."
    )
    quota_names = Attribute(
        "Tuple of the names of its quotas. Settable while NEW or PENDING, else BadStatus; "
        "TypeError for a str, UnknownQuota (a ValueError) for a name that its queue has no quota "
        "for."
    )
    unique = Attribute("The key with which it was put, or None.")
    schedule = Attribute("Name of the ISchedule that has put it (str), or None; read-only.")
    planned = Attribute(
        "The planned time of its schedule for which it was put, an aware UTC datetime, or None. "
        "Retried, and put again, it keeps both."
    )
    conflicts = Attribute("How many attempts were made again at once after a conflict.")
    retry_policy = Attribute(
        "An IRetryPolicy, or None for the built-in one: another attempt after a conflict (25 "
        "times) and after an interruption (nine times), none after an error. Settable while NEW, "
        "else BadStatus, also to a class that takes no arguments; BadArgument for what answers no "
        "question. A put gives a job that has none the queue's default, or the database's."
    )
    context = Attribute(
        "Mapping, by name, of what the job runs in, captured at its put; see `zodbjobs.context`. "
        "Settable while NEW, to a mapping, or to None for what is captured at the put; else "
        "BadStatus. BadArgument for a name that isn't registered, and for what can't be stored."
    )
    owner = Attribute(
        "Whose job it is: the id of a principal (str), or None. Settable while NEW, else "
        "BadStatus; BadArgument for anything but a str. Callbacks, parts of a composition and "
        "returned jobs that were given none have their parent's; so it is with about and realm."
    )
    about = Attribute(
        "The stored object that it is about, of whichever database, or None; also if it is gone. "
        "Settable while NEW, else BadStatus; BadArgument for what isn't stored."
    )
    title = Attribute("What people read of it (str), or None. Settable while NEW, as `owner`.")
    realm = Attribute(
        "The site that it belongs to, by its path or name (str), or None. Settable while NEW, as "
        "`owner`. Those who manage one see nothing of another's."
    )
    past_attempts = Attribute(
        "Tuple of the last 20 attempts that are over, the oldest first, each with started, "
        "finished (aware UTC datetimes), worker, outcome (the job's, or failed, interrupted, "
        "snoozed) and failure. Conflicts aren't among them; `conflicts` counts those."
    )

    def __call__(*args, **kwargs):
        """Run the job here and now, in the caller's transaction.

        Only from NEW, else BadStatus. Stores the result or the Failure, and returns
        it; the caller's changes are kept, the job's own are rolled back on failure.
        Its callbacks are called in the same way. Conflicts, Snooze and what isn't an Exception
        reach the caller, and leave the job NEW.
        """

    def bind(callable, *args, **kwargs):
        """A new job of the class that is the first argument of `callable`; a class method."""

    def set_up():
        """For subclasses: called in each attempt before the callable, in the job's transaction.

        What it raises is the job's failure, and the callable isn't called.
        """

    def tear_down(value):
        """For subclasses: called with what `set_up` returned, after the attempt's commit or abort.

        What it changes in the database isn't stored, what it raises is logged as CRITICAL.
        """

    def fail(error=None):
        """Let a job that hasn't begun (NEW, PENDING, ASSIGNED) end as FAILED, with `error`,
        an exception, or a TimedOut, which is a TimeoutError.

        A worker that begins it meanwhile can't commit it. Joins the current transaction. Raises
        BadStatus when the job is ACTIVE or COMPLETED.
        """

    def add_callback(callback, *, failure_log_level=None, retry_policy=None):
        """Put `callback`, a new IJob or a callable, when this job ends, however; return it.

        It is put in the transaction that ends this job, and called with the result, or the
        Failure, after its own arguments. Status CALLBACKS until it has ended, with its own
        callbacks. Whatever becomes of it the result stays. Added to a job that has ended it is
        put at once, and the status stays COMPLETED. Joins the current transaction. Raises
        BadStatus for a job that isn't new or is a callback already, BadArgument for a cycle.
        """

    def add_callbacks(success=None, failure=None):
        """Put one of two when this job ends: `success`, or `failure` for any other outcome.

        Returns a handle: `success`, `failure`, `chosen`, `status`, `outcome`, `result`, and
        these two methods, which chain. A missing one passes result and outcome on to these.
        """

    def cancel():
        """Take the job off its queue or away from its worker; its end is CANCELLED.

        A running job can't commit any more. Joins the current transaction. Raises
        BadStatus when the job is NEW or has ended.
        """


class ISweep(IJob, IProgressable):
    """A job that calls its callable for each item of something, in batches."""

    done = Attribute("Int: how many items are done, as far as is committed; read-only.")
    set_aside = Attribute(
        "Sequence of what was set aside, each with `item`, as it is now (LookupError if that is "
        "gone), `shown` (its repr), `failure` and `cursor`. Another sweep can go through it. Of "
        "one that runs in parallel it is there at its end."
    )


class ISecret(Interface):
    """An argument that is shown as ``***``."""

    value = Attribute("What is hidden; for the job.")


class IAttachment(Interface):
    """A file that a job has left with ``zodbjobs.local.attach``."""

    name = Attribute("A plain file name (str), unlike that of any other attachment of the job.")
    content_type = Attribute("The type (str), such as 'text/csv; charset=utf-8'.")
    size = Attribute("Number of bytes.")

    def open():
        """The data as a binary file, to be closed by the caller; AttachmentLost if it is gone."""

    def chunks(start=0, stop=None):
        """An iterator over the bytes from `start` up to `stop` in pieces of bounded size.

        The data is opened at once, and closed at the end or by its `close()`. Raises as `open`.
        """


class IRetryPolicy(Interface):
    """Decides whether an attempt that raised or was interrupted is followed by another.

    Each question is answered with True (now, in front of those that wait), False (give up),
    seconds, a timedelta, or the aware datetime of the next attempt, at most a year from now;
    what is past means now. Anything else, and what it raises, ends the job with BadPolicy.

    `data` is a dict of plain values, empty at first, for the policy to read and change. It
    lasts over attempts that were rolled back, and is stored with the attempt's end; changes of
    the policy itself don't last. `failure` is a Failure; its `kinds` tell the exception's bases.
    A policy is asked by a worker, outside the job's transaction, and must not touch the database.

    It isn't asked while the storage is away or full, nor after a conflict, unless there were
    `conflict_attempts` in a row. That attribute is an int from 1, and optional: 25.
    """

    def job_error(failure, data):
        """What follows an attempt in which the job raised."""

    def commit_error(failure, data):
        """What follows an attempt that couldn't be committed, also for too many conflicts."""

    def interrupted(data):
        """What follows an attempt whose worker died or was stopped, or which it didn't begin.

        Asked by another worker, within the transaction that takes the job back; more than once
        if that conflicts. If it gives up the job ends as ABORTED.
        """


class IQueue(Interface):
    """A named place where jobs wait. Iterating gives the waiting jobs, first one first."""

    name = Attribute("The name (str); '' is the default queue.")
    quotas = Attribute("The IQuotas of the queue.")
    retry_policy = Attribute(
        "The IRetryPolicy, or a class of such, of jobs that are put from now on and bring none; "
        "None: the database's."
    )

    timeout = Attribute(
        "The timedelta that an attempt may take at a job which is put from now on and says "
        "nothing of it; None for no limit. Settable, also to seconds; BadArgument for what isn't "
        "positive."
    )

    def put(
        job,
        *,
        begin_after=None,
        begin_by=None,
        priority=None,
        after=(),
        on_failure="run",
        timeout=...,
        context=True,
        quota_names=None,
        unique=None,
        unique_until="begun",
        owner=None,
        about=None,
        title=None,
        realm=None,
        transactional=None,
    ):
        """Add `job`, an IJob in status NEW or any callable, and return the job.

        `begin_after`: aware datetime, or a timedelta from now; past means now.
        `begin_by`: timedelta after begin_after within which the job must begin; without
        it the job waits for as long as it takes.
        `priority`: int from -8 to 7, larger first.
        `after`: jobs, or their ids, of the queue's database; the job waits until each has
        ended. Jobs whose `result_of` is an argument are waited for as well. Time, priority and
        begin_by count from the put. `on_failure`: 'skip' ends the job as SKIPPED if one of them
        ended without success, or was removed; 'run' runs it.
        `timeout`: seconds or a timedelta that an attempt may take, None for no limit; left out,
        that of the job, or else of the queue.
        `quota_names`: the names of quotas of this queue; None: those that the job has.
        `unique`: a str. While a job with that key waits in this queue it is returned, `job` isn't
        put, and what else is said is ignored; the transaction conflicts if that job begins
        meanwhile. One that has begun may not see what was changed since, so `job` is put then;
        with `unique_until='ended'` it isn't before that one has ended.
        `context`: False captures nothing of what the job is put in, such as the current site; see
        `zodbjobs.context`. What was set as `job.context` stays.
        `owner`, `about`, `title`, `realm`, `transactional`: those attributes of the job; None:
        what it has.

        Raises TypeError (not callable; quota_names that are a str), UnknownQuota, BadArgument
        (can't be pickled; naive or negative time; a timeout that isn't positive; priority out of
        range; what can't be waited for), BadStatus (not NEW), Draining, before anything is
        written. Joins the transaction of the queue's connection.
        """

    def put_many(
        jobs,
        *,
        begin_after=None,
        begin_by=None,
        priority=None,
        timeout=...,
        quota_names=None,
        context=True,
        owner=None,
        about=None,
        title=None,
        realm=None,
        transactional=None,
    ):
        """`put` each of an iterable, all or none, and return them as a list."""

    paused = Attribute("Why no job of it is begun (str), or None.")
    draining = Attribute("Why it takes no new jobs (str), or None.")
    pauses = Attribute(
        "Tuple of its pauses, the oldest first, each with reason, match (None: all jobs) and "
        "since (aware UTC datetime); len() of one is the number of jobs that lie in it."
    )

    def pause(reason, match=None):
        """Begin no jobs of the queue until `resume`; jobs can still be put.

        With `match` none whose description that is a glob for, as 'shop.mail:*': a worker that
        comes upon such a job puts it aside, and goes on. What runs goes on. What was claimed
        and not begun goes back. `begin_by` goes on counting: a job that is past it expires when it
        is resumed. Joins the current transaction. Raises BadArgument without a reason.
        """

    def resume(match=None):
        """Lift the pause of the queue, and a drain; with `match` the pause of that glob, so that
        what was put aside waits again, in its old place. Return whether there was one.

        Joins the current transaction; raises BadArgument for a `match` that isn't paused.
        """

    def drain(reason):
        """Take no new jobs until `resume`: to put one raises Draining. What was put is run.

        So are its callbacks, parts, and jobs that it returns. Joins the current transaction.
        Raises BadArgument without a reason.
        """

    def pull(index=0):
        """Take the waiting job at `index` out, as NEW again; IndexError if missing."""

    def remove(job):
        """Take a waiting job out, as NEW again; LookupError if it isn't waiting here."""

    def get(job_id):
        """The job of this queue with that decimal id, in any status, or None.

        One that was forgotten or pruned is found only if a container has it.
        """

    def retry(job):
        """Put a parked job, or one that ended without success, in again.

        It is due at once, keeps its priority, and its begin_by counts from now. One that
        had succeeded before it was parked is booked, not run again. Raises BadStatus for
        any other.
        """

    def forget(job):
        """Drop a job that has ended from the history.

        Raises BadStatus if it hasn't ended, LookupError if it isn't one of this queue.
        """

    def finished(newest_first=True):
        """Iterate over the jobs in the history by the time of their end."""

    def __len__():
        """The number of waiting jobs. Reads the queue's indexes: slow for millions."""

    def __iter__():
        """The waiting jobs in the order in which one worker would take them."""

    def __getitem__(index):
        """The waiting job at `index` (negative: from the end); IndexError."""

    def __contains__(job):
        """Whether `job` waits here."""


class IAgent(Interface):
    """A worker's subscription to a queue; `insights.stored_agents` gives those of all workers."""

    queue = Attribute("The name of its queue; None for more than one, or all.")
    queues = Attribute("Tuple of the names of its queues; None for all.")
    size = Attribute("How many jobs at a time, an int from 1; settable, else BadArgument.")
    filter = Attribute(
        "'module:function' of what chooses its jobs, or None. Settable, also to the function. It "
        "gets an IJob that is due, once for each, and must go by what doesn't change."
    )
    worker = Attribute("The id of the worker that has it, or None.")

    def accepts(job):
        """Whether it takes an IJob of its queues; raises MissingCode, and what the filter does."""


class IQuota(Interface):
    """How many jobs that name it run at once, and how many begin in a span of time, over all
    workers. All that can be set raises BadArgument for what can't be, and joins the transaction.
    """

    name = Attribute("The name (str); 'customer:*' is for each name that begins with 'customer:'.")
    size = Attribute(
        "Int from 1: how many of its jobs run at once; of a pattern, how many of each name. "
        "Settable, which stops no job that runs. None for any number, if it has a rate; what "
        "begins then isn't counted by a size that is set later."
    )
    rate = Attribute(
        "Int from 1: how many attempts at its jobs begin in `per` at most; of a pattern, how many "
        "of each name. None for any number. Settable; it counts what has begun before."
    )
    per = Attribute("The timedelta that the rate is for, a second to 366 days; settable. Or None.")
    burst = Attribute(
        "Int from 1: how many may begin at once, after a time in which fewer began; settable. "
        "With 1 they begin evenly, `per / rate` apart."
    )

    def limit(size, rate, per, burst):
        """Set all at once."""


class IQuotas(Interface):
    """The quotas of a queue by name; a mapping. All joins the current transaction.

    A job that names quotas runs when each of them has a free slot; it takes all of them in one
    commit, and gives them back when its attempt ends, whatever follows, or when its worker dies.
    A job that has to wait holds up no job of another quota.

    If they have rates, it takes a turn of each of them in that commit, and begins in it; each
    further attempt takes another one. In no window of `per` do more than `rate` attempts begin, by
    the clocks of the workers: where these differ, the window is shorter by the difference.
    """

    def create(name, size=None, rate=None, per=None, burst=1):
        """Make a quota, and return it; BadArgument, a ValueError, if it is there already.

        Without `size` it is 1, or any number if there is a `rate`, which needs `per`.
        A name that ends with ':*' is a pattern: each name with that prefix has `size` slots and a
        rate of its own, unless there is a quota of the very name.
        """

    def get(name):
        """The quota of that name, or None; no pattern is looked for."""

    def __delitem__(name):
        """Remove a quota: jobs that name it are free. KeyError if it isn't there."""


class ISchedule(Interface):
    """What is put again and again: a job, when, and what to do when a time was missed.

    A planned time and the job that is put for it are one commit, made by whichever worker comes
    first. All that is changed here joins the current transaction.
    """

    name = Attribute("Its name (str).")
    job = Attribute("The IJob, NEW, of which copies are put. It may be changed while it is NEW.")
    realm = Attribute("That of its jobs (str), or None; told also where their code is missing.")
    when = Attribute("As it was written (str): '30 2 * * *', 'every 0:05:00', 'at 2 moments'.")
    words = Attribute("The same in English words.")
    zone = Attribute("Name of the zone whose clock a cron expression goes by (str).")
    queue = Attribute("Name of the queue that its jobs are put into (str).")
    catch_up = Attribute("'none', 'latest' or 'all'; see ISchedules.create.")
    window = Attribute("Timedelta: how old a missed time may be that is caught up; None: any age.")
    overlap = Attribute("'skip', 'queue', 'cancel' or 'allow'; see ISchedules.create.")
    jitter = Attribute("Timedelta: up to so much later than planned its jobs are due.")
    pause_after_failures = Attribute("After so many runs without success it is paused, or None.")
    next = Attribute("The planned time that comes next, aware UTC datetime, or None.")
    paused = Attribute("The reason for which it doesn't fire (str), or None.")
    paused_since = Attribute("Since when it is paused, aware UTC datetime, or None.")
    paused_by = Attribute("Who paused it, if that was said (str), or None.")
    fired = Attribute("How many jobs it has put (int).")
    declared = Attribute(
        "Whether code declares it, as in Worker(db, schedules=[...]). It fires while a living "
        "worker declares it."
    )
    runs = Attribute(
        "List of the last 20 runs, the newest first, each with job_id, planned, fired (aware UTC "
        "datetimes), outcome and lateness."
    )
    left_out = Attribute(
        "List of the last 20 planned times without a job, the newest first, each with planned "
        "and why: 'missed' (and those that followed until the next run) or 'overlap'."
    )

    def upcoming(most=10):
        """List of the planned times that come next, aware UTC datetimes, paused or not."""

    def edit(*what, **changes):
        """Change what is given, of that which ISchedules.create takes, and keep the rest.

        With another time or zone the next planned time is found anew. A firing that is committed
        meanwhile conflicts. Raises as `create`, before anything is changed.
        """

    def pause(reason, by=None):
        """Don't fire until `resume`; BadArgument without a reason."""

    def resume():
        """Fire again from the next planned time on; return whether it was paused.

        What was planned meanwhile is left out. Failures from before count no more.
        """

    def run():
        """Put a job now, whatever is planned, paused or running, and return it."""

    def remove():
        """Take it out of the database; the jobs that it has put stay."""


class ISchedules(Interface):
    """The schedules of a database by name; a mapping. Unknown names: UnknownSchedule."""

    def create(
        name,
        *what,
        every=None,
        at=None,
        start=None,
        zone="UTC",
        queue="",
        catch_up="latest",
        window=...,
        overlap="skip",
        jitter=...,
        pause_after_failures=None,
        begin_by=None,
        priority=None,
        timeout=...,
        quota_names=None,
        context=True,
        owner=None,
        about=None,
        title=None,
        realm=None,
    ):
        """Make a schedule, and return the ISchedule: ``create(name, '30 2 * * *', job)``,
        ``create(name, job, every=timedelta(...))`` or ``create(name, job, at=[datetime, ...])``.

        `job`: a callable, or a NEW IJob, of which copies are put.
        The cron expression has five fields, minute, hour, day, month and day of the week, or is
        one of @hourly, @daily, @weekly, @monthly, @yearly. It goes by the clock of `zone`. What a
        change of that clock skips fires once, after the gap; what it repeats fires the first time
        only. If minute or hour begins with ``*`` it goes by what passes: nothing is skipped.
        `every`: from a second to ten years, at a steady interval, first at `start`, an aware
        datetime, or one interval from now. `at`: aware datetimes.
        `catch_up`: what is done when planned times have passed, as no worker was there: 'latest'
        fires once for the last of them, 'all' for each, the oldest first, 'none' not at all, if
        that is longer ago than a minute. `window`: how old a missed time may be to be caught up,
        a day if it isn't said, None for any age.
        `overlap`: what is done while the job before hasn't ended: 'skip' puts none, 'queue' puts
        it behind that one, 'cancel' cancels that one, 'allow' lets both run.
        `jitter`: each of its jobs is due up to so much later, at random.
        `pause_after_failures`: so many runs in a row that end without success pause it, 1 to 20.
        `queue`: the name of the queue. The others are those of IQueue.put, for each of its jobs;
        the context is captured here.

        Joins the transaction. Raises BadArgument (with the place in the expression), TypeError
        (not callable), UnknownQueue, UnknownQuota before anything is written.
        """

    def get(name):
        """The schedule of that name, or None."""

    def values():
        """The schedules in the order of their names, as a list."""

    def __delitem__(name):
        """Remove a schedule; the jobs that it has put stay."""


class IQueues(Interface):
    """The queues of a database by name; a mapping. Unknown names: UnknownQueue."""

    schedules = Attribute("The ISchedules of the database.")

    retry_policy = Attribute(
        "As IQueue.retry_policy, for the queues that have none; None: the built-in one."
    )

    def create(name, shards=8):
        """Make a queue, or return the one that is there. Joins the transaction."""

    def get(name):
        """The queue of that name, or None."""

    def values():
        """The queues in the order of their names, as a list."""


class IJobContainer(IContainer):
    """A container of jobs by their decimal id, in the order of these as numbers."""


class ILoadGuard(Interface):
    """A utility that may refuse new jobs for the sake of the machine."""

    def __call__(job):
        """True if `job` may be put now."""

    # It may have a method `check(job, place)` too, which raises Overloaded or returns None: that
    # is asked then, and tells why a job is refused and when to try again.


class IJobManager(Interface):
    """Puts and finds jobs for a site.

    `site` is any stored persistent object; without it the current site
    (zope.component.hooks.getSite) is taken. LookupError when there is neither.
    """

    def put(job, site=None, owner=None, about=None, title=None):
        """Put an IJob into the default queue and the job container; return its id.

        The job runs in the site, if that has a site manager. `owner`, `about` and `title` as in
        IQueue.put; a job without an owner is that of the principal of the request, and belongs to
        the realm of the site, if there is a framework whose manager knows these.

        Joins the caller's transaction. None, and nothing stored, when a registered
        ILoadGuard says no. TypeError for anything but an IJob.
        """

    def check(job, site=None):
        """Raise Overloaded if a registered ILoadGuard refuses `job` now; stores nothing.

        The error has `retry_after`, in seconds. LookupError without a site.
        """

    def get(job_id, site=None):
        """The job of the container with that id, or None."""

    def jobs(site=None):
        """Iterate over (id, job) of the container."""

    def remove(job_id, site=None):
        """Forget the job; unknown ids are ignored. Its execution goes on."""

    def start_test_job(duration=60, site=None):
        """Put ``compute(23, duration)``, seconds, and return the id."""


class IInstaller(Interface):
    """A subscriber that makes something in the root of a database, once."""

    db_name = Attribute("Name of the database to keep it in; None: the one opened.")

    def __call__(event):
        """Install into ``event.database``, in a transaction of its own; commits."""


class IQueueInstaller(IInstaller):
    """Makes the queues, and brings schedules that code declares."""

    schedules = Attribute(
        "The Schedules, a tuple: each worker that the process starts afterwards for the database "
        "that was opened declares them with its own."
    )
