-- Texts that are spoken, each once however many voices and formats it has. `body` is raw DEFLATE where `packed` is 1.
CREATE TABLE texts (
    id         BLOB    PRIMARY KEY,
    packed     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

ALTER TABLE jobs ADD COLUMN text         BLOB REFERENCES texts (id);
ALTER TABLE jobs ADD COLUMN characters   INTEGER;
ALTER TABLE jobs ADD COLUMN parts        INTEGER;
ALTER TABLE jobs ADD COLUMN reused_parts INTEGER;
CREATE INDEX jobs_by_text ON jobs (text) WHERE text IS NOT NULL;
CREATE INDEX jobs_by_speech ON jobs (batch, state, characters, parts, reused_parts) WHERE text IS NOT NULL;

-- A queued job may wait for the end of a call that buys the same sound for somebody else.
ALTER TABLE jobs ADD COLUMN waits_for BLOB;
CREATE INDEX jobs_by_wait ON jobs (waits_for) WHERE waits_for IS NOT NULL;

-- What a part's sound is named by in the spool, the length of its text, and of the file that answered.
ALTER TABLE calls ADD COLUMN fingerprint BLOB;
ALTER TABLE calls ADD COLUMN characters  INTEGER;
ALTER TABLE calls ADD COLUMN bytes       INTEGER;
CREATE UNIQUE INDEX calls_sound_open ON calls (account, fingerprint) WHERE state IN ('sent', 'accepted') AND fingerprint IS NOT NULL;
CREATE INDEX calls_sound_lost ON calls (fingerprint) WHERE state = 'lost' AND fingerprint IS NOT NULL;
CREATE INDEX calls_sound_kept ON calls (fingerprint, ended_at) WHERE state = 'answered' AND fingerprint IS NOT NULL;

-- Parts that needed no call of their job: their sound was in the spool.
CREATE TABLE reused (
    job         INTEGER NOT NULL REFERENCES jobs (id),
    part        INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    characters  INTEGER NOT NULL,
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX reused_by_sound ON reused (fingerprint);

-- Parts that the user wants spoken again: what the spool had then will not do. Part -1 is all of them.
CREATE TABLE anew (
    job  INTEGER NOT NULL REFERENCES jobs (id),
    part INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;

-- Parts that make a job suspect: its `retry` buys these, and not the whole book.
CREATE TABLE doubtful (
    job        INTEGER NOT NULL REFERENCES jobs (id),
    part       INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;

-- Where pronunciations were put. The vendor gives a dictionary no name but its id; here it is called by its file.
CREATE TABLE dictionaries (
    account TEXT NOT NULL,
    name    TEXT NOT NULL,
    id      TEXT NOT NULL,
    hash    TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
