-- What every segment has, whatever kinds and fields there are: layout.rs makes the other tables from
-- the schema of the trail, views.rs the views over all of them. docs/STORE.md draws it.

-- What the segment is: host, boot_id, agent_version, begin, end (once closed).
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Events have ids in the order they were recorded, across all tables. From first_id to the next
-- row's, host, host_id and run are these, the event's sequence is id + sequence_offset, and the run
-- is the one that began then. run is what the events say, NULL where they say nothing; run_began is
-- then when the store first saw the run.
CREATE TABLE stretch(
    first_id INTEGER PRIMARY KEY,
    sequence_offset INTEGER NOT NULL,
    host TEXT NOT NULL,
    host_id TEXT,
    run INTEGER,
    run_began INTEGER NOT NULL
);

-- Between which times events are, for a few hundred of them each: those up to last_id that no row before
-- tells of. The last events may have no row yet.
CREATE TABLE time_range(
    last_id INTEGER PRIMARY KEY,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL
);

-- Each text once. raw is there when the bytes are not valid UTF-8; text is then what is shown.
CREATE TABLE strings(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL, raw BLOB);
CREATE INDEX strings_by_hash ON strings(hash);

-- Each process an event refers to, also one known by its id or its key alone.
CREATE TABLE process(id INTEGER PRIMARY KEY, process_id INTEGER, process_key TEXT);
CREATE INDEX process_by_key ON process(process_key);
CREATE INDEX process_by_id ON process(process_id);
