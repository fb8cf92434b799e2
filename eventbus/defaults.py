"""
Every number that a user did not choose.

Each carries its unit, what it must satisfy, and where it comes from.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACTION_TEXT_LIMIT",
    "CONNECTION",
    "DATA_DEPTH_LIMIT",
    "DATA_SIZE_LIMIT",
    "DOCUMENT_SIZE_LIMIT",
    "DURATION_LIMIT",
    "ERROR_TEXT_LIMIT",
    "GRACE",
    "LEASE",
    "MAX_LOST",
    "NAMED_EVENTS",
    "NAME_LENGTH",
    "PARK_DELAY",
    "QUEUE",
    "RENEWALS_PER_LEASE",
    "SLEEP",
    "SQLITE_BUSY_TIMEOUT",
    "SQLITE_RETRY_DELAY",
    "STORE_BACKOFF_LIMIT",
    "TIMEOUT",
    "TRIES",
    "TYPED_EVENTS",
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

#: Most bytes of the data of one event.
#: Unit: bytes of UTF-8.
#: Source: what SQS took for years; a larger thing belongs in a store, with its key in the event.
DATA_SIZE_LIMIT: Final = 256 * 1024

#: Most bytes of the document around the data of one event, the data included.
#: Unit: bytes of UTF-8, > `DATA_SIZE_LIMIT`.
#: Source: 32 KiB are more than names and options need, and bound what is read before it is parsed.
DOCUMENT_SIZE_LIMIT: Final = DATA_SIZE_LIMIT + 32 * 1024

#: Deepest nesting of the data of one event.
#: Unit: levels of arrays and objects.
#: Source: far below every JSON parser's own recursion limit, so that the rule is ours on each Python.
DATA_DEPTH_LIMIT: Final = 64

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

#: Longest name of a queue or connection.
#: Unit: characters.
#: Source: PostgreSQL's channel names end at 63 bytes, the shortest limit among the backends.
NAME_LENGTH: Final = 63

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
#: Source: a restarted server is noticed within half a minute; an absent one is not hammered.
STORE_BACKOFF_LIMIT: Final = 30.0

#: How long to wait before asking again for a lock that SQLite itself does not wait for.
#: Unit: s, > 0.
#: Source: about ten commits of a rollback journal; only met while a file changes its journal.
SQLITE_RETRY_DELAY: Final = 0.01
