-- The trail of a fleet in ClickHouse, on one node. Run it whole, and again after an upgrade: what is there stays,
-- and new columns are added. It was run with ClickHouse 26.9.
--
-- The receiver is ClickHouse's own HTTP interface:
--   https://HOST:8443/?query=INSERT%20INTO%20systrail.event%20FORMAT%20JSONEachRow&date_time_input_format=best_effort&async_insert=0&insert_deduplicate=0
-- No deduplication token: under one, a body that was cut and came again whole would stay cut. Doubles go by the key
-- of the table: (host_id, run, sequence) names an event in the whole fleet. The partition is a function of the event
-- alone, or the two rows of a double could be in two partitions, where nothing removes one.

CREATE DATABASE IF NOT EXISTS systrail;

CREATE TABLE IF NOT EXISTS systrail.event
(
    host_id LowCardinality(String),
    run UInt64,
    sequence UInt64,
    time DateTime64(9, 'UTC'),
    kind LowCardinality(String),
    host LowCardinality(String),
    received DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, run, sequence);

-- Every other field can be absent, and absent is NULL: a killed process has no exit code, and not 0.
ALTER TABLE systrail.event
-- columns
    ADD COLUMN IF NOT EXISTS process_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS process_key Nullable(String),
    ADD COLUMN IF NOT EXISTS parent_process_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS parent_process_key Nullable(String),
    ADD COLUMN IF NOT EXISTS creator_process_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS creator_thread_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS image Nullable(String),
    ADD COLUMN IF NOT EXISTS image_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS image_deleted Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS path_scope LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS device LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS inode Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS mount_namespace Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS command_line Nullable(String),
    ADD COLUMN IF NOT EXISTS command_line_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS arguments Nullable(String),
    ADD COLUMN IF NOT EXISTS arguments_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS user LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS user_id Nullable(String),
    ADD COLUMN IF NOT EXISTS real_user LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS real_user_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS login_user LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS login_user_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS script Nullable(String),
    ADD COLUMN IF NOT EXISTS script_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS script_scope LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS environment Nullable(String),
    ADD COLUMN IF NOT EXISTS environment_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS parent_image Nullable(String),
    ADD COLUMN IF NOT EXISTS parent_image_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS parent_command_line Nullable(String),
    ADD COLUMN IF NOT EXISTS parent_command_line_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS parent_user LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS cgroup Nullable(String),
    ADD COLUMN IF NOT EXISTS cgroup_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS container_id LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS systemd_unit LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS working_directory Nullable(String),
    ADD COLUMN IF NOT EXISTS working_directory_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS working_directory_scope LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS terminal LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS session_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS integrity_level LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS elevated Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS existing Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS kernel_process Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS name Nullable(String),
    ADD COLUMN IF NOT EXISTS name_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS logon_id Nullable(String),
    ADD COLUMN IF NOT EXISTS image_opened Nullable(String),
    ADD COLUMN IF NOT EXISTS image_opened_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS subsystem LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS protection_level LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS creation_status Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS original_file_name Nullable(String),
    ADD COLUMN IF NOT EXISTS original_file_name_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS description Nullable(String),
    ADD COLUMN IF NOT EXISTS description_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS product Nullable(String),
    ADD COLUMN IF NOT EXISTS product_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS company Nullable(String),
    ADD COLUMN IF NOT EXISTS company_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS file_version Nullable(String),
    ADD COLUMN IF NOT EXISTS file_version_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS md5 LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS sha1 LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS sha256 LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS imphash LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS build_id LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS exit_code Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS signal Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS core_dumped Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS run_time_ns Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS user_time_ns Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS system_time_ns Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS peak_memory Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS read_bytes Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS written_bytes Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS thread_id Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS process_image Nullable(String),
    ADD COLUMN IF NOT EXISTS process_image_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS remote Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS start_address Nullable(String),
    ADD COLUMN IF NOT EXISTS creator_image Nullable(String),
    ADD COLUMN IF NOT EXISTS creator_image_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS creator_command_line Nullable(String),
    ADD COLUMN IF NOT EXISTS creator_command_line_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS image_base Nullable(String),
    ADD COLUMN IF NOT EXISTS image_size Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS kernel_image Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS signature_level LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS signature_type LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS signed Nullable(UInt8),
    ADD COLUMN IF NOT EXISTS signer Nullable(String),
    ADD COLUMN IF NOT EXISTS signer_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS signature_status Nullable(String),
    ADD COLUMN IF NOT EXISTS signature_status_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS path Nullable(String),
    ADD COLUMN IF NOT EXISTS path_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS error LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS change_time_ns Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS file_size Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS matched_sequence Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS rule_id LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS rule_title LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS rule_level LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS rule_author LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS rule_tags Nullable(String),
    ADD COLUMN IF NOT EXISTS rule_tags_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS lost_kind LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS lost_count Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS lost_reason LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS lost_run Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS lost_from Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS lost_to Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS source LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS version LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS system LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS account Nullable(String),
    ADD COLUMN IF NOT EXISTS mark_reason LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS rule_name LowCardinality(Nullable(String)),
    ADD COLUMN IF NOT EXISTS tags Nullable(String),
    ADD COLUMN IF NOT EXISTS tags_raw Nullable(String),
    ADD COLUMN IF NOT EXISTS truncated Nullable(String),
    ADD COLUMN IF NOT EXISTS missing Nullable(String);
-- end of columns

-- Each event once, times in nanoseconds as in the local store.
CREATE OR REPLACE VIEW systrail.events AS
SELECT * EXCEPT (time, received),
    toUnixTimestamp64Nano(e.time) AS time,
    replaceOne(toString(e.time), ' ', 'T') || 'Z' AS time_text
FROM systrail.event AS e FINAL;

CREATE OR REPLACE VIEW systrail.losses AS
SELECT host_id, host, run, sequence, time, time_text, lost_kind, lost_count, lost_reason, lost_run, lost_from, lost_to
FROM systrail.events WHERE kind = 'lost';

CREATE OR REPLACE VIEW systrail.images AS
SELECT * FROM systrail.events WHERE kind = 'image_load';

CREATE OR REPLACE VIEW systrail.detections AS
SELECT * FROM systrail.events WHERE kind = 'detection';

-- A row a process: start, execs and exit together.
CREATE OR REPLACE VIEW systrail.processes AS
SELECT
    host_id, any(host) AS host, max(e.run) AS run,
    any(process_id) AS process_id, process_key,
    minIf(e.time, kind = 'process_start') AS first_start,
    if(countIf(kind = 'process_start') = 0, NULL, first_start) AS start_time,
    argMaxIf(parent_process_id, e.time, kind = 'process_start') AS parent_process_id,
    argMaxIf(parent_process_key, e.time, kind = 'process_start') AS parent_process_key,
    argMaxIf(image, (e.time, e.run, e.sequence), kind IN ('process_start', 'process_exec')) AS image,
    argMaxIf(command_line, (e.time, e.run, e.sequence), kind IN ('process_start', 'process_exec')) AS command_line,
    argMaxIf(user, (e.time, e.run, e.sequence), kind IN ('process_start', 'process_exec')) AS user,
    argMaxIf(user_id, (e.time, e.run, e.sequence), kind IN ('process_start', 'process_exec')) AS user_id,
    countIf(kind = 'process_exec') AS exec_count,
    if(countIf(kind = 'process_exit') = 0, NULL, maxIf(e.time, kind = 'process_exit')) AS exit_time,
    anyIf(exit_code, kind = 'process_exit') AS exit_code,
    anyIf(signal, kind = 'process_exit') AS signal,
    anyIf(run_time_ns, kind = 'process_exit') AS run_time_ns
FROM systrail.events AS e
WHERE kind IN ('process_start', 'process_exec', 'process_exit')
GROUP BY host_id, process_key;

-- Is all of it there? A row a run: how many sequences are missing up to the last that is known of, how many of them
-- the host itself told as lost on the way, how many nobody has explained, whether the run was closed (its sensor_stop
-- came, so nothing is missing behind it), and when anything of it came last.
CREATE OR REPLACE VIEW systrail.runs AS
SELECT
    if(r.host_id = '', told.host_id, r.host_id) AS host_id,
    r.host AS host,
    if(r.host_id = '', told.lost_run, r.run) AS run,
    r.events AS events,
    greatest(r.last_sequence, told.last_sequence) AS last_sequence,
    last_sequence - events AS missing,
    told.count AS told_lost,
    if(missing > told_lost, missing - told_lost, 0) AS unexplained,
    r.is_closed AS closed, r.last_time AS last_time, r.last_received AS last_received,
    dateDiff('millisecond', r.last_time, r.last_received) AS delay_ms
FROM
(
    SELECT host_id, any(host) AS host, run, count() AS events, max(sequence) AS last_sequence,
        max(kind = 'sensor_stop') AS is_closed, max(time) AS last_time, max(received) AS last_received
    FROM systrail.event FINAL
    GROUP BY host_id, run
) AS r
FULL JOIN
(
    SELECT host_id, assumeNotNull(lost_run) AS lost_run, sum(assumeNotNull(lost_count)) AS count,
        max(assumeNotNull(lost_to)) AS last_sequence
    FROM systrail.event FINAL
    WHERE kind = 'lost' AND lost_run IS NOT NULL
    GROUP BY host_id, lost_run
) AS told ON told.host_id = r.host_id AND told.lost_run = r.run
SETTINGS join_use_nulls = 0;

-- Where the gaps are.
CREATE OR REPLACE VIEW systrail.gaps AS
SELECT host_id, run, before + 1 AS first_missing, sequence - 1 AS last_missing, sequence - before - 1 AS count
FROM
(
    SELECT host_id, run, sequence,
        lagInFrame(sequence, 1, 0) OVER (
            PARTITION BY host_id, run ORDER BY sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS before
    FROM systrail.event FINAL
)
WHERE sequence > before + 1;
