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
