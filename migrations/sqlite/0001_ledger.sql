-- The ledger. Times are milliseconds since 1970, money is millionths of a US dollar, ids of calls are UUIDv7.

CREATE TABLE ledger (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- One process that works on the ledger. It holds an OS lock on its own file beside the ledger while it lives.
-- AUTOINCREMENT: a token begins with the process's id, so that no id may ever come again.
CREATE TABLE processes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL,
    settings   TEXT    NOT NULL
) STRICT;

CREATE TABLE batches (
    id                INTEGER PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    definition        TEXT    NOT NULL,
    task              TEXT    NOT NULL CHECK (task IN ('transcribe', 'synthesize')),
    world             TEXT    NOT NULL CHECK (world IN ('waves', 'sandbox')),
    spec              TEXT    NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('submitting', 'open', 'paused')),
    paused_by         TEXT    CHECK (paused_by IN ('user', 'wavebatch')),
    pause_kind        TEXT,
    pause_reason      TEXT,
    max_spend         INTEGER,
    concurrency       INTEGER,
    pause_on_failures INTEGER NOT NULL,
    spent             INTEGER NOT NULL DEFAULT 0,
    reserved          INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    longest_ms        INTEGER NOT NULL DEFAULT 0,
    -- Lines settled since the batch was started or last resumed: what `pause_on_failures` looks at.
    lately_well       INTEGER NOT NULL DEFAULT 0,
    lately_badly      INTEGER NOT NULL DEFAULT 0,
    submitted_at      INTEGER NOT NULL,
    resumed_at        INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    CHECK ((state = 'paused') = (paused_by IS NOT NULL)),
    CHECK ((state = 'paused') = (pause_kind IS NOT NULL))
) STRICT;

CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    batch          INTEGER NOT NULL REFERENCES batches (id),
    ordinal        INTEGER NOT NULL,
    line           INTEGER NOT NULL,
    key            TEXT    NOT NULL,
    variant        TEXT    NOT NULL DEFAULT '',
    source         TEXT,
    source_id      BLOB    NOT NULL,
    options_id     BLOB    NOT NULL,
    overrides      TEXT,
    carried        TEXT,
    state          TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'awaiting', 'succeeded', 'suspect', 'failed', 'skipped', 'cancelled', 'superseded')),
    pool           TEXT    NOT NULL,
    -- What the next look needs: 'free' no call (delivery, reconciling, an overdue lease), else a call of that pool.
    lane           TEXT    NOT NULL CHECK (lane IN ('free', 'pulse', 'pulse-pro', 'tts')),
    due_at         INTEGER,
    token          INTEGER,
    process        INTEGER,
    -- The older job of the same key that must have stopped before this one starts.
    after          INTEGER,
    era            INTEGER NOT NULL DEFAULT 0,
    source_tries   INTEGER NOT NULL DEFAULT 0,
    submitted_at   INTEGER NOT NULL,
    started_at     INTEGER,
    finished_at    INTEGER,
    processing_ms  INTEGER,
    audio_ms       INTEGER,
    channels       INTEGER,
    error_kind     TEXT,
    error          TEXT,
    request_id     TEXT,
    notes          TEXT,
    content_expiry TEXT,
    outputs        TEXT,
    CHECK ((due_at IS NOT NULL) = (state IN ('queued', 'running', 'awaiting'))),
    -- A superseded job keeps its token until its worker has stopped.
    CHECK (CASE state WHEN 'running' THEN token IS NOT NULL WHEN 'superseded' THEN 1 ELSE token IS NULL END),
    CHECK ((token IS NULL) = (process IS NULL)),
    CHECK (state <> 'failed' OR error_kind IS NOT NULL),
    CHECK (state NOT IN ('succeeded', 'suspect', 'failed') OR finished_at IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX jobs_by_key ON jobs (batch, key, variant) WHERE state <> 'superseded';
CREATE INDEX jobs_by_due ON jobs (batch, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_by_ordinal ON jobs (batch, ordinal);
CREATE INDEX jobs_by_state ON jobs (batch, state, error_kind, audio_ms);
CREATE INDEX jobs_by_process ON jobs (process) WHERE process IS NOT NULL;
CREATE INDEX jobs_by_after ON jobs (after) WHERE after IS NOT NULL;

CREATE TABLE calls (
    id         BLOB    PRIMARY KEY,
    job        INTEGER NOT NULL REFERENCES jobs (id),
    part       INTEGER NOT NULL DEFAULT 0,
    batch      INTEGER NOT NULL REFERENCES batches (id),
    era        INTEGER NOT NULL,
    account    TEXT    NOT NULL,
    pool       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('sent', 'accepted', 'answered', 'rejected', 'lost', 'surplus', 'replaced')),
    why        TEXT    NOT NULL CHECK (why IN ('first', 'unknown', 'retry')),
    sent_at    INTEGER NOT NULL,
    slot_until INTEGER,
    -- The process that waits for its answer: it renews the slot. NULL once nobody waits.
    process    INTEGER,
    ended_at   INTEGER,
    unknown_at INTEGER,
    counts     INTEGER NOT NULL DEFAULT 0,
    reserve    INTEGER NOT NULL DEFAULT 0,
    cost       INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    status     INTEGER,
    error_kind TEXT,
    error      TEXT,
    content_expiry TEXT,
    -- The newest entry of the vendor's log before the call ('' = it was empty), and what its own entry would look like.
    mark       TEXT,
    trace      TEXT    NOT NULL,
    CHECK (state IN ('sent', 'accepted') OR (reserve = 0 AND ended_at IS NOT NULL)),
    -- A call that is given up after our own time-out may still be worked on: its slot runs out with the lease.
    CHECK (state IN ('sent', 'accepted', 'lost') OR slot_until IS NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX calls_open ON calls (job, part) WHERE state IN ('sent', 'accepted');
CREATE UNIQUE INDEX calls_answered ON calls (job, part) WHERE state = 'answered';
CREATE INDEX calls_by_job ON calls (job);
CREATE INDEX calls_by_batch ON calls (batch);
CREATE INDEX calls_by_slot ON calls (account, pool, slot_until) WHERE slot_until IS NOT NULL;
CREATE INDEX calls_by_rate ON calls (account, pool, sent_at);

-- Of its own, so that it can be pruned. `body` is raw DEFLATE where `packed` is 1.
CREATE TABLE answers (
    call       BLOB    PRIMARY KEY REFERENCES calls (id),
    origin     TEXT    NOT NULL CHECK (origin IN ('api', 'log')),
    packed     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

CREATE TABLE pools (
    account            TEXT    NOT NULL,
    pool               TEXT    NOT NULL,
    cooldown_until     INTEGER NOT NULL,
    cooldown_ms        INTEGER NOT NULL,
    factor             REAL    NOT NULL,
    stepped_at         INTEGER NOT NULL,
    limited_at         INTEGER NOT NULL,
    base_in_flight     INTEGER,
    only_limited_since INTEGER,
    failing            INTEGER NOT NULL,
    failing_job        INTEGER,
    outage_since       INTEGER,
    probe_at           INTEGER NOT NULL,
    probe_ms           INTEGER NOT NULL,
    PRIMARY KEY (account, pool)
) STRICT, WITHOUT ROWID;
