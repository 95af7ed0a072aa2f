-- The views of `systrail query` over what `systrail export --format parquet` wrote, for DuckDB from 1.4 on:
--
--   SET VARIABLE trail = 'trail.parquet';   -- or a list of files, or 'host-*.parquet'
--   .read systrail.sql
--
-- Times are whole numbers of nanoseconds as in `systrail query`; `moment` is the same as DuckDB has points in time.
-- `user_id` is a text, as on Windows it is none but that. `SET integer_division = true` has DuckDB divide as SQLite.

CREATE OR REPLACE VIEW events AS
SELECT * REPLACE (epoch_ns(time) AS time),
    strftime(time AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%nZ') AS time_text,
    time AS moment
FROM read_parquet(getvariable('trail'), union_by_name = true);

CREATE OR REPLACE VIEW losses AS
SELECT host_id, host, run, sequence, time, time_text, lost_kind, lost_count, lost_reason, lost_run, lost_from, lost_to
FROM events WHERE kind = 'lost';

CREATE OR REPLACE VIEW images AS
SELECT * FROM events WHERE kind = 'image_load';

CREATE OR REPLACE VIEW image_totals AS
SELECT image, count(*) AS load_count FROM images GROUP BY image;

CREATE OR REPLACE VIEW kind_totals AS
SELECT kind, count(*) AS event_count FROM events GROUP BY kind;

CREATE OR REPLACE VIEW detections AS
SELECT * FROM events WHERE kind = 'detection';

CREATE OR REPLACE VIEW threads AS
SELECT s.host, s.host_id, s.process_id, s.process_key, s.thread_id, s.time AS start_time,
    s.time_text AS start_time_text, s.creator_process_id, s.creator_thread_id, s.remote
FROM events AS s WHERE s.kind = 'thread_start';

-- A row a process: what it was started with, the last program it ran, how it ended.
CREATE OR REPLACE VIEW processes AS
WITH told AS (
    SELECT host_id, host, process_key,
        first(process_id) AS process_id,
        min(time) FILTER (kind = 'process_start') AS start_time,
        min(time_text) FILTER (kind = 'process_start') AS start_time_text,
        arg_min(parent_process_id, time) FILTER (kind = 'process_start') AS parent_process_id,
        arg_min(parent_process_key, time) FILTER (kind = 'process_start') AS parent_process_key,
        arg_max(image, (time, run, sequence)) FILTER (kind != 'process_exit') AS image,
        arg_max(command_line, (time, run, sequence)) FILTER (kind != 'process_exit') AS command_line,
        arg_max("user", (time, run, sequence)) FILTER (kind != 'process_exit') AS "user",
        arg_max(user_id, (time, run, sequence)) FILTER (kind != 'process_exit') AS user_id,
        count(*) FILTER (kind = 'process_exec') AS exec_count,
        max(time) FILTER (kind = 'process_exit') AS exit_time,
        max(time_text) FILTER (kind = 'process_exit') AS exit_time_text,
        max(exit_code) FILTER (kind = 'process_exit') AS exit_code,
        max(signal) FILTER (kind = 'process_exit') AS signal,
        max(run_time_ns) FILTER (kind = 'process_exit') AS run_time_ns
    FROM events
    WHERE kind IN ('process_start', 'process_exec', 'process_exit')
    GROUP BY host_id, host, process_key
)
SELECT told.*, parent.image AS parent_image
FROM told LEFT JOIN told AS parent
    ON parent.host_id IS NOT DISTINCT FROM told.host_id AND parent.host = told.host
    AND parent.process_key = told.parent_process_key;
