//! Thread start and exit.

use crate::sensor::{Sensor, header};
use event::thread::{Exit, Start};
use event::{Event, Extension, Flags, Header};
use nt::irql::{self, Raised};
use nt::notify::ThreadNotify;
use nt::process::{Process, Thread, current_process_id, current_thread_id};

impl ThreadNotify for Sensor {
    fn thread_start(&'static self, process_id: u32, thread_id: u32) {
        let is_remote = current_process_id() != process_id;
        let is_asked = self.settings.start_address.is_asked(is_remote);
        // Of a thread that its own process makes there is nothing else to look up.
        let thread = if is_remote || is_asked {
            Thread::lookup(thread_id).ok()
        } else {
            None
        };
        let start_time = match &thread {
            Some(thread) => thread.process().create_time_ns(),
            None if is_remote => 0,
            None => Process::current().create_time_ns(),
        };
        // The question needs a handle, which the kernel gives at PASSIVE_LEVEL only.
        let start_address = thread
            .filter(|_thread| is_asked && irql::is_passive())
            .and_then(|thread| thread.start_address().ok());
        let is_lacking = is_asked && start_address.is_none();
        let flags = Flags::NONE.with_if(is_lacking, Flags::START_ADDRESS_UNAVAILABLE);
        let event = Event::ThreadStart(Start {
            creator_process_id: current_process_id(),
            creator_thread_id: current_thread_id(),
            start_address: start_address.unwrap_or(0),
        });
        let header = header(process_id, thread_id, start_time, flags);
        self.record_undisturbed(header, &event);
    }

    fn thread_exit(&'static self, process_id: u32, thread_id: u32) {
        let start_time = Process::current().create_time_ns();
        let header = header(process_id, thread_id, start_time, Flags::NONE);
        let event = Event::ThreadExit(Exit);
        self.record_undisturbed(header, &event);
    }
}

impl Sensor {
    /// Stores an event at `DISPATCH_LEVEL`: a thread that is preempted, or suspended, between reserving
    /// a record and submitting it would hold up all that are behind it. Here are no texts, for which a
    /// page may be missed.
    #[expect(
        clippy::inline_always,
        reason = "the kind of the event is known here, as it is for `record`"
    )]
    #[inline(always)]
    fn record_undisturbed(&self, header: Header, event: &Event<'_>) {
        let _raised = Raised::to_dispatch_level();
        self.record(header, event, &Extension::None);
    }
}
