-- A call whose answer is posted to us: until then (counted from its intent) nobody asks for it.
ALTER TABLE calls ADD COLUMN overdue_at INTEGER;

-- What was posted for calls. The first good one is the call's answer and stands among the answers; another body is kept here.
CREATE TABLE callbacks (
    id          INTEGER PRIMARY KEY,
    call        BLOB    NOT NULL REFERENCES calls (id),
    received_at INTEGER NOT NULL,
    -- How often the same came.
    times       INTEGER NOT NULL,
    digest      BLOB    NOT NULL,
    effect      TEXT    NOT NULL CHECK (effect IN ('answered', 'surplus', 'failed', 'other', 'ignored')),
    packed      INTEGER,
    bytes       INTEGER NOT NULL,
    body        BLOB,
    CHECK ((packed IS NULL) = (body IS NULL))
) STRICT;
CREATE UNIQUE INDEX callbacks_by_call ON callbacks (call, digest);
