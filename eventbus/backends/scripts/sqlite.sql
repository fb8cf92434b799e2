-- The store of `sqlite://`, schema 1 (PRAGMA user_version; PRAGMA application_id says whose it is).
--
-- Tables
--   envelopes  a job that is ready, delayed or leased; its row goes with its ack or burial
--   failed     a job that used up its attempts, until it is revived or purged
--
-- An id is in one of the two tables at most. Instants are whole microseconds since 1970, UTC.
-- A body is read as bytes whatever it is: one that was mended in the `sqlite3` shell is text.
-- `due` is the one instant that decides: when the delay is over, and for a leased row when its
-- lease ends. So what was lost is simply due again, and one index serves every claim.
--
-- eventbus.backends.sql reads the statements below by their names.

-- :schema
CREATE TABLE envelopes (
    number    INTEGER PRIMARY KEY,         -- order of arrival: decides between equal dues
    id        TEXT NOT NULL UNIQUE,
    queue     TEXT NOT NULL,
    body      BLOB NOT NULL,
    delay     REAL NOT NULL,               -- as pushed, in seconds; `due` has it added
    pushed_at INTEGER NOT NULL,
    due       INTEGER NOT NULL,
    token     TEXT,                        -- who holds it; NULL while it waits
    shared    INTEGER NOT NULL DEFAULT 0,  -- 1: held by a claim of several
    alone     INTEGER NOT NULL DEFAULT 0,  -- 1: lost once, handed out by itself from then on
    attempts  INTEGER NOT NULL DEFAULT 0,
    losses    INTEGER NOT NULL DEFAULT 0,
    releases  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX envelopes_in_line ON envelopes (queue, due);
CREATE TABLE failed (
    number    INTEGER PRIMARY KEY,         -- order of failure
    id        TEXT NOT NULL UNIQUE,
    queue     TEXT NOT NULL,
    body      BLOB NOT NULL,
    delay     REAL NOT NULL,
    pushed_at INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    losses    INTEGER NOT NULL,
    releases  INTEGER NOT NULL,
    error     TEXT NOT NULL
);

-- :push
-- An id that is stored already, in either table, is passed over.
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due)
SELECT :id, :queue, :body, :delay, :now, :due
WHERE NOT EXISTS (SELECT 1 FROM failed WHERE id = :id)
ON CONFLICT (id) DO NOTHING;

-- :due
-- The head of one queue's line. The second column: it must be handed out by itself.
SELECT number, alone OR token IS NOT NULL
FROM envelopes
WHERE queue = :queue AND due <= :now
ORDER BY due, number
LIMIT :limit;

-- :claim
-- A due row that has a token was lost. Each expression sees the row as it was before.
UPDATE envelopes
SET losses = losses + (token IS NOT NULL AND NOT shared),
    alone = alone OR token IS NOT NULL,
    token = :token,
    shared = :shared,
    due = :until
WHERE number = :number
RETURNING id, queue, CAST(body AS BLOB), delay, attempts, losses, releases, pushed_at;

-- :extend
UPDATE envelopes SET due = :until WHERE id = :id AND token = :token;

-- :ack
DELETE FROM envelopes WHERE id = :id AND token = :token;

-- :release
UPDATE envelopes
SET token = NULL, shared = 0, due = :due, attempts = attempts + :spent, releases = releases + 1 - :spent
WHERE id = :id AND token = :token;

-- :bury
-- Followed by `ack` in the same transaction.
INSERT INTO failed (id, queue, body, delay, pushed_at, failed_at, attempts, losses, releases, error)
SELECT id, queue, body, delay, pushed_at, :now, attempts + :spent, losses, releases, :error
FROM envelopes
WHERE id = :id AND token = :token;

-- :failed
-- NULL stands for all ids, or all queues.
SELECT id, queue, CAST(body AS BLOB), delay, attempts, losses, releases, pushed_at, failed_at, error
FROM failed
WHERE (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
ORDER BY failed_at, number;

-- :revive
-- Followed by `purge` in the same transaction.
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due)
SELECT id, queue, body, delay, pushed_at, :now FROM failed WHERE id = :id;

-- :purge
DELETE FROM failed WHERE id = :id;

-- :clear
-- A lease that has ended holds nothing any more.
DELETE FROM envelopes WHERE queue = :queue AND (token IS NULL OR due <= :now);

-- :size
SELECT count(*) FILTER (WHERE due <= :now),
       count(*) FILTER (WHERE due > :now AND token IS NULL),
       count(*) FILTER (WHERE due > :now AND token IS NOT NULL),
       (SELECT count(*) FROM failed WHERE queue = :queue)
FROM envelopes
WHERE queue = :queue;

-- :next_due
SELECT min(due) FROM envelopes WHERE queue = :queue AND (token IS NULL OR due <= :now);
