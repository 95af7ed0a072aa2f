-- Version 1 of a segment. docs/STORE.md draws it; views.rs makes the views over it.

-- What the segment is: host, boot_id, agent_version, begin, end (once closed).
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Events have ids in the order they were recorded, across all tables. From first_id to the next
-- row's, the host is this one, the event's sequence is id + sequence_offset, and the run is the one
-- that began then.
CREATE TABLE stretch(
    first_id INTEGER PRIMARY KEY,
    sequence_offset INTEGER NOT NULL,
    host TEXT NOT NULL,
    run_began INTEGER NOT NULL
);

-- Each text once. raw is there when the bytes are not valid UTF-8; text is then what is shown.
CREATE TABLE strings(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL, raw BLOB);
CREATE INDEX strings_by_hash ON strings(hash);

-- Each process an event refers to, also one known by its id or its key alone.
CREATE TABLE process(id INTEGER PRIMARY KEY, process_id INTEGER, process_key TEXT);
CREATE INDEX process_by_key ON process(process_key);
CREATE INDEX process_by_id ON process(process_id);

-- Each program once. command holds the arguments with U+001F between them where command_line is the
-- same with spaces; where it is not, command_line stands by itself, and arguments is the JSON object
-- of arguments and arguments_raw.
CREATE TABLE program(
    id INTEGER PRIMARY KEY,
    image INTEGER,
    command INTEGER,
    user INTEGER,
    user_id, -- a uid is an integer, a SID a text
    script INTEGER,
    image_deleted INTEGER NOT NULL,
    command_line INTEGER,
    arguments INTEGER
);
CREATE INDEX program_by_text ON program(command, arguments, command_line);

-- Each image as it is mapped, once; load_count is the number of its rows in image_load.
CREATE TABLE image(
    id INTEGER PRIMARY KEY,
    image INTEGER,
    image_size INTEGER NOT NULL,
    image_deleted INTEGER NOT NULL,
    kernel_image INTEGER NOT NULL,
    existing INTEGER NOT NULL,
    notes INTEGER,
    load_count INTEGER NOT NULL
);
CREATE INDEX image_by_image ON image(image);

CREATE TABLE process_start(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    parent INTEGER,
    program INTEGER NOT NULL,
    creator_process_id INTEGER,
    creator_thread_id INTEGER,
    session_id INTEGER,
    existing INTEGER NOT NULL,
    notes INTEGER
);
CREATE INDEX process_start_by_time ON process_start(time);
CREATE INDEX process_start_by_process ON process_start(process);

CREATE TABLE process_exec(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    program INTEGER NOT NULL,
    notes INTEGER
);
CREATE INDEX process_exec_by_time ON process_exec(time);
CREATE INDEX process_exec_by_process ON process_exec(process);

CREATE TABLE process_exit(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    exit_code INTEGER,
    signal INTEGER,
    core_dumped INTEGER NOT NULL,
    image INTEGER,
    run_time_ns INTEGER,
    notes INTEGER
);
CREATE INDEX process_exit_by_time ON process_exit(time);
CREATE INDEX process_exit_by_process ON process_exit(process);

-- What an earlier segment knows of a process that still ran when this one was begun; no event.
CREATE TABLE process_carried(
    process INTEGER PRIMARY KEY,
    time INTEGER,
    parent INTEGER,
    program INTEGER,
    creator_process_id INTEGER,
    creator_thread_id INTEGER,
    session_id INTEGER,
    existing INTEGER NOT NULL,
    exec_count INTEGER NOT NULL,
    exec_time INTEGER,
    run_began INTEGER NOT NULL
);

-- The creator's ids are told as differences from the process's id: mostly 0, which takes no room.
CREATE TABLE thread_start(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    thread_id INTEGER NOT NULL,
    creator_process_offset INTEGER,
    creator_thread_offset INTEGER,
    remote INTEGER NOT NULL,
    start_address INTEGER,
    notes INTEGER
);
CREATE INDEX thread_start_by_time ON thread_start(time);
CREATE INDEX thread_start_by_process ON thread_start(process, thread_id);

CREATE TABLE thread_exit(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    thread_id INTEGER NOT NULL,
    notes INTEGER
);
CREATE INDEX thread_exit_by_time ON thread_exit(time);
CREATE INDEX thread_exit_by_process ON thread_exit(process, thread_id);

CREATE TABLE image_load(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    image INTEGER NOT NULL,
    image_base INTEGER NOT NULL
);
CREATE INDEX image_load_by_time ON image_load(time);
CREATE INDEX image_load_by_process ON image_load(process);

-- Events about the recording itself: lost, sensor_start, sensor_stop.
CREATE TABLE mark(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    lost_kind INTEGER,
    lost_count INTEGER,
    lost_reason TEXT,
    source TEXT,
    version TEXT,
    account TEXT,
    notes INTEGER
);
CREATE INDEX mark_by_time ON mark(time);
CREATE INDEX mark_by_process ON mark(process);
