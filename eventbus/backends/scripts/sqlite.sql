-- The store of `sqlite://`, schema 4 (PRAGMA user_version; PRAGMA application_id says whose it is).
--
-- Tables
--   envelopes  a job that is ready, delayed or leased; its row goes with its ack or burial
--   failed     a job that used up its attempts, until it is revived or purged
--   flags      what all processes are told: `restart`, `pause:QUEUE`
--   kept       what is kept beside the jobs for a while: `result:ID`, `progress:ID`
--   spent      what counts against limits: how much, and until when; one row for each step of a window
--   turns      when the next of those may come back whom a limit refused
--   slots      who is in a place that only so many may be in at once
--   batches    how many members of a batch are done; kept until somebody prunes them
--
-- An id is in one of the first two tables at most. Instants are whole microseconds since 1970, UTC.
-- A body is read as bytes whatever it is: one that was mended in the `sqlite3` shell is text.
-- `crc` is the CRC-32 of the body as it was pushed: a body that a disk has altered is not run. Who
-- mends a body by hand sets it to NULL, which is not checked.
-- `due` is the one instant that decides: when the delay is over, and for a leased row when its
-- lease ends. So what was lost is simply due again, and one index serves every claim. What waits for its turn
-- in a chain, or for a milestone of a batch, is held: due at the last instant that there is, 253402300799999999,
-- or one before it where its batch has counted it as skipped, since what it was to follow has failed.
--
-- Who follows is told by queue and id, as one text: `emails/0192...`; a name has no slash in it.
--
-- SQLite keeps any value in any column. A claim looks at what it reads, and moves what cannot be run
-- to the failed jobs; no statement here stumbles over a text where a number should be.
--
-- `:ids`, `:numbers` and `:queues` are JSON lists. eventbus.backends.sql reads the statements below by
-- their names.

-- :schema
CREATE TABLE envelopes (
    number     INTEGER PRIMARY KEY,         -- order of arrival: decides between equal dues
    id         TEXT NOT NULL UNIQUE,
    queue      TEXT NOT NULL,
    body       BLOB NOT NULL,
    delay      REAL NOT NULL,               -- as pushed, in seconds; `due` has it added
    pushed_at  INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    token      TEXT,                        -- who holds it; NULL while it waits
    shared     INTEGER NOT NULL DEFAULT 0,  -- 1: held by a claim of several
    alone      INTEGER NOT NULL DEFAULT 0,  -- 1: lost once, handed out by itself from then on
    attempts   INTEGER NOT NULL DEFAULT 0,
    losses     INTEGER NOT NULL DEFAULT 0,
    releases   INTEGER NOT NULL DEFAULT 0,
    exceptions INTEGER NOT NULL DEFAULT 0,  -- of the attempts, those that raised or took too long
    parked     TEXT NOT NULL DEFAULT '',    -- why it cannot run yet
    crc        INTEGER,
    unique_key   TEXT,                      -- what no other in the queue may have; NULL: nothing
    unique_until INTEGER,                   -- an instant from which on another may have it; NULL: never
    unique_since INTEGER,                   -- when the first one had it of those that took its place
    batch        TEXT,                      -- the id of the one that counts it; NULL: none does
    next         TEXT,                      -- whose turn comes when it is done; NULL: nobody's
    catch        TEXT                       -- whose turn comes when it fails; NULL: nobody's
);
CREATE TABLE failed (
    number    INTEGER PRIMARY KEY,          -- order of failure
    id        TEXT NOT NULL UNIQUE,
    queue     TEXT NOT NULL,
    body      BLOB NOT NULL,
    delay     REAL NOT NULL,
    pushed_at INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    losses    INTEGER NOT NULL,
    releases  INTEGER NOT NULL,
    error     TEXT NOT NULL,
    crc       INTEGER,
    batch     TEXT,
    next      TEXT,
    catch     TEXT
);
CREATE INDEX envelopes_in_line ON envelopes (queue, due);
CREATE INDEX envelopes_parked ON envelopes (number) WHERE parked <> '';
CREATE UNIQUE INDEX envelopes_unique ON envelopes (queue, unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX failed_by_queue ON failed (queue);
CREATE INDEX failed_by_catch ON failed (catch) WHERE catch IS NOT NULL;
CREATE TABLE flags (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    ends  INTEGER                           -- an instant; NULL: never
) WITHOUT ROWID;
CREATE TABLE kept (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    ends  INTEGER NOT NULL                  -- an instant
);
CREATE INDEX kept_until ON kept (ends);
CREATE TABLE spent (
    name  TEXT NOT NULL,                    -- of the limit
    key   TEXT NOT NULL,                    -- of what is counted
    ends  INTEGER NOT NULL,                 -- an instant
    count INTEGER NOT NULL,
    PRIMARY KEY (name, key, ends)
) WITHOUT ROWID;
CREATE INDEX spent_until ON spent (ends);
CREATE TABLE turns (
    name TEXT NOT NULL,
    key  TEXT NOT NULL,
    ends INTEGER NOT NULL,                  -- an instant
    PRIMARY KEY (name, key)
) WITHOUT ROWID;
CREATE INDEX turns_until ON turns (ends);
CREATE TABLE slots (
    name  TEXT NOT NULL,
    owner TEXT NOT NULL,
    ends  INTEGER NOT NULL,                 -- an instant
    PRIMARY KEY (name, owner)
) WITHOUT ROWID;
CREATE INDEX slots_until ON slots (ends);
CREATE TABLE batches (
    number          INTEGER PRIMARY KEY,                 -- order in which they were opened
    id              TEXT NOT NULL UNIQUE,
    queue           TEXT NOT NULL,
    name            TEXT NOT NULL,
    allows_failures INTEGER NOT NULL,
    waiting         TEXT NOT NULL,              -- JSON: by milestone, the ids of what comes then; `within`: batches
    reached         INTEGER NOT NULL,           -- which milestones, a bit each, in the order of MILESTONES
    total           INTEGER NOT NULL,
    succeeded       INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    skipped         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    canceled_at     INTEGER,
    finished_at     INTEGER
);

-- :migrate_1
-- From schema 1 to 2.
ALTER TABLE envelopes ADD COLUMN exceptions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE envelopes ADD COLUMN parked TEXT NOT NULL DEFAULT '';
ALTER TABLE envelopes ADD COLUMN crc INTEGER;
ALTER TABLE failed ADD COLUMN crc INTEGER;
CREATE INDEX envelopes_parked ON envelopes (number) WHERE parked <> '';
CREATE INDEX failed_by_queue ON failed (queue);
CREATE TABLE flags (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    ends  INTEGER
) WITHOUT ROWID;

-- :migrate_2
-- From schema 2 to 3.
ALTER TABLE envelopes ADD COLUMN unique_key TEXT;
ALTER TABLE envelopes ADD COLUMN unique_until INTEGER;
ALTER TABLE envelopes ADD COLUMN unique_since INTEGER;
CREATE UNIQUE INDEX envelopes_unique ON envelopes (queue, unique_key) WHERE unique_key IS NOT NULL;
CREATE TABLE kept (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    ends  INTEGER NOT NULL
);
CREATE INDEX kept_until ON kept (ends);
CREATE TABLE spent (
    name  TEXT NOT NULL,
    key   TEXT NOT NULL,
    ends  INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (name, key, ends)
) WITHOUT ROWID;
CREATE INDEX spent_until ON spent (ends);
CREATE TABLE turns (
    name TEXT NOT NULL,
    key  TEXT NOT NULL,
    ends INTEGER NOT NULL,
    PRIMARY KEY (name, key)
) WITHOUT ROWID;
CREATE INDEX turns_until ON turns (ends);
CREATE TABLE slots (
    name  TEXT NOT NULL,
    owner TEXT NOT NULL,
    ends  INTEGER NOT NULL,
    PRIMARY KEY (name, owner)
) WITHOUT ROWID;
CREATE INDEX slots_until ON slots (ends);

-- :migrate_3
-- From schema 3 to 4.
ALTER TABLE envelopes ADD COLUMN batch TEXT;
ALTER TABLE envelopes ADD COLUMN next TEXT;
ALTER TABLE envelopes ADD COLUMN catch TEXT;
ALTER TABLE failed ADD COLUMN batch TEXT;
ALTER TABLE failed ADD COLUMN next TEXT;
ALTER TABLE failed ADD COLUMN catch TEXT;
CREATE INDEX failed_by_catch ON failed (catch) WHERE catch IS NOT NULL;
CREATE TABLE batches (
    number          INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    queue           TEXT NOT NULL,
    name            TEXT NOT NULL,
    allows_failures INTEGER NOT NULL,
    waiting         TEXT NOT NULL,
    reached         INTEGER NOT NULL,
    total           INTEGER NOT NULL,
    succeeded       INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    skipped         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    canceled_at     INTEGER,
    finished_at     INTEGER
);

-- :push
-- An id that is stored already, in either table, is passed over. Its last value is the id once more.
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due, crc)
SELECT ?, ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM failed WHERE id = ?)
ON CONFLICT (id) DO NOTHING;

-- :push_member
-- As `push`, of what has a place in a plan.
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due, crc, batch, next, catch)
SELECT :id, :queue, :body, :delay, :now, :due, :crc, :batch, :next, :catch
WHERE NOT EXISTS (SELECT 1 FROM failed WHERE id = :id)
ON CONFLICT (id) DO NOTHING;

-- :is_stored
SELECT EXISTS (SELECT 1 FROM envelopes WHERE id = :id) OR EXISTS (SELECT 1 FROM failed WHERE id = :id);

-- :holder
-- Of a key; a damaged instant is none.
SELECT id, token IS NOT NULL, coalesce(unique_until > :now, 1), coalesce(CAST(unique_since AS INTEGER), 0)
FROM envelopes WHERE queue = :queue AND unique_key = :key;

-- :give_way
DELETE FROM envelopes WHERE id = :id;

-- :free_key
UPDATE envelopes SET unique_key = NULL WHERE id = :id;

-- :push_unique
-- Whose id is not stored, and whose key nobody has now.
INSERT INTO envelopes
    (id, queue, body, delay, pushed_at, due, crc, unique_key, unique_until, unique_since)
VALUES (:id, :queue, :body, :delay, :now, :due, :crc, :key, :until, :since);

-- :held_id
SELECT id FROM envelopes WHERE id = :id AND token = :token;

-- :take_key
UPDATE envelopes SET unique_key = :key, unique_until = :until, unique_since = :now WHERE id = :id;

-- :free
UPDATE envelopes SET unique_key = NULL
WHERE token = :token AND id IN (SELECT value FROM json_each(:ids))
RETURNING id;

-- :anything_due
-- Text sorts behind every number: a `due` that is none is due now.
SELECT EXISTS (SELECT 1 FROM envelopes WHERE queue = :queue AND due <= :now)
    OR EXISTS (SELECT 1 FROM envelopes WHERE queue = :queue AND due >= '');

-- :due
-- The head of one queue's line, each row as its claim makes it: one that has a token was lost. The
-- second column: it must be handed out by itself; the third: `places` has more. A body that is long, or no BLOB, is left to
-- `odd_body`: SQLite knows the length of a BLOB without reading it.
SELECT number, alone OR token IS NOT NULL, batch IS NOT NULL OR next IS NOT NULL OR catch IS NOT NULL,
       id, queue,
       CASE WHEN typeof(body) = 'blob' AND length(body) <= :most THEN body END,
       delay, attempts,
       CASE WHEN losses BETWEEN 0 AND 1000000000 THEN losses ELSE 0 END
       + (token IS NOT NULL AND NOT shared),
       exceptions, releases, pushed_at, crc
FROM envelopes
WHERE queue = :queue AND due <= :now
ORDER BY due, number
LIMIT :limit;

-- :undated
-- Behind the others: rows whose `due` is no number.
SELECT number, alone OR token IS NOT NULL, batch IS NOT NULL OR next IS NOT NULL OR catch IS NOT NULL,
       id, queue,
       CASE WHEN typeof(body) = 'blob' AND length(body) <= :most THEN body END,
       delay, attempts,
       CASE WHEN losses BETWEEN 0 AND 1000000000 THEN losses ELSE 0 END
       + (token IS NOT NULL AND NOT shared),
       exceptions, releases, pushed_at, crc
FROM envelopes
WHERE queue = :queue AND due >= ''
LIMIT :limit;

-- :places
-- What rows are members of, and whether their batches were canceled.
SELECT one.number, one.batch, one.next, one.catch, batches.canceled_at IS NOT NULL
FROM envelopes AS one LEFT JOIN batches ON batches.id = one.batch
WHERE one.number IN (SELECT value FROM json_each(:numbers));

-- :odd_body
SELECT size, CASE WHEN size <= :most THEN CAST(body AS BLOB) END
FROM (SELECT *, CASE typeof(body) WHEN 'blob' THEN length(body) ELSE length(CAST(body AS BLOB)) END AS size
      FROM envelopes)
WHERE number = :number;

-- :claim
-- Rows that `due` or `undated` found, in the same transaction. Each expression sees the row as it was.
UPDATE envelopes
SET losses = CASE WHEN losses BETWEEN 0 AND 1000000000 THEN losses ELSE 0 END
           + (token IS NOT NULL AND NOT shared),
    alone = alone OR token IS NOT NULL,
    token = :token,
    shared = :shared,
    parked = '',
    due = :until
WHERE number IN (SELECT value FROM json_each(:numbers));

-- :free_id
-- Another failed job of the id stays as it is: the newcomer gets another.
SELECT CASE WHEN EXISTS (SELECT 1 FROM failed WHERE id = :id)
            THEN substr(:id, 1, 54) || '-' || lower(hex(randomblob(4))) ELSE :id END;

-- :condemn
-- A row that cannot be run, under an id that can be typed and with numbers that can be read. Its body
-- goes from table to table and is not handed out. (`failed` is not read here: SQLite would put the body
-- aside first.)
INSERT INTO failed
    (id, queue, body, delay, pushed_at, failed_at, attempts, losses, releases, error, crc, batch, next, catch)
SELECT :id, :queue, body, :delay, :pushed_at, :now, :attempts, :losses, :releases, :error, crc,
       batch, next, catch
FROM envelopes
WHERE number = :number;

-- :remove
DELETE FROM envelopes WHERE number = :number;

-- :extend
UPDATE envelopes SET due = :until
WHERE token = :token AND id IN (SELECT value FROM json_each(:ids))
RETURNING id;

-- :ack
DELETE FROM envelopes
WHERE token = :token AND id IN (SELECT value FROM json_each(:ids))
RETURNING id, batch, next, catch;

-- :ack_alone
-- Of what is a member of nothing: that need not be told.
DELETE FROM envelopes
WHERE token = :token AND id IN (SELECT value FROM json_each(:ids))
  AND batch IS NULL AND next IS NULL AND catch IS NULL;

-- :release
-- One that keeps its place is due since it was first due, or now if that were later.
UPDATE envelopes
SET token = NULL,
    shared = 0,
    parked = :parked,
    due = CASE WHEN :keeps_place
               THEN min(:now, pushed_at + CAST(round(delay * 1000000) AS INTEGER))
               ELSE :due END,
    attempts = attempts + :attempts,
    exceptions = exceptions + :exceptions,
    releases = releases + :releases
WHERE token = :token AND id IN (SELECT value FROM json_each(:ids))
RETURNING id;

-- :unclaim
-- Of what is held, by the index; what is due is not held any more.
UPDATE envelopes
SET token = NULL,
    shared = 0,
    due = min(:now, pushed_at + CAST(round(delay * 1000000) AS INTEGER))
WHERE queue IN (SELECT value FROM json_each(:queues)) AND due > :now AND due < :counted AND token = :token;

-- :bury
-- Followed by `ack` in the same transaction. Another failed job of its id stays as it is.
INSERT INTO failed
    (id, queue, body, delay, pushed_at, failed_at, attempts, losses, releases, error, crc, batch, next, catch)
SELECT CASE WHEN EXISTS (SELECT 1 FROM failed WHERE id = envelopes.id)
            THEN substr(id, 1, 54) || '-' || lower(hex(randomblob(4))) ELSE id END,
       queue, body, delay, pushed_at, :now, attempts + :attempts, losses, releases + :releases,
       :error, crc, batch, next, catch
FROM envelopes
WHERE token = :token AND id IN (SELECT value FROM json_each(:ids));

-- :failed
-- NULL stands for all queues. Of a body longer than `:most` bytes only the head is read.
SELECT number, id, queue,
       CASE WHEN size > :most THEN substr(CAST(body AS BLOB), 1, :head) ELSE CAST(body AS BLOB) END,
       size, delay, attempts, losses, releases, pushed_at, failed_at, error,
       batch, next, catch
FROM (SELECT *, CASE typeof(body) WHEN 'blob' THEN length(body) ELSE length(CAST(body AS BLOB)) END AS size
      FROM failed)
WHERE number > :after
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
ORDER BY number
LIMIT :limit;

-- :failed_named
SELECT number, id, queue,
       CASE WHEN size > :most THEN substr(CAST(body AS BLOB), 1, :head) ELSE CAST(body AS BLOB) END,
       size, delay, attempts, losses, releases, pushed_at, failed_at, error,
       batch, next, catch
FROM (SELECT *, CASE typeof(body) WHEN 'blob' THEN length(body) ELSE length(CAST(body AS BLOB)) END AS size
      FROM failed)
WHERE number > :after
  AND id IN (SELECT value FROM json_each(:ids))
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
ORDER BY number
LIMIT :limit;

-- :revive
-- Followed by `purge` in the same transaction, if it moved anything.
INSERT INTO envelopes (id, queue, body, delay, pushed_at, due, crc, batch, next, catch)
SELECT id, queue, body, delay, pushed_at, :now, crc, batch, next, catch FROM failed WHERE id = :id
ON CONFLICT (id) DO NOTHING
RETURNING queue, batch, next, catch;

-- :purge
DELETE FROM failed WHERE id = :id RETURNING id, batch, next, catch;

-- :cancel
-- A lease that has ended holds nothing any more.
DELETE FROM envelopes
WHERE id IN (SELECT value FROM json_each(:ids)) AND (token IS NULL OR due <= :now)
RETURNING id, batch, next, catch, due;

-- :clear
DELETE FROM envelopes WHERE queue = :queue AND (token IS NULL OR due <= :now)
RETURNING id, batch, next, catch, due;

-- :size
SELECT count(*) FILTER (WHERE due <= :now),
       count(*) FILTER (WHERE due > :now AND token IS NULL AND NOT due BETWEEN :counted AND :held),
       count(*) FILTER (WHERE due > :now AND token IS NOT NULL),
       (SELECT count(*) FROM failed WHERE queue = :queue),
       count(*) FILTER (WHERE due BETWEEN :counted AND :held)
FROM envelopes
WHERE queue = :queue;

-- :queues
-- From name to name in each index: as many steps as there are queues, however many rows.
WITH RECURSIVE
    waiting (queue) AS (
        SELECT min(queue) FROM envelopes
        UNION ALL
        SELECT (SELECT min(queue) FROM envelopes WHERE queue > waiting.queue)
        FROM waiting WHERE queue IS NOT NULL
    ),
    failing (queue) AS (
        SELECT min(queue) FROM failed
        UNION ALL
        SELECT (SELECT min(queue) FROM failed WHERE queue > failing.queue)
        FROM failing WHERE queue IS NOT NULL
    )
SELECT CAST(queue AS TEXT) FROM waiting WHERE queue IS NOT NULL
UNION
SELECT CAST(queue AS TEXT) FROM failing WHERE queue IS NOT NULL
ORDER BY 1;

-- :peek
-- Bodies as in `failed`.
SELECT number, id, queue,
       CASE WHEN size > :most THEN substr(CAST(body AS BLOB), 1, :head) ELSE CAST(body AS BLOB) END,
       size, delay, attempts, losses, releases, pushed_at, due, token IS NOT NULL, parked,
       batch, next, catch
FROM (SELECT *, CASE typeof(body) WHEN 'blob' THEN length(body) ELSE length(CAST(body AS BLOB)) END AS size
      FROM envelopes)
WHERE number > :after
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
ORDER BY number
LIMIT :limit;

-- :peek_parked
SELECT number, id, queue,
       CASE WHEN size > :most THEN substr(CAST(body AS BLOB), 1, :head) ELSE CAST(body AS BLOB) END,
       size, delay, attempts, losses, releases, pushed_at, due, token IS NOT NULL, parked,
       batch, next, catch
FROM (SELECT *, CASE typeof(body) WHEN 'blob' THEN length(body) ELSE length(CAST(body AS BLOB)) END AS size
      FROM envelopes)
WHERE number > :after AND parked <> ''
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
ORDER BY number
LIMIT :limit;

-- :find
-- Bodies as in `failed`.
SELECT number, id, queue,
       CASE WHEN size > :most THEN substr(CAST(body AS BLOB), 1, :head) ELSE CAST(body AS BLOB) END,
       size, delay, attempts, losses, releases, pushed_at, due, token IS NOT NULL, parked,
       batch, next, catch
FROM (SELECT *, CASE typeof(body) WHEN 'blob' THEN length(body) ELSE length(CAST(body AS BLOB)) END AS size
      FROM envelopes)
WHERE id IN (SELECT value FROM json_each(:ids))
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)));

-- :next_due
-- What is held is due never, and stands behind all else that has a number: none of it is gone through. Text, which
-- stands behind every number, is due now.
SELECT due FROM (
    SELECT due FROM envelopes
    WHERE queue = :queue AND due < :counted AND (token IS NULL OR due <= :now)
    ORDER BY due
    LIMIT 1)
UNION ALL
SELECT due FROM (SELECT due FROM envelopes WHERE queue = :queue AND due >= '' LIMIT 1);

-- :next_due_or_lost
SELECT due FROM (
    SELECT due FROM envelopes WHERE queue = :queue AND due < :counted ORDER BY due LIMIT 1)
UNION ALL
SELECT due FROM (SELECT due FROM envelopes WHERE queue = :queue AND due >= '' LIMIT 1);

-- :let_come
UPDATE envelopes SET due = :now + CAST(round(delay * 1000000) AS INTEGER)
WHERE id IN (SELECT value FROM json_each(:ids)) AND due BETWEEN :counted AND :held
RETURNING id, queue;

-- :rest
-- Who is held, one behind the other; UNION, so that a circle ends.
WITH RECURSIVE rest (id, next, due) AS (
    SELECT id, next, due FROM envelopes
    WHERE id = :id AND due BETWEEN :counted AND :held
    UNION
    SELECT one.id, one.next, one.due FROM rest
    JOIN envelopes AS one ON one.id = substr(rest.next, instr(rest.next, '/') + 1)
    WHERE one.due BETWEEN :counted AND :held
)
SELECT id, due FROM rest;

-- :take_out
DELETE FROM envelopes
WHERE id IN (SELECT value FROM json_each(:ids)) AND due BETWEEN :counted AND :held;

-- :take_out_one
DELETE FROM envelopes WHERE id = :id AND due BETWEEN :counted AND :held
RETURNING id, batch, next, catch, due;

-- :count_rest
UPDATE envelopes SET due = :due
WHERE id IN (SELECT value FROM json_each(:ids)) AND due BETWEEN :counted AND :held;

-- :link
UPDATE envelopes SET next = :next WHERE id = :id AND queue = :queue RETURNING id;

-- :caught
SELECT id FROM failed WHERE catch = :catch ORDER BY number DESC LIMIT 1;

-- :open
INSERT INTO batches
    (id, queue, name, allows_failures, waiting, reached, total, succeeded, failed, skipped, created_at)
VALUES (:id, :queue, :name, :allows_failures, :waiting, 0, 0, 0, 0, 0, :now)
ON CONFLICT (id) DO NOTHING;

-- :tally
SELECT total, succeeded, failed, skipped, allows_failures = 1, reached, canceled_at, finished_at, waiting
FROM batches WHERE id = :id;

-- :count
-- Of a batch that has begun and started, and does not end with these: what most acks are. Its bits: 1 and 2.
UPDATE batches SET succeeded = succeeded + :succeeded, skipped = skipped + :skipped
WHERE id = :id AND reached & 3 = 3
  AND total > succeeded + failed + skipped + :succeeded + :skipped;

-- :tell
UPDATE batches
SET total = :total, succeeded = :succeeded, failed = :failed, skipped = :skipped, reached = :reached,
    canceled_at = :canceled_at, finished_at = :finished_at
WHERE id = :id;

-- :unbegun
-- The first bit of `reached`.
SELECT id FROM batches WHERE id IN (SELECT value FROM json_each(:ids)) AND reached & 1 = 0;

-- :batches
SELECT number, id, queue, name, allows_failures = 1, total, succeeded, failed, skipped, created_at,
       canceled_at, finished_at
FROM batches
WHERE number > :after AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
ORDER BY number
LIMIT :limit;

-- :forget_batch
DELETE FROM batches WHERE id = :id RETURNING waiting;

-- :flag
-- Preceded by `unflag` of its name, in the same transaction.
INSERT INTO flags (name, value, ends) VALUES (:name, :value, :ends);

-- :unflag
-- With the others that have ended.
DELETE FROM flags WHERE name = :name OR ends <= :now;

-- :flags
SELECT CAST(name AS TEXT), CAST(value AS TEXT) FROM flags WHERE ends IS NULL OR ends > :now;

-- :keep
INSERT OR REPLACE INTO kept (name, value, ends) VALUES (:name, :value, :ends);

-- :let_go
-- Of what has ended, a few at a time: whoever keeps something pays for little more than that.
DELETE FROM kept WHERE name IN (SELECT name FROM kept WHERE ends <= :now LIMIT 100);

-- :kept
SELECT CAST(value AS BLOB) FROM kept WHERE name = :name AND ends > :now;

-- :spent
-- Text sorts behind every number, and what ends at no instant counts as nothing.
SELECT ends, CAST(count AS INTEGER) FROM spent
WHERE name = :name AND key = :key AND ends > :now AND ends <= :latest
ORDER BY ends;

-- :spend
INSERT INTO spent (name, key, ends, count) VALUES (:name, :key, :ends, 1)
ON CONFLICT (name, key, ends) DO UPDATE SET count = count + 1;

-- :forget_spent
-- As `let_go`.
DELETE FROM spent WHERE (name, key, ends) IN (SELECT name, key, ends FROM spent WHERE ends <= :now LIMIT 100);

-- :refund
DELETE FROM spent WHERE name = :name AND key IN (SELECT value FROM json_each(:keys));

-- :next_turns
SELECT CAST(ends AS INTEGER) FROM turns WHERE name = :name AND key IN (SELECT value FROM json_each(:keys));

-- :turn
INSERT OR REPLACE INTO turns (name, key, ends) VALUES (:name, :key, :ends);

-- :forget_turns
DELETE FROM turns WHERE (name, key) IN (SELECT name, key FROM turns WHERE ends <= :now LIMIT 100);

-- :forget_turn
DELETE FROM turns WHERE name = :name AND key IN (SELECT value FROM json_each(:keys));

-- :others_in
-- How many, and when the first of them ends.
SELECT count(*), min(ends) FROM slots
WHERE name = :name AND owner <> :owner AND ends > :now AND ends <= :latest;

-- :enter
INSERT OR REPLACE INTO slots (name, owner, ends) VALUES (:name, :owner, :ends);

-- :forget_slots
DELETE FROM slots WHERE (name, owner) IN (SELECT name, owner FROM slots WHERE ends <= :now LIMIT 100);

-- :leave
DELETE FROM slots WHERE name = :name AND owner = :owner RETURNING CAST(ends AS INTEGER);
