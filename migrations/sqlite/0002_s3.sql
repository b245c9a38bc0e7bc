-- What the listing of a prefix knew of a recording: a fetch that finds another object fails its line.
ALTER TABLE jobs ADD COLUMN source_bytes INTEGER;
ALTER TABLE jobs ADD COLUMN source_etag  TEXT;
