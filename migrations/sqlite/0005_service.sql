-- A service starts calls of a scheduled batch only within its window.
ALTER TABLE batches ADD COLUMN window_from  INTEGER;
ALTER TABLE batches ADD COLUMN window_until INTEGER;

-- Since when it is paused. A service lets one line through now and then, to see whether the wall still stands: `probing` is
-- 1 until that line is chosen, and then its job's id below zero.
ALTER TABLE batches ADD COLUMN paused_at INTEGER;
ALTER TABLE batches ADD COLUMN probing   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN probed_at INTEGER;
CREATE INDEX batches_probing ON batches (id) WHERE probing;

-- How it stood when its report was written last.
ALTER TABLE batches ADD COLUMN told TEXT;
UPDATE batches SET told = 'finished ' || finished_at WHERE finished_at IS NOT NULL;
UPDATE batches SET paused_at = resumed_at WHERE state = 'paused';
