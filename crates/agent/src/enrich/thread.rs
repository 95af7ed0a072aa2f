//! Thread start and exit.

use event::{Flags, Header, thread};

use super::parent::Notes;
use super::{Enriched, Enricher};
use crate::trail::{self, Body, missing};

impl Enricher {
    pub(super) fn thread_start(&mut self, header: &Header, start: thread::Start) -> Enriched {
        let origin = !header.flags.contains(Flags::ORIGIN_UNAVAILABLE);
        let remote = origin && start.creator_process_id != header.process_id;
        let mut notes = Notes::default();
        let body = Body::ThreadStart(trail::ThreadStart {
            thread_id: header.thread_id,
            process_image: self.process_image(header, &mut notes),
            creator_process_id: origin.then_some(start.creator_process_id),
            creator_thread_id: origin.then_some(start.creator_thread_id),
            remote,
            start_address: Some(start.start_address).filter(|address| *address != 0),
            details: remote.then(|| Box::new(self.thread_details(header, start, &mut notes))),
        });
        if !origin {
            for field in ["creator_process_id", "creator_thread_id"] {
                notes.lacks(field, missing::UNAVAILABLE);
            }
        }
        if header.flags.contains(Flags::START_ADDRESS_UNAVAILABLE) {
            notes.lacks("start_address", missing::UNAVAILABLE);
        }
        self.about(header, body, notes)
    }

    /// Who made a thread of another process, which few do.
    fn thread_details(
        &mut self,
        header: &Header,
        start: thread::Start,
        notes: &mut Notes,
    ) -> trail::ThreadDetails {
        let (creator_image, creator_command_line) =
            self.creator((start.creator_process_id, 0), header, notes);
        trail::ThreadDetails {
            creator_image,
            creator_command_line,
        }
    }

    pub(super) fn thread_exit(&mut self, header: &Header) -> Enriched {
        let body = Body::ThreadExit(trail::ThreadExit {
            thread_id: header.thread_id,
        });
        self.about(header, body, Notes::default())
    }
}
