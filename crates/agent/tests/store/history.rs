//! Processes and threads as one row, whatever was recorded of them where.
