//! What had to be passed over of what a command reads: said at once, and with `--strict` told by the
//! exit code, so that a script does not take a part for the whole.

use std::path::Path;

use clap::Args;
use systrail::store::{PassedOver, Reader, Window};

use super::console::say;
use super::{Exit, Failure};

/// Whether an answer that is not whole is a failure.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Strict {
    /// Exit with 1 where anything had to be passed over; what was read is printed all the same
    #[arg(long)]
    strict: bool,
}

impl Strict {
    /// How a command ends that has answered, having passed over so many lines, events or segments.
    pub(super) fn exit(self, passed_over_count: u64) -> Result<Exit, Failure> {
        if self.strict && passed_over_count > 0 {
            let error = anyhow::anyhow!("the trail was not read whole, as --strict asks");
            return Err(error.into());
        }
        Ok(Exit::Done)
    }
}

/// Says which segments of a store are not in the answer, or not wholly, and returns how many; and
/// says so where there is nothing to ask.
pub(super) fn tell_of(reader: &Reader, directory: &Path, window: &Window) -> u64 {
    let count = tell(reader.passed_over());
    if count == 0 && reader.segments().len() == 0 {
        tell_nothing(directory, window);
    }
    count
}

/// Says that a store has nothing of the time that is asked for.
pub(super) fn tell_nothing(directory: &Path, window: &Window) {
    let store = directory.display();
    if *window == Window::default() {
        say!("the store {store} has no events yet");
    } else {
        say!("the store {store} has no events of that time");
    }
}

/// Says which segments are not in the answer, or not wholly, and returns how many.
pub(super) fn tell(segments: &[PassedOver]) -> u64 {
    for segment in segments {
        say!("passed over: {}", segment.why);
    }
    segments.len() as u64
}
