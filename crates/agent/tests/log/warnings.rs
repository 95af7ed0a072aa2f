//! What is said through `tracing` while something runs.
//!
//! One subscriber for the whole program, which sorts by thread: a subscriber for each test would
//! race with the other tests for what `tracing` remembers of each place that speaks.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

use tracing::Level;

thread_local! {
    static SAID: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Said;

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SAID.with_borrow_mut(|said| said.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `run_fn` and returns the warnings it gave, a line each.
pub(crate) fn warnings_of(run_fn: impl FnOnce()) -> Vec<String> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::WARN)
            .with_ansi(false)
            .with_writer(|| Said)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    SAID.take();
    run_fn();
    let text = String::from_utf8(SAID.take()).unwrap();
    text.lines().map(str::to_owned).collect()
}
