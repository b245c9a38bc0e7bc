-- Definitions that run by themselves. All their runs until `settled_to` stand in `runs`, or were let go: a later look
-- finds only what came after. The window is the one that is open now or comes next.
CREATE TABLE schedules (
    definition   TEXT    NOT NULL,
    world        TEXT    NOT NULL CHECK (world IN ('waves', 'sandbox')),
    settled_to   INTEGER NOT NULL,
    window_from  INTEGER,
    window_until INTEGER,
    PRIMARY KEY (definition, world),
    CHECK ((window_from IS NULL) = (window_until IS NULL))
) STRICT, WITHOUT ROWID;

-- One run: noticed in one transaction, and due until its batch was submitted. `at` is the scheduled moment.
CREATE TABLE runs (
    definition TEXT    NOT NULL,
    world      TEXT    NOT NULL CHECK (world IN ('waves', 'sandbox')),
    at         INTEGER NOT NULL,
    date       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('due', 'started', 'dropped')),
    due_at     INTEGER,
    -- Somebody submits it, until `due_at`; proved by `tries`, which counts the takings.
    taken      INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)),
    tries      INTEGER NOT NULL DEFAULT 0,
    failures   INTEGER NOT NULL DEFAULT 0,
    -- Why it was not started when it was last tried, as it was told.
    why        TEXT,
    batch      TEXT,
    ended_at   INTEGER,
    PRIMARY KEY (definition, world, at),
    CHECK ((due_at IS NOT NULL) = (state = 'due')),
    CHECK ((ended_at IS NULL) = (state = 'due')),
    CHECK (state <> 'started' OR batch IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_by_due ON runs (world, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_batch ON runs (batch, ended_at) WHERE state = 'started';

-- A batch that appears, or that goes on, has its window at once: a service that works beside the submission is not to
-- begin its calls at noon.
CREATE TRIGGER window_of_new_batch AFTER INSERT ON batches
WHEN EXISTS (SELECT 1 FROM schedules s WHERE s.definition = NEW.definition AND s.world = NEW.world)
BEGIN
    UPDATE batches SET (window_from, window_until) =
        (SELECT s.window_from, s.window_until FROM schedules s WHERE s.definition = NEW.definition AND s.world = NEW.world)
    WHERE id = NEW.id;
END;

CREATE TRIGGER window_of_unfinished_batch AFTER UPDATE OF finished_at ON batches
WHEN OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL
    AND EXISTS (SELECT 1 FROM schedules s WHERE s.definition = NEW.definition AND s.world = NEW.world)
BEGIN
    UPDATE batches SET (window_from, window_until) =
        (SELECT s.window_from, s.window_until FROM schedules s WHERE s.definition = NEW.definition AND s.world = NEW.world)
    WHERE id = NEW.id;
END;
