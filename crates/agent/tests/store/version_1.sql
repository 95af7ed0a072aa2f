PRAGMA application_id = 1400460402;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "image" VALUES(1,7,1048576,1,1,1,1,1);
CREATE TABLE image_load(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    image INTEGER NOT NULL,
    image_base INTEGER NOT NULL
);
INSERT INTO "image_load" VALUES(6,1795276799000000007,1,1,139716164218880);
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
INSERT INTO "mark" VALUES(7,1795276799000000007,1,240,16,17,'buffer_full',NULL,NULL,NULL,1);
INSERT INTO "mark" VALUES(8,1795276799000000007,1,241,NULL,NULL,NULL,'ebpf','0.1.0',NULL,1);
INSERT INTO "mark" VALUES(9,1795276799000000007,1,242,NULL,NULL,NULL,'ebpf','0.1.0','{"source":"ebpf","duration_ns":1000000000,"balanced":true,"kinds":{"process_start":{"produced":5,"delivered":3,"lost":2,"excluded":1},"process_exec":{"produced":0,"delivered":0,"lost":0,"excluded":0},"process_exit":{"produced":0,"delivered":0,"lost":0,"excluded":0},"thread_start":{"produced":0,"delivered":0,"lost":0,"excluded":0},"thread_exit":{"produced":0,"delivered":0,"lost":0,"excluded":0},"image_load":{"produced":0,"delivered":0,"lost":0,"excluded":0}},"queues":[{"name":"process buffer","peak":4096,"limit":1048576,"unit":"bytes"}],"sinks":[{"name":"log","written":3,"lost":0}]}',1);
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO "meta" VALUES('agent_version','0.1.0');
INSERT INTO "meta" VALUES('begin',1795379121885187520);
INSERT INTO "meta" VALUES('boot_id','00000000000000000000000000000000');
INSERT INTO "meta" VALUES('host','machine');
CREATE TABLE process(id INTEGER PRIMARY KEY, process_id INTEGER, process_key TEXT);
INSERT INTO "process" VALUES(1,4242,'0123456789abcdef');
INSERT INTO "process" VALUES(2,1,'0000000000000007');
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
CREATE TABLE process_exec(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    program INTEGER NOT NULL,
    notes INTEGER
);
INSERT INTO "process_exec" VALUES(2,1795276799000000007,1,2,1);
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
INSERT INTO "process_exit" VALUES(3,1795276799000000007,1,139,11,1,2,12345678,1);
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
INSERT INTO "process_start" VALUES(1,1795276799000000007,1,2,1,2,3,9,1,1);
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
INSERT INTO "program" VALUES(1,2,NULL,3,0,NULL,1,4,5);
INSERT INTO "program" VALUES(2,2,NULL,3,0,6,1,4,5);
CREATE TABLE stretch(
    first_id INTEGER PRIMARY KEY,
    sequence_offset INTEGER NOT NULL,
    host TEXT NOT NULL,
    run_began INTEGER NOT NULL
);
INSERT INTO "stretch" VALUES(1,0,'machine',1795276799000000007);
INSERT INTO "stretch" VALUES(8,0,'machine',1795276799000000007);
CREATE TABLE strings(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL, raw BLOB);
INSERT INTO "strings" VALUES(1,4416566887073656542,'{"truncated":["arguments","command_line"],"missing":{"user":"unknown"}}',NULL);
INSERT INTO "strings" VALUES(2,5004733982833361261,'/bin/caf�',X'2F62696E2F636166E9');
INSERT INTO "strings" VALUES(3,-6677434033858385979,'root',NULL);
INSERT INTO "strings" VALUES(4,-6382590953376781304,'caf� one',X'636166E9206F6E65');
INSERT INTO "strings" VALUES(5,-4776812512734091805,'{"arguments":["caf�","one"],"arguments_raw":["636166e9","6f6e65"]}',NULL);
INSERT INTO "strings" VALUES(6,4781984537097771032,'/caf�.sh',X'2F636166E92E7368');
INSERT INTO "strings" VALUES(7,-4980733765428834187,'/lib/caf�.so',X'2F6C69622F636166E92E736F');
CREATE TABLE thread_exit(
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    process INTEGER NOT NULL,
    thread_id INTEGER NOT NULL,
    notes INTEGER
);
INSERT INTO "thread_exit" VALUES(5,1795276799000000007,1,4243,1);
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
INSERT INTO "thread_start" VALUES(4,1795276799000000007,1,4243,-4241,-4240,1,140733193392128,1);
CREATE INDEX strings_by_hash ON strings(hash);
CREATE INDEX process_by_key ON process(process_key);
CREATE INDEX process_by_id ON process(process_id);
CREATE INDEX program_by_text ON program(command, arguments, command_line);
CREATE INDEX image_by_image ON image(image);
CREATE INDEX process_start_by_time ON process_start(time);
CREATE INDEX process_start_by_process ON process_start(process);
CREATE INDEX process_exec_by_time ON process_exec(time);
CREATE INDEX process_exec_by_process ON process_exec(process);
CREATE INDEX process_exit_by_time ON process_exit(time);
CREATE INDEX process_exit_by_process ON process_exit(process);
CREATE INDEX thread_start_by_time ON thread_start(time);
CREATE INDEX thread_start_by_process ON thread_start(process, thread_id);
CREATE INDEX thread_exit_by_time ON thread_exit(time);
CREATE INDEX thread_exit_by_process ON thread_exit(process, thread_id);
CREATE INDEX image_load_by_time ON image_load(time);
CREATE INDEX image_load_by_process ON image_load(process);
CREATE INDEX mark_by_time ON mark(time);
CREATE INDEX mark_by_process ON mark(process);
CREATE VIEW events AS SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, 'process_start' AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, q.process_id AS parent_process_id, q.process_key AS parent_process_key, e.creator_process_id AS creator_process_id, e.creator_thread_id AS creator_thread_id, (SELECT text FROM strings WHERE id = g.image) AS image, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = g.image) AS image_raw, nullif(g.image_deleted, 0) AS image_deleted, coalesce((SELECT replace(text, char(31), ' ') FROM strings WHERE id = g.command), (SELECT text FROM strings WHERE id = g.command_line)) AS command_line, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = g.command_line) AS command_line_raw, coalesce((SELECT '[' || replace(json_quote(text), '\u001f', '","') || ']' FROM strings WHERE id = g.command), (SELECT json_extract(text, '$.arguments') FROM strings WHERE id = g.arguments)) AS arguments, (SELECT json_extract(text, '$.arguments_raw') FROM strings WHERE id = g.arguments) AS arguments_raw, (SELECT text FROM strings WHERE id = g.user) AS user, g.user_id AS user_id, NULL AS script, NULL AS script_raw, e.session_id AS session_id, e.existing AS existing, NULL AS exit_code, NULL AS signal, NULL AS core_dumped, NULL AS run_time_ns, NULL AS thread_id, NULL AS remote, NULL AS start_address, NULL AS image_base, NULL AS image_size, NULL AS kernel_image, NULL AS lost_kind, NULL AS lost_count, NULL AS lost_reason, NULL AS source, NULL AS version, NULL AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = e.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = e.notes) AS missing FROM process_start AS e LEFT JOIN process AS p ON p.id = e.process LEFT JOIN program AS g ON g.id = e.program LEFT JOIN process AS q ON q.id = e.parent UNION ALL SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, 'process_exec' AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, NULL AS parent_process_id, NULL AS parent_process_key, NULL AS creator_process_id, NULL AS creator_thread_id, (SELECT text FROM strings WHERE id = g.image) AS image, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = g.image) AS image_raw, nullif(g.image_deleted, 0) AS image_deleted, coalesce((SELECT replace(text, char(31), ' ') FROM strings WHERE id = g.command), (SELECT text FROM strings WHERE id = g.command_line)) AS command_line, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = g.command_line) AS command_line_raw, coalesce((SELECT '[' || replace(json_quote(text), '\u001f', '","') || ']' FROM strings WHERE id = g.command), (SELECT json_extract(text, '$.arguments') FROM strings WHERE id = g.arguments)) AS arguments, (SELECT json_extract(text, '$.arguments_raw') FROM strings WHERE id = g.arguments) AS arguments_raw, (SELECT text FROM strings WHERE id = g.user) AS user, g.user_id AS user_id, (SELECT text FROM strings WHERE id = g.script) AS script, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = g.script) AS script_raw, NULL AS session_id, NULL AS existing, NULL AS exit_code, NULL AS signal, NULL AS core_dumped, NULL AS run_time_ns, NULL AS thread_id, NULL AS remote, NULL AS start_address, NULL AS image_base, NULL AS image_size, NULL AS kernel_image, NULL AS lost_kind, NULL AS lost_count, NULL AS lost_reason, NULL AS source, NULL AS version, NULL AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = e.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = e.notes) AS missing FROM process_exec AS e LEFT JOIN process AS p ON p.id = e.process LEFT JOIN program AS g ON g.id = e.program UNION ALL SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, 'process_exit' AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, NULL AS parent_process_id, NULL AS parent_process_key, NULL AS creator_process_id, NULL AS creator_thread_id, (SELECT text FROM strings WHERE id = e.image) AS image, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = e.image) AS image_raw, NULL AS image_deleted, NULL AS command_line, NULL AS command_line_raw, NULL AS arguments, NULL AS arguments_raw, NULL AS user, NULL AS user_id, NULL AS script, NULL AS script_raw, NULL AS session_id, NULL AS existing, e.exit_code AS exit_code, e.signal AS signal, nullif(e.core_dumped, 0) AS core_dumped, e.run_time_ns AS run_time_ns, NULL AS thread_id, NULL AS remote, NULL AS start_address, NULL AS image_base, NULL AS image_size, NULL AS kernel_image, NULL AS lost_kind, NULL AS lost_count, NULL AS lost_reason, NULL AS source, NULL AS version, NULL AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = e.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = e.notes) AS missing FROM process_exit AS e LEFT JOIN process AS p ON p.id = e.process  UNION ALL SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, 'thread_start' AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, NULL AS parent_process_id, NULL AS parent_process_key, p.process_id + e.creator_process_offset AS creator_process_id, p.process_id + e.creator_thread_offset AS creator_thread_id, NULL AS image, NULL AS image_raw, NULL AS image_deleted, NULL AS command_line, NULL AS command_line_raw, NULL AS arguments, NULL AS arguments_raw, NULL AS user, NULL AS user_id, NULL AS script, NULL AS script_raw, NULL AS session_id, NULL AS existing, NULL AS exit_code, NULL AS signal, NULL AS core_dumped, NULL AS run_time_ns, e.thread_id AS thread_id, e.remote AS remote, CASE WHEN e.start_address IS NOT NULL THEN printf('0x%x', e.start_address) END AS start_address, NULL AS image_base, NULL AS image_size, NULL AS kernel_image, NULL AS lost_kind, NULL AS lost_count, NULL AS lost_reason, NULL AS source, NULL AS version, NULL AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = e.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = e.notes) AS missing FROM thread_start AS e LEFT JOIN process AS p ON p.id = e.process  UNION ALL SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, 'thread_exit' AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, NULL AS parent_process_id, NULL AS parent_process_key, NULL AS creator_process_id, NULL AS creator_thread_id, NULL AS image, NULL AS image_raw, NULL AS image_deleted, NULL AS command_line, NULL AS command_line_raw, NULL AS arguments, NULL AS arguments_raw, NULL AS user, NULL AS user_id, NULL AS script, NULL AS script_raw, NULL AS session_id, NULL AS existing, NULL AS exit_code, NULL AS signal, NULL AS core_dumped, NULL AS run_time_ns, e.thread_id AS thread_id, NULL AS remote, NULL AS start_address, NULL AS image_base, NULL AS image_size, NULL AS kernel_image, NULL AS lost_kind, NULL AS lost_count, NULL AS lost_reason, NULL AS source, NULL AS version, NULL AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = e.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = e.notes) AS missing FROM thread_exit AS e LEFT JOIN process AS p ON p.id = e.process  UNION ALL SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, 'image_load' AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, NULL AS parent_process_id, NULL AS parent_process_key, NULL AS creator_process_id, NULL AS creator_thread_id, (SELECT text FROM strings WHERE id = i.image) AS image, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = i.image) AS image_raw, nullif(i.image_deleted, 0) AS image_deleted, NULL AS command_line, NULL AS command_line_raw, NULL AS arguments, NULL AS arguments_raw, NULL AS user, NULL AS user_id, NULL AS script, NULL AS script_raw, NULL AS session_id, i.existing AS existing, NULL AS exit_code, NULL AS signal, NULL AS core_dumped, NULL AS run_time_ns, NULL AS thread_id, NULL AS remote, NULL AS start_address, CASE WHEN e.image_base IS NOT NULL THEN printf('0x%x', e.image_base) END AS image_base, i.image_size AS image_size, i.kernel_image AS kernel_image, NULL AS lost_kind, NULL AS lost_count, NULL AS lost_reason, NULL AS source, NULL AS version, NULL AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = i.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = i.notes) AS missing FROM image_load AS e LEFT JOIN process AS p ON p.id = e.process LEFT JOIN image AS i ON i.id = e.image UNION ALL SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, CASE e.kind WHEN 1 THEN 'process_start' WHEN 2 THEN 'process_exec' WHEN 3 THEN 'process_exit' WHEN 16 THEN 'thread_start' WHEN 17 THEN 'thread_exit' WHEN 32 THEN 'image_load' WHEN 240 THEN 'lost' WHEN 241 THEN 'sensor_start' WHEN 242 THEN 'sensor_stop' ELSE 'kind_' || e.kind END AS kind, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, NULL AS parent_process_id, NULL AS parent_process_key, NULL AS creator_process_id, NULL AS creator_thread_id, NULL AS image, NULL AS image_raw, NULL AS image_deleted, NULL AS command_line, NULL AS command_line_raw, NULL AS arguments, NULL AS arguments_raw, NULL AS user, NULL AS user_id, NULL AS script, NULL AS script_raw, NULL AS session_id, NULL AS existing, NULL AS exit_code, NULL AS signal, NULL AS core_dumped, NULL AS run_time_ns, NULL AS thread_id, NULL AS remote, NULL AS start_address, NULL AS image_base, NULL AS image_size, NULL AS kernel_image, CASE WHEN e.lost_kind IS NOT NULL THEN CASE e.lost_kind WHEN 1 THEN 'process_start' WHEN 2 THEN 'process_exec' WHEN 3 THEN 'process_exit' WHEN 16 THEN 'thread_start' WHEN 17 THEN 'thread_exit' WHEN 32 THEN 'image_load' WHEN 240 THEN 'lost' WHEN 241 THEN 'sensor_start' WHEN 242 THEN 'sensor_stop' ELSE 'kind_' || e.lost_kind END END AS lost_kind, e.lost_count AS lost_count, e.lost_reason AS lost_reason, e.source AS source, e.version AS version, e.account AS account, (SELECT json_extract(text, '$.truncated') FROM strings WHERE id = e.notes) AS truncated, (SELECT json_extract(text, '$.missing') FROM strings WHERE id = e.notes) AS missing FROM mark AS e LEFT JOIN process AS p ON p.id = e.process;
CREATE VIEW processes AS SELECT p.process_id AS process_id, p.process_key AS process_key, x.id IS NULL AND coalesce((SELECT h.run_began FROM stretch AS h WHERE h.first_id <= coalesce(max(l.id, e.id), l.id, e.id) ORDER BY h.first_id DESC LIMIT 1), c.run_began) = (SELECT max(run_began) FROM stretch) AS running, coalesce(s.time, c.time) AS start_time, strftime('%Y-%m-%dT%H:%M:%S', (coalesce(s.time, c.time)) / 1000000000, 'unixepoch') || printf('.%09dZ', (coalesce(s.time, c.time)) % 1000000000) AS start_time_text, coalesce(s.existing, c.existing) AS existing, (SELECT process_id FROM process WHERE id = coalesce(s.parent, c.parent)) AS parent_process_id, (SELECT process_key FROM process WHERE id = coalesce(s.parent, c.parent)) AS parent_process_key, (SELECT s.text FROM program AS l JOIN strings AS s ON s.id = l.image WHERE l.id = coalesce((SELECT program FROM (SELECT id, program FROM process_exec WHERE process = coalesce(s.parent, c.parent) UNION ALL SELECT id, program FROM process_start WHERE process = coalesce(s.parent, c.parent)) ORDER BY id DESC LIMIT 1), (SELECT program FROM process_carried WHERE process = coalesce(s.parent, c.parent)))) AS parent_image, (WITH RECURSIVE up(process, level) AS (SELECT coalesce(s.parent, c.parent), 1 UNION ALL SELECT coalesce((SELECT parent FROM process_start WHERE process = up.process ORDER BY id LIMIT 1), (SELECT parent FROM process_carried WHERE process = up.process)), level + 1 FROM up WHERE up.process IS NOT NULL AND level < 16) SELECT group_concat(image, ' > ') FROM (SELECT (SELECT s.text FROM program AS l JOIN strings AS s ON s.id = l.image WHERE l.id = coalesce((SELECT program FROM (SELECT id, program FROM process_exec WHERE process = up.process UNION ALL SELECT id, program FROM process_start WHERE process = up.process) ORDER BY id DESC LIMIT 1), (SELECT program FROM process_carried WHERE process = up.process))) AS image FROM up WHERE up.process IS NOT NULL ORDER BY level DESC)) AS ancestry, coalesce(s.creator_process_id, c.creator_process_id) AS creator_process_id, coalesce(s.creator_thread_id, c.creator_thread_id) AS creator_thread_id, coalesce(s.session_id, c.session_id) AS session_id, (SELECT host FROM stretch AS h WHERE h.first_id <= coalesce(s.id, e.id, x.id, h.first_id) ORDER BY h.first_id DESC LIMIT 1) AS host, coalesce((SELECT text FROM strings WHERE id = g.image), (SELECT text FROM strings WHERE id = x.image)) AS image, coalesce((SELECT replace(text, char(31), ' ') FROM strings WHERE id = g.command), (SELECT text FROM strings WHERE id = g.command_line)) AS command_line, coalesce((SELECT '[' || replace(json_quote(text), '\u001f', '","') || ']' FROM strings WHERE id = g.command), (SELECT json_extract(text, '$.arguments') FROM strings WHERE id = g.arguments)) AS arguments, (SELECT text FROM strings WHERE id = g.user) AS user, g.user_id AS user_id, (SELECT text FROM strings WHERE id = g.script) AS script, (SELECT count(*) FROM process_exec WHERE process = p.id) + coalesce(c.exec_count, 0) AS exec_count, coalesce(e.time, c.exec_time) AS exec_time, (SELECT json_group_array(json_object('time', time, 'image', image, 'command_line', command_line)) FROM (SELECT e.time AS time, (SELECT text FROM strings WHERE id = g.image) AS image, coalesce((SELECT replace(text, char(31), ' ') FROM strings WHERE id = g.command), (SELECT text FROM strings WHERE id = g.command_line)) AS command_line FROM process_exec AS e LEFT JOIN program AS g ON g.id = e.program WHERE e.process = p.id ORDER BY e.id)) AS execs, x.time AS exit_time, strftime('%Y-%m-%dT%H:%M:%S', (x.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (x.time) % 1000000000) AS exit_time_text, x.exit_code AS exit_code, x.signal AS signal, nullif(x.core_dumped, 0) AS core_dumped, x.run_time_ns AS run_time_ns, coalesce((SELECT h.run_began FROM stretch AS h WHERE h.first_id <= coalesce(max(l.id, e.id), l.id, e.id) ORDER BY h.first_id DESC LIMIT 1), c.run_began) AS run_began FROM process AS p LEFT JOIN process_carried AS c ON c.process = p.id LEFT JOIN process_start AS s ON s.id = (SELECT min(id) FROM process_start WHERE process = p.id) LEFT JOIN process_start AS l ON l.id = (SELECT max(id) FROM process_start WHERE process = p.id) LEFT JOIN process_exec AS e ON e.id = (SELECT max(id) FROM process_exec WHERE process = p.id) LEFT JOIN process_exit AS x ON x.id = (SELECT max(id) FROM process_exit WHERE process = p.id) LEFT JOIN program AS g ON g.id = CASE WHEN l.id > e.id THEN l.program ELSE coalesce(e.program, l.program, c.program) END WHERE p.process_key IS NOT NULL AND coalesce(s.id, c.process, e.id, x.id) IS NOT NULL;
CREATE VIEW threads AS SELECT e.thread_id AS thread_id, p.process_id AS process_id, p.process_key AS process_key, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, e.time AS start_time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS start_time_text, p.process_id + e.creator_process_offset AS creator_process_id, p.process_id + e.creator_thread_offset AS creator_thread_id, e.remote AS remote, CASE WHEN e.start_address IS NOT NULL THEN printf('0x%x', e.start_address) END AS start_address, x.time AS exit_time, strftime('%Y-%m-%dT%H:%M:%S', (x.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (x.time) % 1000000000) AS exit_time_text, x.time - e.time AS run_time_ns FROM thread_start AS e LEFT JOIN process AS p ON p.id = e.process LEFT JOIN thread_exit AS x ON x.id = (SELECT min(id) FROM thread_exit WHERE process = e.process AND thread_id = e.thread_id AND id > e.id) UNION ALL SELECT e.thread_id AS thread_id, p.process_id AS process_id, p.process_key AS process_key, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, NULL AS start_time, NULL AS start_time_text, NULL AS creator_process_id, NULL AS creator_thread_id, NULL AS remote, NULL AS start_address, e.time AS exit_time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS exit_time_text, NULL AS run_time_ns FROM thread_exit AS e LEFT JOIN process AS p ON p.id = e.process WHERE NOT EXISTS (SELECT 1 FROM thread_start AS o WHERE o.process = e.process AND o.thread_id = e.thread_id AND o.id < e.id);
CREATE VIEW images AS SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, p.process_id AS process_id, p.process_key AS process_key, (SELECT text FROM strings WHERE id = i.image) AS image, (SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = i.image) AS image_raw, nullif(i.image_deleted, 0) AS image_deleted, CASE WHEN e.image_base IS NOT NULL THEN printf('0x%x', e.image_base) END AS image_base, i.image_size AS image_size, i.kernel_image AS kernel_image, i.existing AS existing FROM image_load AS e LEFT JOIN process AS p ON p.id = e.process LEFT JOIN image AS i ON i.id = e.image;
CREATE VIEW losses AS SELECT (SELECT e.id + h.sequence_offset FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS sequence, e.time AS time, strftime('%Y-%m-%dT%H:%M:%S', (e.time) / 1000000000, 'unixepoch') || printf('.%09dZ', (e.time) % 1000000000) AS time_text, (SELECT h.host FROM stretch AS h WHERE h.first_id <= e.id ORDER BY h.first_id DESC LIMIT 1) AS host, CASE e.lost_kind WHEN 1 THEN 'process_start' WHEN 2 THEN 'process_exec' WHEN 3 THEN 'process_exit' WHEN 16 THEN 'thread_start' WHEN 17 THEN 'thread_exit' WHEN 32 THEN 'image_load' WHEN 240 THEN 'lost' WHEN 241 THEN 'sensor_start' WHEN 242 THEN 'sensor_stop' ELSE 'kind_' || e.lost_kind END AS lost_kind, e.lost_count AS lost_count, e.lost_reason AS lost_reason FROM mark AS e WHERE e.kind = 240;
CREATE VIEW image_totals AS SELECT s.text AS image, sum(i.load_count) AS load_count FROM image AS i LEFT JOIN strings AS s ON s.id = i.image GROUP BY i.image;
COMMIT;
