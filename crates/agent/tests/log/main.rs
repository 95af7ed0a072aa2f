//! The log: its JSON form, the file and the stream it is written to, the terminal's form, and what
//! reading it back gives.

mod any_event;
mod compress;
mod disk;
mod json;
mod lives;
mod log_file;
mod replay;
mod stream;
mod terminal;
mod warnings;
