"""
Every number that a user did not choose.

Each carries its unit, what it must satisfy, and where it comes from.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACK_WINDOW",
    "ACTION_TEXT_LIMIT",
    "ALIKE_LIMIT",
    "ALIKE_SIZE_LIMIT",
    "BACKOFF_LIMIT",
    "BATCH_LIMIT",
    "BATCH_NAME_LENGTH",
    "BATCH_SLACK",
    "BATCH_TIME",
    "BODY_HEAD",
    "BODY_SIZE_LIMIT",
    "CONCURRENCY_LIMIT",
    "CONCURRENCY_SLACK",
    "CONNECTION",
    "DATA_DEPTH_LIMIT",
    "DATA_KEYS_LIMIT",
    "DATA_SIZE_LIMIT",
    "DOCUMENT_SIZE_LIMIT",
    "DURATION_LIMIT",
    "EQUAL_HASHES_LIMIT",
    "ERROR_TEXT_LIMIT",
    "EXAMINED_DISK",
    "EXAMINED_SHARE",
    "EXAMINED_SKEW",
    "GRACE",
    "HEALTH_BEAT",
    "HEALTH_CHANGES",
    "HEALTH_INTERVAL",
    "HEALTH_MAX_AGE",
    "HEALTH_SIZE_LIMIT",
    "HOP_LIMIT",
    "HOP_TRAIL",
    "IDLE",
    "KNOWN_CLAIMS",
    "LEASE",
    "LEASES_AFTER_LOSS",
    "LIMIT_KEY_LENGTH",
    "LIMIT_STEPS",
    "LIMIT_TURNS",
    "MAX_LOST",
    "NAMED_EVENTS",
    "NAME_LENGTH",
    "ORDERS_INTERVAL",
    "PARK_DELAY",
    "PEEK_LIMIT",
    "QUEUE",
    "REDIS_BELL_RETRY",
    "REDIS_CLUSTER_PATIENCE",
    "REDIS_CLUSTER_PAUSE",
    "REDIS_PREFIX",
    "REDIS_STEP",
    "REDIS_TIMEOUT",
    "REDIS_TRUST",
    "RELOAD_INTERVAL",
    "RENEWALS_PER_LEASE",
    "RESTART_BACKOFF_LIMIT",
    "RESULT_INTERVAL",
    "SLEEP",
    "SLOT_INTERVAL",
    "SLOT_LIFE",
    "SQLITE_BUSY_TIMEOUT",
    "SQLITE_BUSY_TIMEOUT_LIMIT",
    "SQLITE_JOURNAL_SIZE",
    "SQLITE_LOG_LIMIT",
    "SQLITE_LOG_SIZE",
    "SQLITE_PAGE_SIZE",
    "SQLITE_RETRY_DELAY",
    "SQLITE_SETTLED",
    "SQLITE_SETTLED_FINE",
    "STORE_BACKOFF_LIMIT",
    "STUCK_AFTER",
    "SUPERVISOR_PATIENCE",
    "TIMEOUT",
    "TRIES",
    "TYPED_EVENTS",
    "UNKNOWN_NAMES",
]

#: The connection that holds what names none.
#: Unit: a name.
#: Source: the key of the examples everywhere; `EventBus(default=...)` chooses another.
CONNECTION: Final = "default"

#: The queue that holds what names none.
#: Unit: a name.
#: Source: Laravel's connections call it the same.
QUEUE: Final = "default"

#: How often a job is tried when neither its listener nor the worker says more.
#: Unit: attempts, >= 0; 0 is no limit.
#: Source: Laravel's `--tries`; a retry that nobody asked for may repeat an effect.
TRIES: Final = 1

#: How long one run may take when neither its listener nor the worker says more.
#: Unit: s, >= 0; 0 is no limit.
#: Source: Laravel's `--timeout`.
TIMEOUT: Final = 60.0

#: How long an idle worker waits before it looks again.
#: Unit: s, > 0.
#: Source: Laravel's `--sleep`.
SLEEP: Final = 3.0

#: How long whoever waits for a raw job (`bus.queue`) waits before it looks again, bell or not.
#: Unit: s, > 0.
#: Source: what the loops of simple job queues sleep; one look is two reads of the store.
IDLE: Final = 0.5

#: How many leases a job is held that was lost before, until it is renewed.
#: Unit: leases, >= 1.
#: Source: code that lets no thread run for three of them is then run once more, and not by all in turn.
LEASES_AFTER_LOSS: Final = 4

#: How long a claim is held before others may take its job (`retry_after`).
#: Unit: s, > 0. Renewed while the job runs, so it need not exceed any job.
#: Source: between the 30 s and 60 s that renewing queues use; a killed worker's job is back after it.
LEASE: Final = 60.0

#: How often a lease is renewed within its own length.
#: Unit: renewals, >= 2, so that one missed renewal loses nothing.
#: Source: a third is what leases in distributed stores commonly use.
RENEWALS_PER_LEASE: Final = 3

#: How many losses of its worker a job survives before it is failed.
#: Unit: losses, >= 1.
#: Source: a job that kills its worker must end; three rules out a machine that was merely restarted.
MAX_LOST: Final = 3

#: How long a worker that was told to stop lets the running job go on.
#: Unit: s, >= 0.
#: Source: below the 30 s that Kubernetes waits before it kills.
GRACE: Final = 25.0

#: How long a job with a name that this code does not know waits before it is looked at again.
#: Unit: s, > 0.
#: Source: the length of a quick rolling deploy; no attempt is spent, so it may repeat for long.
PARK_DELAY: Final = 30.0

#: How many unknown names a worker warns of, one by one; beyond, it warns at each power of ten.
#: Unit: names, >= 1. What it remembers of them is bounded by this, too.
#: Source: more than a deploy brings; names made up by the hundred thousand fill no log.
UNKNOWN_NAMES: Final = 100

#: Longest wait that `exponential` gives when nobody says more.
#: Unit: s, > 0.
#: Source: an hour: what is down for longer is somebody's incident, not a hiccup.
BACKOFF_LIMIT: Final = 3600.0

#: How many jobs in a row may each queue the next without a delay.
#: Unit: jobs, >= 1.
#: Source: no process that was meant is so long; a circle of two is stopped within a second.
HOP_LIMIT: Final = 64

#: How many events of such a chain travel with a job, for the error that ends it.
#: Unit: names, >= 1.
#: Source: shows the circle several times over; the document stays small.
HOP_TRAIL: Final = 8

#: How many stored envelopes are looked at in one step.
#: Unit: envelopes, >= 1.
#: Source: a page on a screen; at the limit of size of each, still below 30 MB of memory.
PEEK_LIMIT: Final = 100

#: How often a handle that waits for a result looks for it.
#: Unit: s, > 0.
#: Source: half of what a person takes for at once; twenty reads a second cost a store next to nothing.
RESULT_INTERVAL: Final = 0.05

#: Longest name of a limit, or of what is counted below it.
#: Unit: characters.
#: Source: a name and somebody's id; a longer one is a mistake, and each is a row of a store.
LIMIT_KEY_LENGTH: Final = 200

#: Into how many steps a window of a limit is divided: what is counted in one step ends with it.
#: Unit: steps, >= 1.
#: Source: a limit is then used to 99 in 100 at least, and a busy one is a hundred numbers.
LIMIT_STEPS: Final = 100

#: How far ahead a limit gives turns to those whom it refused; whoever is behind them looks again then.
#: Unit: s, > 0.
#: Source: after a backlog of an hour the limit may well be another.
LIMIT_TURNS: Final = 3600.0

#: How long a slot of `funnel` and `WithoutOverlapping` lasts if whoever has it dies; renewed while it is held.
#: Unit: s, > 0.
#: Source: as the lease of a job, which comes back then and wants it.
SLOT_LIFE: Final = 60.0

#: How long a job waits that `WithoutOverlapping` gave back, and how often a blocked `funnel` looks.
#: Unit: s, > 0.
#: Source: a slot may be free at any time; a second is little beside most jobs, and a look costs a store little.
SLOT_INTERVAL: Final = 1.0

#: Most bytes of the data of one event.
#: Unit: bytes of UTF-8.
#: Source: what SQS took for years; a larger thing belongs in a store, with its key in the event.
DATA_SIZE_LIMIT: Final = 256 * 1024

#: Most bytes of the document around the data of one event, the data included.
#: Unit: bytes of UTF-8, > `DATA_SIZE_LIMIT`.
#: Source: 32 KiB are more than names and options need, and bound what is read before it is parsed.
DOCUMENT_SIZE_LIMIT: Final = DATA_SIZE_LIMIT + 32 * 1024

#: How many documents a worker knows well enough to read others like them by comparing bytes.
#: Unit: documents; beyond it all are forgotten, and read in full once more.
#: Source: one for each listener and way to queue it; more of them are an attack, or one long deploy.
ALIKE_LIMIT: Final = 256

#: Most bytes before the data of such a document, and most bytes after it.
#: Unit: bytes.
#: Source: names and options are a few hundred; all that is known takes two megabytes at most.
ALIKE_SIZE_LIMIT: Final = 2048

#: Most bytes of an envelope's body that a store hands out.
#: Unit: bytes, > `DOCUMENT_SIZE_LIMIT`.
#: Source: ten times what any document may have: more was never pushed, and is moved to the failed jobs
#: without being read into memory.
BODY_SIZE_LIMIT: Final = 4 * 1024 * 1024

#: How many bytes are shown of a body that cannot be read, or is larger than `BODY_SIZE_LIMIT`.
#: Unit: bytes.
#: Source: a screen or two; enough to tell what it is.
BODY_HEAD: Final = 4096

#: Deepest nesting of the data of one event.
#: Unit: levels of arrays and objects.
#: Source: far below every JSON parser's own recursion limit, so that the rule is ours on each Python.
DATA_DEPTH_LIMIT: Final = 64

#: Most keys of all objects in the data of one event.
#: Unit: keys.
#: Source: more is a table, not an event; it bounds what reading one costs beyond its bytes.
DATA_KEYS_LIMIT: Final = 10_000

#: Longest name of a batch.
#: Unit: characters.
#: Source: a line of a list; a name is for people.
BATCH_NAME_LENGTH: Final = 200

#: Most items of one set, or keys of one dict, whose hashes are equal.
#: Unit: items.
#: Source: equal hashes come by the hundred only on purpose, and cost the square of their number.
EQUAL_HASHES_LIMIT: Final = 100

#: Longest delay or lease that a backend is asked to keep.
#: Unit: s; a hundred years.
#: Source: longer is a mistake in a unit; added to any date of today it stays in `datetime`'s years.
DURATION_LIMIT: Final = 100 * 365.25 * 86_400

#: Longest error text kept with a failed job, traceback included.
#: Unit: characters.
#: Source: holds a long traceback; an exception may carry megabytes.
ERROR_TEXT_LIMIT: Final = 16 * 1024

#: Longest text of a user's value that a message or a log line repeats.
#: Unit: characters.
#: Source: one terminal line or two.
ACTION_TEXT_LIMIT: Final = 200

#: How long the acks of finished jobs are gathered before they are written together.
#: Unit: s, >= 0. What a crash in this time may run again; flushed before every wait.
#: Source: a few commits; long enough to share one, short beside a person's patience.
ACK_WINDOW: Final = 0.02

#: Most jobs that a worker claims at once.
#: Unit: jobs, >= 1; 1 is no batches (`--batch 1`).
#: Source: a commit that so many jobs share costs each of them a few microseconds.
BATCH_LIMIT: Final = 200

#: How much work a worker claims at once.
#: Unit: s, > 0. Jobs that take longer than this are claimed one by one.
#: Source: a few tens of milliseconds: what is claimed and not begun keeps nobody waiting long.
BATCH_TIME: Final = 0.03

#: How many claims a worker remembers, to know how old what they say of batches is.
#: Unit: claims.
#: Source: more than all threads of a worker have in their hands at once.
KNOWN_CLAIMS: Final = 512

#: How much longer than meant a batch may take before what has not begun is given back.
#: Unit: times `BATCH_TIME`, > 1.
#: Source: what one job more or less, and a machine that is busy, make of it; others wait no longer than that.
BATCH_SLACK: Final = 4

#: Most jobs of a worker at once on one loop (`--concurrency`).
#: Unit: jobs.
#: Source: what each of them costs where processes are watched, two maps of memory and some pages, is little
#: up to there.
CONCURRENCY_LIMIT: Final = 10_000

#: How many jobs of such a worker may be done and not yet acked, where processes are watched.
#: Unit: jobs.
#: Source: ten thousand a second, more than one process runs, for as long as acks are gathered and written.
CONCURRENCY_SLACK: Final = 256

#: Longest name of a queue or connection, and longest id of a job.
#: Unit: characters.
#: Source: PostgreSQL's channel names end at 63 bytes, the shortest limit among the backends.
NAME_LENGTH: Final = 63

#: How often a worker looks whether it is to restart or to pause.
#: Unit: s, > 0.
#: Source: an operator waits a second; a look is one read of the store.
ORDERS_INTERVAL: Final = 1.0

#: How many dynamic event names keep their compiled listeners.
#: Unit: names; the least recently used go first.
#: Source: names made from data ("order.1234") must not grow without bound.
NAMED_EVENTS: Final = 4096

#: How many event classes keep their compiled listeners.
#: Unit: classes; all are dropped, and compiled anew when dispatched, beyond it.
#: Source: above any application's number of classes; bounds classes made at run time.
TYPED_EVENTS: Final = 65_536

#: How long SQLite waits for another process's transaction before it gives up.
#: Unit: s, > 0.
#: Source: a commit takes milliseconds; seconds mean that the file's disk or owner is in trouble.
SQLITE_BUSY_TIMEOUT: Final = 10.0

#: How long a worker waits, at most, between two tries to reach a store that is away.
#: Unit: s, > 0. It begins with one second and doubles.
#: Source: work goes on within five seconds of a server's return, however long it was away; to ask one that is
#: absent every other second costs nobody anything.
STORE_BACKOFF_LIMIT: Final = 2.0

#: How long beyond a worker's grace its supervisor is told to wait before it kills.
#: Unit: s, > 0.
#: Source: with the default grace the 30 s of Kubernetes; more than what follows the grace may take.
SUPERVISOR_PATIENCE: Final = 5.0

#: How often `eventbus-worker --reload` looks whether its worker has ended by itself.
#: Unit: s, > 0.
#: Source: a developer who reads the log waits for it; a look costs nothing.
RELOAD_INTERVAL: Final = 1.0

#: How long `eventbus-worker --processes` waits, at most, until it starts a process anew that died before it ran a job.
#: Unit: s, > 0. It begins with half a second and doubles; one that had run jobs is replaced at once.
#: Source: what ends a process as it begins is mended by people, and half a minute is what they wait gladly.
RESTART_BACKOFF_LIMIT: Final = 30.0

#: How long a run that was told to end may go on before its process is ended around it.
#: Unit: s, > 0.
#: Source: cleaning up takes less; the second signal promises an end within two seconds.
STUCK_AFTER: Final = 1.5

#: How long, at most, to wait before asking again for SQLite's lock: a tenth of it to all of it.
#: Unit: s, > 0.
#: Source: about one commit; whoever waits looks often enough to be next, and costs little.
SQLITE_RETRY_DELAY: Final = 0.001

#: How often a worker with a health file says at least that it lives, whatever it does.
#: Unit: s, > 0. A probe's `--max-age` is not below three of them.
#: Source: a file in five seconds costs an idle worker a fiftieth of a percent; probes ask more rarely.
HEALTH_BEAT: Final = 5.0

#: How many changes of state are written into a health file at once, within `HEALTH_INTERVAL`.
#: Unit: changes, >= 1.
#: Source: a file takes 1.4 ms on a disk; more would slow a worker that is idle between any two jobs.
HEALTH_CHANGES: Final = 10

#: How long a worker that goes on as before waits until it writes its health file anew.
#: Unit: s, >= 0.
#: Source: far below any probe's interval; a file a second costs nothing that can be measured.
HEALTH_INTERVAL: Final = 1.0

#: How old the last sign of life in a health file may be.
#: Unit: s, > 0. Not below three of `HEALTH_BEAT`, so that a beat that is late tells nothing.
#: Source: the length of a lease: after it, another worker takes its jobs over.
HEALTH_MAX_AGE: Final = 60.0

#: Most bytes of a health file that are read.
#: Unit: bytes.
#: Source: a worker of a hundred queues with the longest names writes 10 KiB.
HEALTH_SIZE_LIMIT: Final = 64 * 1024

#: Longest time that SQLite may be told to wait for another process's transaction.
#: Unit: s.
#: Source: an hour; whoever means a longer one has mistaken the unit.
SQLITE_BUSY_TIMEOUT_LIMIT: Final = 3600.0

#: What SQLite's journal, or WAL, is cut down to once it could be emptied.
#: Unit: bytes. It may grow beyond while a reader holds on to an old state, or in one transaction.
#: Source: twice what a WAL holds when it is emptied by itself, so that it is not cut without need.
SQLITE_JOURNAL_SIZE: Final = 8 * 1024 * 1024

#: Beyond which size SQLite's write-ahead log is warned of: it grows so only while a reader hangs.
#: Unit: bytes, > `SQLITE_JOURNAL_SIZE`.
#: Source: eight times what it is cut down to; a disk that holds a queue has room for it many times over.
SQLITE_LOG_LIMIT: Final = 64 * 1024 * 1024

#: How much is written to SQLite's WAL before it is folded into the file, by whoever commits then.
#: Unit: bytes.
#: Source: measured. SQLite's own thousand pages of ours are a quarter of it, and make a push cost a tenth
#: more: most pages of a queue are written again soon, and folding takes two syncs.
SQLITE_LOG_SIZE: Final = 4 * 1024 * 1024

#: How long ago a folder must have changed for the time of it to tell a later change, where the file system
#: keeps whole seconds.
#: Unit: s, > 0.
#: Source: the coarsest file system keeps times in steps of two seconds.
SQLITE_SETTLED: Final = 3.0

#: The same where the file system keeps parts of a second.
#: Unit: s, > 0.
#: Source: ten times the longest tick of a kernel, 10 ms, in whose steps it stamps them.
SQLITE_SETTLED_FINE: Final = 0.1

#: The size of a page in a new SQLite file.
#: Unit: bytes; a power of two, >= 512.
#: Source: measured. A commit writes some ten pages whatever their size: a quarter of SQLite's own 4096
#: bytes is as quick, and a WAL that a hanging reader keeps from being emptied grows a quarter as fast.
SQLITE_PAGE_SIZE: Final = 1024

#: How long an answer of a Redis server, or a connection to one, is waited for.
#: Unit: s, > 0 (`?timeout=`).
#: Source: far more than a server that works needs; a dispatch in a request can wait no longer.
REDIS_TIMEOUT: Final = 5.0

#: What the names of all keys and channels in Redis begin with.
#: Unit: a name, as that of a queue (`?prefix=`).
#: Source: the library's own name.
REDIS_PREFIX: Final = "eventbus"

#: Most jobs that one step in Redis handles; more are handled in several.
#: Unit: jobs, >= 1; below 3,000, which is what Lua can pass on.
#: Source: the server does nothing else for about 2 ms.
REDIS_STEP: Final = 1000

#: How long a slot of a Redis cluster that is being moved is followed.
#: Unit: s, >= 0.
#: Source: a slot moves in less; what takes longer is for the worker's own pauses.
REDIS_CLUSTER_PATIENCE: Final = 1.0

#: How often a slot of a Redis cluster that is being moved is asked for again.
#: Unit: s, > 0.
#: Source: a few round trips; at most a hundred questions within `REDIS_CLUSTER_PATIENCE`.
REDIS_CLUSTER_PAUSE: Final = 0.01

#: How long an idle connection to a Redis server is used again without a look whether it was cut off.
#: Unit: s, >= 0.
#: Source: the look costs a tenth of a command; networks and servers cut what is idle for longer.
REDIS_TRUST: Final = 1.0

#: How often a bell that was cut off from its Redis server is hung again.
#: Unit: s, > 0.
#: Source: a worker looks by itself meanwhile.
REDIS_BELL_RETRY: Final = 1.0

#: How much room on its disk an examination of a SQLite file wants to see.
#: Unit: bytes.
#: Source: some 100,000 jobs, or a night in which nobody looks.
EXAMINED_DISK: Final = 256 * 1024 * 1024

#: How much of its memory, or of its connections, an examination of a Redis server wants to see used at most.
#: Unit: a share, > 0 and < 1.
#: Source: a server that is full refuses every dispatch: a fifth is time to act.
EXAMINED_SHARE: Final = 0.8

#: How far apart the clocks of a Redis server and of this machine may be.
#: Unit: s, > 0.
#: Source: machines that ask a time server are apart by milliseconds; deadlines are whole seconds.
EXAMINED_SKEW: Final = 1.0
