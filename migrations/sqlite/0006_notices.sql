-- What somebody is to be told of, kept until it is told: never the address or the command, which are looked up when it is
-- sent.
CREATE TABLE notices (
    id            INTEGER PRIMARY KEY,
    -- By which a receiver knows a repeat.
    uid           TEXT    NOT NULL UNIQUE,
    definition    TEXT    NOT NULL,
    batch         TEXT    NOT NULL,
    event         TEXT    NOT NULL CHECK (event IN ('finished', 'paused', 'could_not_start', 'window_closed')),
    -- Which of several like events of one batch: the moment it finished, and the like.
    about         TEXT    NOT NULL,
    -- Whether the definition itself names who is told.
    own           INTEGER NOT NULL,
    body          TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('waiting', 'told', 'given_up')),
    posted_at     INTEGER NOT NULL,
    -- While it waits: when somebody must look at it again. A taken one is due when its lease has run out.
    due_at        INTEGER,
    leased        INTEGER NOT NULL DEFAULT 0,
    -- How often it was taken; who takes it writes only while this is its number.
    tries         INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    error         TEXT,
    CHECK ((due_at IS NOT NULL) = (state = 'waiting'))
) STRICT;
CREATE UNIQUE INDEX notices_once ON notices (definition, batch, event, about);
CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_in_turn ON notices (definition, batch, id) WHERE due_at IS NOT NULL;
