-- The ledger: every batch, every line, every call that may cost money, and every answer.
--
-- Times are milliseconds since 1970. Money is micro-USD (millionths of a US dollar) at list price. Ids of calls are UUIDv7.
-- Truth values are 0 and 1. Names that will grow (tasks, models, pools, lanes, kinds of errors) have no CHECK; CHECKs tie a
-- state to the columns that it owns.

-- One row: the ledger itself.
CREATE TABLE ledger (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    -- Made with the ledger. A summary.json names it, so that an output knows its ledger.
    id         TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    -- The newest time that any process wrote here. A clock that is behind it was set back, also while nobody ran.
    newest_at  INTEGER NOT NULL,
    -- The number of the newest change of a line (`jobs.seq`). Only the holder of the write lock counts it up.
    seq        INTEGER NOT NULL DEFAULT 0,
    -- Where bought audio is kept: the address of a store of objects, or the path of a folder that machines share. NULL: beside
    -- the ledger, or nowhere yet.
    spool      TEXT,
    -- What `wavebatch ledger copy` made of it. `source`: it is being copied. `target`: it is an unfinished copy. `moved`: its
    -- copy took its place. NULL: it is in use.
    copy       TEXT    CHECK (copy IN ('source', 'target', 'moved')),
    -- The address of the other ledger, and the id of the copying, by which one that was cut off goes on.
    copy_with  TEXT,
    copy_id    TEXT,
    CHECK ((copy IS NULL) = (copy_with IS NULL)),
    CHECK ((copy IS NULL) = (copy_id IS NULL))
) STRICT;

-- A process that works on the ledger. It holds an OS lock on a file of its own beside the ledger while it lives; on a server,
-- a lock of its session.
-- AUTOINCREMENT: a token begins with the process's id, so no id may ever come again.
CREATE TABLE processes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The operating system's id of it, and the name of its machine.
    pid        INTEGER NOT NULL,
    host       TEXT    NOT NULL DEFAULT '',
    started_at INTEGER NOT NULL,
    -- Its last heartbeat.
    beat_at    INTEGER NOT NULL,
    -- The wavebatch that it is.
    version    TEXT    NOT NULL,
    -- JSON: its account and limits, for `status` to compare.
    settings   TEXT    NOT NULL
) STRICT;

-- The secrets of callbacks and notifications, where the ledger is on a server; beside a file they are files. The newest one
-- signs, and those before it are known until they are removed.
CREATE TABLE secrets (
    purpose TEXT    NOT NULL CHECK (purpose IN ('webhook', 'notify')),
    number  INTEGER NOT NULL,
    -- 64 hexadecimal digits.
    secret  TEXT    NOT NULL CHECK (length(secret) = 64),
    made_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id                INTEGER PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    -- The name of the definition that made it.
    definition        TEXT    NOT NULL,
    -- What it does with each line: `transcribe`, `synthesize`, …
    task              TEXT    NOT NULL,
    -- What the units of its jobs and calls count.
    unit              TEXT    NOT NULL CHECK (unit IN ('audio_ms', 'characters')),
    -- What the stand-in says is never mixed with what the API says.
    environment       TEXT    NOT NULL CHECK (environment IN ('live', 'sandbox')),
    -- JSON: all that its workers need to know, as it was submitted last.
    spec              TEXT    NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('open', 'paused')),
    -- While its lines are being submitted: when its submitter wrote last. Such a batch is not worked. NULL: it is whole.
    submitting_at     INTEGER,
    -- JSON: what its newest specification means for the lines that were there, and how far that was carried out.
    pending           TEXT,
    -- `cancel` came: lines that a submission in progress still adds are cancelled when it ends. A new submission lifts it.
    cancelled_at      INTEGER,
    -- Why it is paused; `user`: the user paused it, all others wavebatch itself.
    pause_kind        TEXT,
    -- The same in words.
    pause_reason      TEXT,
    paused_at         INTEGER,
    -- Of a pause for a spend limit of a day or a month: when that ends, and what the least call that did not fit may cost.
    pause_until       INTEGER,
    pause_reserve     INTEGER,
    -- A service lets one line of a paused batch through from time to time, to see whether the cause is gone.
    probing           INTEGER NOT NULL DEFAULT 0 CHECK (probing IN (0, 1)),
    -- That line, once it is claimed.
    probe_job         INTEGER,
    -- When a line was let through last.
    probed_at         INTEGER,
    -- The most that it may cost over all runs.
    max_spend         INTEGER,
    -- The most calls in flight.
    concurrency       INTEGER,
    -- Its weight, where definitions wait for calls of the same pool.
    priority          INTEGER NOT NULL DEFAULT 10 CHECK (priority BETWEEN 1 AND 100),
    -- Whether it pauses when over half of its lines go wrong.
    pause_on_failures INTEGER NOT NULL CHECK (pause_on_failures IN (0, 1)),
    -- What its ended calls cost.
    spent             INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    -- What its open calls may cost: the sum of their `reserve`.
    reserved          INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    -- The longest line that was answered (see `jobs.units`): the guess for lines whose length is unknown.
    longest_units     INTEGER NOT NULL DEFAULT 0 CHECK (longest_units >= 0),
    -- Lines settled since it was started or last resumed: what `pause_on_failures` looks at.
    lately_well       INTEGER NOT NULL DEFAULT 0,
    lately_badly      INTEGER NOT NULL DEFAULT 0,
    -- A service begins its calls only in this time; NULL: at any time.
    window_from       INTEGER,
    window_until      INTEGER,
    -- The batch whose finished lines are its manifest, and up to which of their numbers (`jobs.seq`) it took them.
    fed_by            INTEGER,
    fed_to            INTEGER,
    -- JSON: the definition that makes lines of them, and which of them count as finished.
    fed_with          TEXT,
    -- How it stood when its report was written last.
    reported          TEXT,
    submitted_at      INTEGER NOT NULL,
    -- When it was submitted first, or last resumed.
    resumed_at        INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    CHECK ((state = 'paused') = (pause_kind IS NOT NULL)),
    CHECK (pause_until IS NULL OR state = 'paused'),
    CHECK ((pause_until IS NULL) = (pause_reserve IS NULL)),
    CHECK ((window_from IS NULL) = (window_until IS NULL)),
    CHECK ((fed_by IS NULL) = (fed_to IS NULL)),
    CHECK ((fed_by IS NULL) = (fed_with IS NULL)),
    CHECK (probe_job IS NULL OR probing = 1)
) STRICT;

CREATE INDEX batches_probing ON batches (id) WHERE probing = 1;
CREATE INDEX batches_fed ON batches (fed_by) WHERE fed_by IS NOT NULL;

-- Texts that are spoken, each once however many voices and formats it has.
CREATE TABLE texts (
    id         BLOB    PRIMARY KEY,
    -- Whether `body` is raw DEFLATE.
    packed     INTEGER NOT NULL CHECK (packed IN (0, 1)),
    -- Length of the text in bytes.
    bytes      INTEGER NOT NULL,
    -- Length of the text in Unicode scalar values.
    characters INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

-- One run of `forget`, or of a retention: what it is to remove, and how far it is. It stays, as the proof of its receipt.
CREATE TABLE forgets (
    id          INTEGER PRIMARY KEY,
    -- By which its receipt names it.
    uid         TEXT    NOT NULL UNIQUE,
    -- JSON: what it removes.
    spec        TEXT    NOT NULL,
    -- `marking`: its lines are being marked. `working`: it removes. `done`: its receipt is final.
    state       TEXT    NOT NULL CHECK (state IN ('marking', 'working', 'done')),
    asked_at    INTEGER NOT NULL,
    finished_at INTEGER,
    -- The process that works on it. One that is not registered any more has died.
    process     INTEGER,
    -- Where its receipt is written, and the SHA-256 of the receipt, in hex.
    receipt     TEXT,
    digest      TEXT,
    CHECK ((finished_at IS NOT NULL) = (state = 'done'))
) STRICT;

CREATE INDEX forgets_open ON forgets (id) WHERE state <> 'done';

-- A line of a manifest, or one of its variants. The states are on one page in `domain/job.rs`.
CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    batch          INTEGER NOT NULL REFERENCES batches (id),
    -- Its place in the report: the order in which lines were first seen.
    ordinal        INTEGER NOT NULL,
    -- Its place in the manifest, from 1.
    line           INTEGER NOT NULL,
    key            TEXT    NOT NULL,
    -- Which of its line's jobs it is (voice and format); empty where a line has one.
    variant        TEXT    NOT NULL DEFAULT '',
    -- What it is: the task's name. What it pays for is counted in the units of its kind.
    kind           TEXT    NOT NULL,
    -- Where its recording is.
    source         TEXT,
    -- What a listing knew of that recording. Of a local file: its size when it was found last.
    source_bytes   INTEGER,
    source_etag    TEXT,
    -- Of a local file, how it was found last: its path, relative to the file that names it; the time of its last change in
    -- ns since 1970 (NULL: not to be relied on); and its number in its file system, by which it is known after a move.
    source_path    TEXT,
    source_mtime   INTEGER,
    source_inode   INTEGER,
    -- Of a local file: SHA-256 of all its bytes, taken when it was read for its newest call. It alone makes the file another
    -- recording. NULL: it was never read, and whatever is found at its path is it. Empty: it changed while it was sent.
    source_hash    BLOB,
    -- The text that it speaks.
    text           BLOB    REFERENCES texts (id),
    -- The identity of its source or text (of a local file see `source_hash`), and of the options that shape its calls.
    source_id      BLOB    NOT NULL,
    options_id     BLOB    NOT NULL,
    -- JSON: its options that differ from the batch's.
    overrides      TEXT,
    -- JSON array: the manifest's other cells.
    carried        TEXT,
    state          TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'awaiting', 'succeeded', 'suspect', 'failed', 'skipped', 'cancelled', 'superseded')),
    -- `gone`: a whole reading of the manifest lacks its line; it stays in totals and report. `dropped`: its line is there and
    -- wants another voice or format, or its file is another line's now; it is in no total, delivery or retry.
    wanted         TEXT    NOT NULL DEFAULT 'yes' CHECK (wanted IN ('yes', 'gone', 'dropped')),
    -- The number of its newest settling or change of `wanted` (`ledger.seq`).
    seq            INTEGER,
    -- Of a line of a batch that another one feeds: the job of that other batch that it is made of.
    fed_from       INTEGER,
    -- The pool of its calls; empty where it makes none.
    pool           TEXT    NOT NULL,
    -- What the next look at it needs: `free`: no call (delivery, reconciling, an overdue lease); else a call of that pool.
    lane           TEXT    NOT NULL,
    -- When somebody must look at it: a try, a retry, the end of a lease.
    due_at         INTEGER,
    -- The lease: only who shows this token may settle it.
    token          INTEGER,
    -- The process that has the lease.
    process        INTEGER,
    -- The older job of the same line that must have stopped before this one starts.
    after          INTEGER,
    -- The call of another job that buys the same; its end makes this job due.
    waits_for      BLOB,
    -- How often `retry` began it again.
    generation     INTEGER NOT NULL DEFAULT 0,
    -- The other way in which its recording is tried (`retry --with`), beside the one that its batch asks for.
    other_way      TEXT,
    -- Tries that its source used up.
    source_tries   INTEGER NOT NULL DEFAULT 0,
    submitted_at   INTEGER NOT NULL,
    started_at     INTEGER,
    finished_at    INTEGER,
    -- From intent to answer of the call that counts, in ms.
    processing_ms  INTEGER,
    -- How much it buys: milliseconds of audio that are transcribed, characters that are spoken.
    units          INTEGER CHECK (units >= 0),
    -- JSON object of what its task knows of it (length, channels, parts); `v` is its version.
    facts          TEXT,
    error_kind     TEXT,
    error          TEXT,
    request_id     TEXT,
    -- Joined by `;`.
    notes          TEXT,
    content_expiry TEXT,
    -- JSON array of addresses.
    outputs        TEXT,
    -- The `forget` that it is marked for, and when its content went. It is then a tombstone: key, state, cost and times stay,
    -- so that nothing is bought again and the books add up.
    forget         INTEGER REFERENCES forgets (id),
    forgotten_at   INTEGER,
    -- A dropped line that waits has no moment of its own. One whose call is under way ends it.
    CHECK ((due_at IS NOT NULL) = (state IN ('running', 'awaiting') OR (state = 'queued' AND wanted <> 'dropped'))),
    -- A superseded job keeps its token until its worker has stopped.
    CHECK (CASE state WHEN 'running' THEN token IS NOT NULL WHEN 'superseded' THEN 1 = 1 ELSE token IS NULL END),
    CHECK ((token IS NULL) = (process IS NULL)),
    CHECK (state <> 'failed' OR error_kind IS NOT NULL),
    CHECK (forgotten_at IS NULL OR (forget IS NOT NULL AND due_at IS NULL)),
    CHECK (state NOT IN ('succeeded', 'suspect', 'failed') OR finished_at IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX jobs_by_key ON jobs (batch, key, variant) WHERE state <> 'superseded';
CREATE INDEX jobs_superseded ON jobs (batch, key) WHERE state = 'superseded';
CREATE INDEX jobs_by_due ON jobs (batch, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_by_ordinal ON jobs (batch, ordinal);
CREATE INDEX jobs_by_state ON jobs (batch, state, error_kind, wanted, units);
-- Few lines have notes. The condition is the query's own, word for word, or the index is not used.
CREATE INDEX jobs_noted ON jobs (batch) WHERE notes IS NOT NULL OR wanted <> 'yes';
CREATE INDEX jobs_by_process ON jobs (process) WHERE process IS NOT NULL;
CREATE INDEX jobs_by_after ON jobs (after) WHERE after IS NOT NULL;
CREATE INDEX jobs_by_text ON jobs (text) WHERE text IS NOT NULL;
CREATE INDEX jobs_by_wait ON jobs (waits_for) WHERE waits_for IS NOT NULL;
CREATE INDEX jobs_by_seq ON jobs (batch, seq) WHERE seq IS NOT NULL;
CREATE INDEX jobs_by_feed ON jobs (fed_from) WHERE fed_from IS NOT NULL;
CREATE INDEX jobs_to_forget ON jobs (forget, id) WHERE forget IS NOT NULL;
CREATE INDEX jobs_forgotten ON jobs (batch, key) WHERE forget IS NOT NULL;

-- The parts of a job as they were planned, before the first of its calls. A recording has one, and it is 0.
CREATE TABLE job_parts (
    job       INTEGER NOT NULL REFERENCES jobs (id),
    part      INTEGER NOT NULL,
    -- All that shapes what is bought: two parts with the same key are one purchase, kept once.
    cache_key BLOB,
    -- How much it buys, in the units of the job's kind; NULL: unknown.
    units     INTEGER CHECK (units >= 0),
    -- Length of its recording in bytes, as it is sent.
    bytes     INTEGER CHECK (bytes >= 0),
    -- Which of its takes counts (`calls.take`).
    take      INTEGER NOT NULL DEFAULT 0,
    -- It needed no call of its job: what it buys was in the audio cache.
    reused    INTEGER NOT NULL DEFAULT 0 CHECK (reused IN (0, 1)),
    -- The user wants it bought again: what was in the audio cache then will not do.
    forced_at INTEGER,
    -- It makes its job suspect: a `retry` buys it, and not all parts.
    doubtful  INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1)),
    -- What is sent of its recording: a channel, from when to when, in JSON. NULL: the whole recording, as it is.
    plan      TEXT,
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;

-- What was heard in the recording of a job, so that no recording is decoded twice for it.
CREATE TABLE hearings (
    job     INTEGER PRIMARY KEY REFERENCES jobs (id),
    -- SHA-256 of the recording: another job with the same one needs no hearing of its own.
    content BLOB    NOT NULL,
    -- Which form of hearing it is. One of another version is made again.
    version INTEGER NOT NULL,
    body    BLOB    NOT NULL
) STRICT;

CREATE INDEX hearings_content ON hearings (content, version);

CREATE INDEX job_parts_reused ON job_parts (cache_key) WHERE reused = 1;

-- Bought audio that is kept as objects of a store: a row is written when its object is there, and removed before it. Audio
-- that is kept as files has no rows.
CREATE TABLE clips (
    cache_key BLOB    PRIMARY KEY,
    -- Which object it is: one that was bought again is another object.
    take      INTEGER NOT NULL CHECK (take >= 0),
    -- Its length.
    bytes     INTEGER NOT NULL CHECK (bytes >= 0),
    -- The day of its last use, counted from 1970.
    used_day  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The journal: one row a call, on disk before its first byte leaves. The states are on one page in `domain/job.rs`.
CREATE TABLE calls (
    id             BLOB    PRIMARY KEY,
    job            INTEGER NOT NULL REFERENCES jobs (id),
    part           INTEGER NOT NULL DEFAULT 0,
    -- Another performance of the same part; 0 is the first.
    take           INTEGER NOT NULL DEFAULT 0,
    batch          INTEGER NOT NULL REFERENCES batches (id),
    -- Its job's generation when it was made.
    generation     INTEGER NOT NULL,
    -- A short hash of base URL and key: limits are counted by account.
    account        TEXT    NOT NULL,
    pool           TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('sent', 'accepted', 'answered', 'rejected', 'lost', 'surplus', 'replaced')),
    why            TEXT    NOT NULL CHECK (why IN ('first', 'unknown', 'retry')),
    -- When its intent was committed, or when it left if that was noticeably later.
    sent_at        INTEGER NOT NULL,
    -- The same by the clock that counts from the start of the machine; good for processes of the same start alone.
    boot_id        TEXT,
    boot_ms        INTEGER,
    -- How long its process waits for its answer; and how long the vendor may work on it after its process died: in ms.
    timeout_ms     INTEGER NOT NULL,
    grace_ms       INTEGER NOT NULL,
    -- Until when it counts as in flight; 0: its request is over, its end not noted yet.
    slot_until     INTEGER,
    -- The process that waits for its answer and renews the slot. NULL once nobody waits.
    process        INTEGER,
    ended_at       INTEGER,
    -- Since when its outcome is unknown.
    unknown_at     INTEGER,
    -- An answer that is posted is awaited until then.
    overdue_at     INTEGER,
    -- Whether it used up a try of its part.
    counts         INTEGER NOT NULL DEFAULT 0 CHECK (counts IN (0, 1)),
    -- While it is open: what it may cost.
    reserve        INTEGER NOT NULL DEFAULT 0 CHECK (reserve >= 0),
    -- Once it has ended: what it cost.
    cost           INTEGER NOT NULL DEFAULT 0 CHECK (cost >= 0),
    -- How much it buys, in the units of its job's kind; NULL: unknown.
    units          INTEGER CHECK (units >= 0),
    -- The vendor's id of the request.
    request_id     TEXT,
    -- HTTP status.
    status         INTEGER,
    error_kind     TEXT,
    error          TEXT,
    content_expiry TEXT,
    -- The newest entry of the vendor's log before the call: '' = the log was empty, NULL = it was not read.
    log_cursor     TEXT,
    -- JSON: what its own entry in that log would show.
    request        TEXT    NOT NULL,
    -- Length of the upload in bytes, padding included: it tells the call's entry from others. NULL: the vendor fetched a URL.
    upload_bytes   INTEGER,
    -- What it buys, if that is kept in the audio cache; and the length of that file.
    cache_key      BLOB,
    clip_bytes     INTEGER,
    CHECK (state IN ('sent', 'accepted') OR (reserve = 0 AND ended_at IS NOT NULL)),
    -- A call that is given up after our own time-out may still be worked on: its slot runs out by itself.
    CHECK (state IN ('sent', 'accepted', 'lost') OR slot_until IS NULL),
    CHECK ((boot_id IS NULL) = (boot_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX calls_open ON calls (job, part, take) WHERE state IN ('sent', 'accepted');
CREATE UNIQUE INDEX calls_answered ON calls (job, part, take) WHERE state = 'answered';
CREATE INDEX calls_by_job ON calls (job);
CREATE INDEX calls_by_batch ON calls (batch);
CREATE INDEX calls_by_slot ON calls (account, pool, slot_until) WHERE slot_until IS NOT NULL;
CREATE INDEX calls_by_rate ON calls (account, pool, sent_at);
CREATE INDEX calls_by_upload ON calls (account, pool, upload_bytes, sent_at) WHERE upload_bytes IS NOT NULL;
CREATE UNIQUE INDEX calls_clip_open ON calls (account, cache_key) WHERE state IN ('sent', 'accepted') AND cache_key IS NOT NULL;
CREATE INDEX calls_clip_lost ON calls (cache_key) WHERE state = 'lost' AND cache_key IS NOT NULL;
CREATE INDEX calls_clip_answered ON calls (cache_key, ended_at) WHERE state = 'answered' AND cache_key IS NOT NULL;

-- What calls cost and may cost, summed by the quarter of an hour in which they were sent: a day or a month of any time zone
-- is some of these rows, however many calls it had. Kept whether a spend limit is set or not, in each transaction that
-- changes a call's `cost`, `reserve` or `sent_at`.
CREATE TABLE spending (
    account     TEXT    NOT NULL,
    environment TEXT    NOT NULL CHECK (environment IN ('live', 'sandbox')),
    -- When the quarter begins.
    quarter     INTEGER NOT NULL,
    -- The sum of `cost`, and that of `reserve`.
    spent       INTEGER NOT NULL,
    reserved    INTEGER NOT NULL,
    PRIMARY KEY (account, environment, quarter)
) STRICT, WITHOUT ROWID;

-- The spend limits of which it was noticed that they are close, once for a limit and its day or month.
CREATE TABLE spend_notices (
    account     TEXT    NOT NULL,
    environment TEXT    NOT NULL CHECK (environment IN ('live', 'sandbox')),
    period      TEXT    NOT NULL CHECK (period IN ('day', 'month')),
    -- When the day or month begins and ends.
    from_at     INTEGER NOT NULL,
    until_at    INTEGER NOT NULL,
    max_spend   INTEGER NOT NULL,
    -- The batch whose call it was, and what is told.
    batch       INTEGER NOT NULL REFERENCES batches (id),
    words       TEXT    NOT NULL,
    noticed_at  INTEGER NOT NULL,
    -- Whether a notification was posted.
    posted      INTEGER NOT NULL DEFAULT 0 CHECK (posted IN (0, 1)),
    PRIMARY KEY (account, environment, period, from_at, max_spend)
) STRICT, WITHOUT ROWID;

CREATE INDEX spend_notices_to_post ON spend_notices (environment) WHERE posted = 0;

-- What calls were answered, of its own so that it can be pruned.
CREATE TABLE answers (
    call   BLOB    PRIMARY KEY REFERENCES calls (id),
    -- Received, or found in the vendor's log.
    origin TEXT    NOT NULL CHECK (origin IN ('api', 'log')),
    -- Whether `body` is raw DEFLATE.
    packed INTEGER NOT NULL CHECK (packed IN (0, 1)),
    -- Length of the answer in bytes.
    bytes  INTEGER NOT NULL,
    body   BLOB    NOT NULL
) STRICT;

-- What was posted for calls. The first good one is the call's answer and stands among the answers.
CREATE TABLE callbacks (
    id          INTEGER PRIMARY KEY,
    call        BLOB    NOT NULL REFERENCES calls (id),
    received_at INTEGER NOT NULL,
    -- How often the same came.
    times       INTEGER NOT NULL,
    -- SHA-256 of the body.
    digest      BLOB    NOT NULL,
    effect      TEXT    NOT NULL CHECK (effect IN ('answered', 'surplus', 'failed', 'other', 'ignored')),
    packed      INTEGER CHECK (packed IN (0, 1)),
    bytes       INTEGER NOT NULL,
    -- NULL: it stands among the answers, it was pruned, or enough others of its call are kept.
    body        BLOB,
    CHECK ((packed IS NULL) = (body IS NULL))
) STRICT;

CREATE UNIQUE INDEX callbacks_by_call ON callbacks (call, digest);

-- Which job owns the file at a path of a batch's output.
CREATE TABLE outputs (
    batch    INTEGER NOT NULL REFERENCES batches (id),
    -- Its name below the output's folder or prefix.
    path     TEXT    NOT NULL,
    job      INTEGER NOT NULL REFERENCES jobs (id),
    -- SHA-256 of what was written there, in hex; NULL: nothing was so far.
    checksum TEXT,
    PRIMARY KEY (batch, path)
) STRICT, WITHOUT ROWID;

CREATE INDEX outputs_by_job ON outputs (job);

-- What a `forget` removes, one by one. The rows go when its receipt is final: a path often has a key in it.
CREATE TABLE forget_items (
    forget      INTEGER NOT NULL REFERENCES forgets (id),
    nth         INTEGER NOT NULL,
    job         INTEGER NOT NULL REFERENCES jobs (id),
    -- What it is: `row`, `answer`, `callback`, `text`, `output`, `clip`, `vendor`.
    kind        TEXT    NOT NULL,
    -- Where it is: a path below the output, a cache key, the vendor's id of a request. Of a call without one: JSON of what its
    -- entry in the vendor's log shows.
    place       TEXT    NOT NULL,
    -- SHA-256 of what was there, in hex, if that is known; and its length in bytes.
    checksum    TEXT,
    bytes       INTEGER,
    -- `waiting`: still to be removed. `removed`. `absent`: it was gone already. `kept`: another line uses it. `unknown`: it cannot be
    -- found. `refused`: it is tried again.
    state       TEXT    NOT NULL CHECK (state IN ('waiting', 'removed', 'absent', 'kept', 'unknown', 'refused')),
    at          INTEGER,
    -- Why it was not removed, in words.
    why         TEXT,
    PRIMARY KEY (forget, nth)
) STRICT, WITHOUT ROWID;

CREATE INDEX forget_items_by_job ON forget_items (forget, job);
CREATE INDEX forget_items_open ON forget_items (forget, nth) WHERE state IN ('waiting', 'refused');

-- Which definitions wait for calls of a pool, as each process says with the calls that it begins, and at least each
-- heartbeat. A row that is older than a lease counts no more.
CREATE TABLE demand (
    account    TEXT    NOT NULL,
    pool       TEXT    NOT NULL,
    definition TEXT    NOT NULL,
    process    INTEGER NOT NULL REFERENCES processes (id) ON DELETE CASCADE,
    priority   INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 100),
    -- How many lines wait.
    waiting    INTEGER NOT NULL CHECK (waiting > 0),
    seen_at    INTEGER NOT NULL,
    PRIMARY KEY (account, pool, definition, process)
) STRICT;

-- What all processes share about the limits of one pool of an account. The meaning of each column is in `domain/pool.rs`.
CREATE TABLE pools (
    account            TEXT    NOT NULL,
    pool               TEXT    NOT NULL,
    -- Until when no call begins, and how long the next such wait is that no `Retry-After` sets, in ms; 0 is the first.
    cooldown_until     INTEGER NOT NULL,
    cooldown_ms        INTEGER NOT NULL,
    -- The last 20 ended calls, newest in the lowest bit: 1 is a 429. Tells a refusal by chance from a storm.
    refused            INTEGER NOT NULL,
    -- The pace as a share of the limits; 0 stands for 1, never slowed. `remembered` is the pace that the last storm met,
    -- 0 if the pool is not slowed.
    factor             REAL    NOT NULL,
    remembered         REAL    NOT NULL,
    -- Since when the storm lasts; none once a clean round has followed it.
    storm_since        INTEGER,
    -- When the pace was last cut, and when the last 429 came.
    stepped_at         INTEGER NOT NULL,
    limited_at         INTEGER NOT NULL,
    -- The clean round that is under way: when it began, and the answers in it.
    round_since        INTEGER NOT NULL,
    round_clean        INTEGER NOT NULL,
    -- How many calls were in flight when the first 429 of a storm came, where no limit is known.
    base_in_flight     INTEGER,
    -- Since when nothing but 429 is answered.
    only_limited_since INTEGER,
    -- Failures in a row, by whatever line; the line of the last one, and how often it failed with nothing in between.
    failing            INTEGER NOT NULL,
    failing_job        INTEGER,
    failing_times      INTEGER NOT NULL,
    -- An outage: since when, when one call is let through next, and the wait after that one, in ms.
    outage_since       INTEGER,
    probe_at           INTEGER NOT NULL,
    probe_ms           INTEGER NOT NULL,
    PRIMARY KEY (account, pool)
) STRICT, WITHOUT ROWID;

-- Where pronunciations were put. The vendor names a dictionary by its id alone; here it is named by its file.
CREATE TABLE dictionaries (
    account TEXT NOT NULL,
    name    TEXT NOT NULL,
    id      TEXT NOT NULL,
    -- SHA-256 of what it says, in hex.
    hash    TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- Notifications, kept until they are delivered. The address or command is looked up when one is sent, and never kept.
CREATE TABLE notices (
    id            INTEGER PRIMARY KEY,
    -- By which a receiver knows a repeat.
    uid           TEXT    NOT NULL UNIQUE,
    definition    TEXT    NOT NULL,
    batch         TEXT    NOT NULL,
    event         TEXT    NOT NULL,
    -- Which of several like events of one batch it is: the moment it finished, and the like.
    about         TEXT    NOT NULL,
    -- Whether the definition itself names the recipient.
    own           INTEGER NOT NULL CHECK (own IN (0, 1)),
    body          TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
    posted_at     INTEGER NOT NULL,
    -- While it waits: when somebody must look at it again. A taken one is due when its lease has run out.
    due_at        INTEGER,
    leased        INTEGER NOT NULL DEFAULT 0 CHECK (leased IN (0, 1)),
    -- How often it was taken; who takes it writes only while this is its number.
    tries         INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    error         TEXT,
    CHECK ((due_at IS NOT NULL) = (state = 'waiting'))
) STRICT;

CREATE UNIQUE INDEX notices_once ON notices (definition, batch, event, about);
CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_in_turn ON notices (definition, batch, id) WHERE due_at IS NOT NULL;

-- Definitions that run by themselves. All their runs until `settled_to` stand in `runs`, or were let go: a later look finds
-- only what came after. The window is the one that is open now or comes next.
CREATE TABLE schedules (
    definition   TEXT    NOT NULL,
    environment  TEXT    NOT NULL CHECK (environment IN ('live', 'sandbox')),
    settled_to   INTEGER NOT NULL,
    window_from  INTEGER,
    window_until INTEGER,
    -- SHA-256 of the file whose content is in force, in hex, and a JSON array of those that were before it.
    content      TEXT,
    former       TEXT    NOT NULL DEFAULT '[]',
    PRIMARY KEY (definition, environment),
    CHECK ((window_from IS NULL) = (window_until IS NULL))
) STRICT, WITHOUT ROWID;

-- Which content of a definition each service has that keeps its schedule.
CREATE TABLE schedule_nodes (
    definition  TEXT    NOT NULL,
    environment TEXT    NOT NULL CHECK (environment IN ('live', 'sandbox')),
    -- Made when the service starts.
    node        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    host        TEXT    NOT NULL,
    content     TEXT    NOT NULL,
    -- When the service said so last.
    seen_at     INTEGER NOT NULL,
    PRIMARY KEY (definition, environment, node)
) STRICT, WITHOUT ROWID;

-- One run of a definition: noticed in one transaction, and due until its batch was submitted. `at` is the scheduled moment.
CREATE TABLE runs (
    definition  TEXT    NOT NULL,
    environment TEXT    NOT NULL CHECK (environment IN ('live', 'sandbox')),
    at          INTEGER NOT NULL,
    -- What `{date}` means in it.
    date        TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('due', 'started', 'dropped')),
    due_at      INTEGER,
    -- Somebody submits it, until `due_at`; `tries` counts the takings, and only the newest taker writes.
    taken       INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)),
    tries       INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0,
    -- Why it was not started when it was last tried.
    why         TEXT,
    batch       TEXT,
    ended_at    INTEGER,
    PRIMARY KEY (definition, environment, at),
    CHECK ((due_at IS NOT NULL) = (state = 'due')),
    CHECK ((ended_at IS NULL) = (state = 'due')),
    CHECK (state <> 'started' OR batch IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_by_due ON runs (environment, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_batch ON runs (batch, ended_at) WHERE state = 'started';

-- Views for psql, DuckDB and BI tools: the same columns on both engines, described in docs/reference/views.md. They have no
-- texts and no transcripts. Times are ISO 8601 in UTC, money is US dollars at list price.

-- One row a batch.
CREATE VIEW v_batches AS
    SELECT b.name AS batch, b.definition AS definition, b.task AS task, b.environment AS environment,
        CAST(CASE
            WHEN b.submitting_at IS NOT NULL THEN 'submitting'
            WHEN coalesce(n.unfinished, 0) = 0 AND b.cancelled_at IS NOT NULL THEN 'cancelled'
            WHEN b.state = 'paused' THEN 'paused'
            WHEN coalesce(n.unfinished, 0) = 0 AND (b.fed_by IS NULL OR b.finished_at IS NOT NULL) THEN 'finished'
            ELSE 'open'
        END AS TEXT) AS state,
        b.pause_kind AS pause_kind, b.pause_reason AS pause_reason,
        CAST(coalesce(n.lines, 0) AS BIGINT) AS lines,
        CAST(coalesce(n.unfinished, 0) AS BIGINT) AS unfinished,
        CAST(coalesce(n.succeeded, 0) AS BIGINT) AS succeeded,
        CAST(coalesce(n.suspect, 0) AS BIGINT) AS suspect,
        CAST(coalesce(n.failed, 0) AS BIGINT) AS failed,
        CAST(coalesce(n.skipped, 0) AS BIGINT) AS skipped,
        CAST(coalesce(n.cancelled, 0) AS BIGINT) AS cancelled,
        CAST(b.spent / 1000000.0 AS DOUBLE PRECISION) AS cost_usd,
        CAST(b.reserved / 1000000.0 AS DOUBLE PRECISION) AS reserved_usd,
        CAST(b.max_spend / 1000000.0 AS DOUBLE PRECISION) AS max_spend_usd,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', b.submitted_at / 1000, 'unixepoch') || printf('.%03dZ', b.submitted_at % 1000) AS TEXT) AS submitted_at,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', b.started_at / 1000, 'unixepoch') || printf('.%03dZ', b.started_at % 1000) AS TEXT) AS started_at,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', b.finished_at / 1000, 'unixepoch') || printf('.%03dZ', b.finished_at % 1000) AS TEXT) AS finished_at
    FROM batches AS b
    LEFT JOIN (
        SELECT batch, count(*) AS lines,
            sum(CASE WHEN state IN ('queued', 'running', 'awaiting') THEN 1 ELSE 0 END) AS unfinished,
            sum(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END) AS succeeded,
            sum(CASE WHEN state = 'suspect' THEN 1 ELSE 0 END) AS suspect,
            sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END) AS failed,
            sum(CASE WHEN state = 'skipped' THEN 1 ELSE 0 END) AS skipped,
            sum(CASE WHEN state = 'cancelled' THEN 1 ELSE 0 END) AS cancelled
        FROM jobs
        WHERE state <> 'superseded' AND wanted <> 'dropped'
        GROUP BY batch
    ) AS n ON n.batch = b.id;

-- One row a line, or one of its variants, as it counts in `status` and in the report.
CREATE VIEW v_lines AS
    SELECT b.name AS batch, j.line AS line, j.key AS key, j.variant AS variant, j.kind AS task, j.state AS state,
        j.wanted AS wanted,
        CAST(coalesce(j.overrides ->> 'model', b.model) AS TEXT) AS model,
        CAST(coalesce(j.overrides ->> 'language', b.language) AS TEXT) AS language,
        CAST(coalesce(j.overrides ->> 'voice_id', b.voice_id) AS TEXT) AS voice_id,
        CAST(coalesce(CAST(j.facts ->> 'audio_ms' AS BIGINT), CASE b.unit WHEN 'audio_ms' THEN j.units END) / 1000.0
            AS DOUBLE PRECISION) AS audio_seconds,
        CAST(CASE b.unit WHEN 'characters' THEN j.units END AS BIGINT) AS characters,
        CAST((SELECT coalesce(sum(c.cost), 0) FROM calls AS c WHERE c.job = j.id) / 1000000.0 AS DOUBLE PRECISION) AS cost_usd,
        CAST(j.source_tries + (SELECT coalesce(sum(c.counts), 0) FROM calls AS c WHERE c.job = j.id AND c.generation = j.generation)
            AS BIGINT) AS tries,
        CAST((SELECT count(*) FROM calls AS c WHERE c.job = j.id AND c.state NOT IN ('sent', 'accepted', 'rejected'))
            AS BIGINT) AS billed_calls,
        j.error_kind AS error_kind, j.notes AS notes, j.request_id AS request_id,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', j.submitted_at / 1000, 'unixepoch') || printf('.%03dZ', j.submitted_at % 1000) AS TEXT) AS submitted_at,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', j.started_at / 1000, 'unixepoch') || printf('.%03dZ', j.started_at % 1000) AS TEXT) AS started_at,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', j.finished_at / 1000, 'unixepoch') || printf('.%03dZ', j.finished_at % 1000) AS TEXT) AS finished_at
    FROM jobs AS j
    JOIN (
        SELECT id, name, unit, spec ->> '$.asked.options.model' AS model, spec ->> '$.asked.options.language' AS language, spec ->> '$.asked.options.voice_id' AS voice_id
        FROM batches
    ) AS b ON b.id = j.batch
    WHERE j.state <> 'superseded' AND j.wanted <> 'dropped';

-- One row a call.
CREATE VIEW v_calls AS
    SELECT b.name AS batch, j.key AS key, j.variant AS variant, c.part AS part, b.environment AS environment, c.account AS account,
        c.pool AS pool, CAST(c.request ->> 'model' AS TEXT) AS model, CAST(c.request ->> 'language' AS TEXT) AS language,
        c.state AS state, c.why AS why,
        CAST(CASE b.unit WHEN 'audio_ms' THEN c.units END / 1000.0 AS DOUBLE PRECISION) AS audio_seconds,
        CAST(CASE b.unit WHEN 'characters' THEN c.units END AS BIGINT) AS characters,
        CAST(c.cost / 1000000.0 AS DOUBLE PRECISION) AS cost_usd,
        CAST(c.reserve / 1000000.0 AS DOUBLE PRECISION) AS reserved_usd,
        c.status AS status, c.error_kind AS error_kind, c.request_id AS request_id,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', c.sent_at / 1000, 'unixepoch') || printf('.%03dZ', c.sent_at % 1000) AS TEXT) AS sent_at,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', c.ended_at / 1000, 'unixepoch') || printf('.%03dZ', c.ended_at % 1000) AS TEXT) AS ended_at,
        CAST((c.ended_at - c.sent_at) / 1000.0 AS DOUBLE PRECISION) AS seconds
    FROM calls AS c
    JOIN jobs AS j ON j.id = c.job
    JOIN batches AS b ON b.id = c.batch;

-- One row a quarter of an hour of an account.
CREATE VIEW v_spend AS
    SELECT s.account AS account, s.environment AS environment,
        CAST(strftime('%Y-%m-%dT%H:%M:%S', s.quarter / 1000, 'unixepoch') || printf('.%03dZ', s.quarter % 1000) AS TEXT) AS from_at,
        CAST(s.spent / 1000000.0 AS DOUBLE PRECISION) AS cost_usd,
        CAST(s.reserved / 1000000.0 AS DOUBLE PRECISION) AS reserved_usd
    FROM spending AS s;
