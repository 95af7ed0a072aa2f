//! Queries worth knowing, each asked by a test.

/// A query and the question it answers.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The question.
    pub question: &'static str,
    /// The query.
    pub sql: &'static str,
}

const fn example(question: &'static str, sql: &'static str) -> Example {
    Example { question, sql }
}

/// The examples, simple ones first.
pub const EXAMPLES: [Example; 17] = [
    example(
        "what failed lately?",
        "SELECT exit_time_text, process_id, exit_code, signal, command_line FROM processes \
         WHERE exit_code != 0 ORDER BY exit_time DESC LIMIT 20",
    ),
    example(
        "what runs now, and since when?",
        "SELECT process_id, user, start_time_text, command_line FROM processes \
         WHERE running ORDER BY start_time",
    ),
    example(
        "who started this process? (put its id there)",
        "SELECT process_key, start_time_text, ancestry, command_line FROM processes \
         WHERE process_id = 1",
    ),
    example(
        "what did a process start, and what did that? (put its key there)",
        "SELECT start_time_text, process_id, exit_code, command_line FROM processes \
         WHERE +process_key IN (SELECT process_key FROM descendants('64d8d5bc4412da6f')) \
         ORDER BY start_time",
    ),
    example(
        "what was fetched from the network, and run by a shell?",
        "SELECT start_time_text, user, command_line FROM processes \
         WHERE command_line REGEXP '\\b(curl|wget)\\b.*\\|\\s*(ba|z|da)?sh\\b'",
    ),
    example(
        "which programs run most often?",
        "SELECT image, count(*) AS execs FROM events WHERE kind = 'process_exec' \
         GROUP BY image ORDER BY execs DESC LIMIT 20",
    ),
    example(
        "how many events of which kind are there?",
        "SELECT kind, event_count FROM kind_totals ORDER BY event_count DESC",
    ),
    example(
        "which processes ran longest?",
        "SELECT run_time_ns / 1000000000 AS seconds, process_id, command_line FROM processes \
         WHERE exit_time IS NOT NULL ORDER BY run_time_ns DESC LIMIT 20",
    ),
    example(
        "which files are loaded most often?",
        "SELECT image, load_count FROM image_totals ORDER BY load_count DESC LIMIT 20",
    ),
    example(
        "who loaded this library? (put its name there)",
        "SELECT time_text, process_id, process_key, image FROM images \
         WHERE image LIKE '%/libc.so%' ORDER BY time DESC LIMIT 20",
    ),
    example(
        "what ran from a place where programs do not belong?",
        "SELECT start_time_text, user, ancestry, command_line FROM processes \
         WHERE image LIKE '/tmp/%' OR image LIKE '/dev/shm/%' OR image LIKE '/var/tmp/%'",
    ),
    example(
        "which programs had no file any more, or never had one?",
        "SELECT time_text, process_id, image, command_line FROM events \
         WHERE kind = 'process_exec' AND image_deleted",
    ),
    example(
        "which threads were started from another process?",
        "SELECT start_time_text, process_id, thread_id, creator_process_id FROM threads \
         WHERE remote",
    ),
    example(
        "what did root run for whom?",
        "SELECT c.start_time_text, p.user AS parent_user, p.command_line AS parent, c.command_line \
         FROM processes AS c JOIN processes AS p ON p.process_key = c.parent_process_key \
         WHERE c.user_id = 0 AND p.user_id != 0",
    ),
    example(
        "which parents start the most processes?",
        "SELECT parent_image, count(*) AS started FROM processes GROUP BY parent_image \
         ORDER BY started DESC LIMIT 20",
    ),
    example(
        "what happened minute by minute?",
        "SELECT strftime('%H:%M', time / 1000000000, 'unixepoch') AS minute, kind, \
         count(*) AS events FROM events GROUP BY minute, kind ORDER BY minute, kind",
    ),
    example(
        "where are the gaps?",
        "SELECT time_text, kind, lost_kind, lost_count, lost_reason, source FROM events \
         WHERE kind IN ('lost', 'sensor_start', 'sensor_stop') ORDER BY time",
    ),
];
