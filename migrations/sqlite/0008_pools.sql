-- How a pool tells few refusals from a storm of them, comes back from a storm, and whose fault a lone line's failures are.

ALTER TABLE pools ADD COLUMN refused       INTEGER NOT NULL DEFAULT 0; -- the last 20 ended calls, newest in the lowest bit: 1 = a 429
ALTER TABLE pools ADD COLUMN remembered    REAL    NOT NULL DEFAULT 0; -- the pace that the last storm met; 0 = not slowed
ALTER TABLE pools ADD COLUMN storm_since   INTEGER;                    -- until a clean round follows it
ALTER TABLE pools ADD COLUMN round_since   INTEGER NOT NULL DEFAULT 0; -- when the clean round that is under way began
ALTER TABLE pools ADD COLUMN round_clean   INTEGER NOT NULL DEFAULT 0; -- clean answers in it
ALTER TABLE pools ADD COLUMN failing_times INTEGER NOT NULL DEFAULT 0; -- failures in a row of failing_job, with nothing in between

-- What was slowed by the rule before this one comes back by this one.
UPDATE pools SET remembered = 1 WHERE factor > 0;
