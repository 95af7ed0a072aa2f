//! The story of a process that runs now, as far as the system tells it: on Linux also what it loaded
//! and which threads it has, but none of what has ended.

use std::io;

use super::{Collector, Story};
use crate::tree::{self, NotOne, Span, Who};

/// Why there is no story.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system did not tell.
    #[error("the processes that run now cannot be read: {0}")]
    Io(#[from] io::Error),
    /// No one process is meant.
    #[error(transparent)]
    NotOne(#[from] NotOne),
    /// There are too many.
    #[error(transparent)]
    TooMany(#[from] tree::TooMany),
}

/// The story of `who`.
pub fn story(who: Who) -> Result<Story, Error> {
    let mut collector = Collector::new(who);
    for event in tree::live::events()? {
        collector.add(&event)?;
    }
    let story = collector.story(Span::ALWAYS).map_err(|error| match error {
        NotOne::Nobody(who) => NotOne::NotRunning(who),
        error => error,
    })?;
    #[cfg(target_os = "linux")]
    let story = linux::with_details(story);
    Ok(story)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use crate::enrich::image_path;
    use crate::moment;
    use crate::story::{Image, List, Story, Thread, image_base};
    use crate::sys::proc;

    /// What is gone by now is not told; the story is of the moment it was running.
    pub(super) fn with_details(mut story: Story) -> Story {
        let process_id = story.process.process_id;
        if let Ok(process) = proc::Process::open(process_id) {
            story.details.images = images(&process).unwrap_or_default();
            story.details.threads = threads(&process, process_id).unwrap_or_default();
        }
        story
    }

    fn images(process: &proc::Process) -> io::Result<List<Image>> {
        let time = moment::now();
        let mut images = List::default();
        process.images(|flags, load| {
            let path = image_path::path(load.image, flags);
            images.add(Image {
                time,
                image: Some(String::from_utf8_lossy(&path).into_owned()),
                image_base: image_base(load.image_base),
                image_size: load.image_size,
                existing: true,
            });
        })?;
        Ok(images)
    }

    fn threads(process: &proc::Process, process_id: u32) -> io::Result<List<Thread>> {
        let mut threads = List::default();
        for thread_id in process.thread_ids()? {
            // A process's first thread is the process.
            if thread_id != process_id {
                threads.add(Thread {
                    thread_id,
                    start_time: None,
                    remote_creator: None,
                    exit_time: None,
                });
            }
        }
        Ok(threads)
    }
}
