//! Thread start and exit.

use event::{Flags, Header, thread};

use super::{Enriched, Enricher};
use crate::trail::{self, Body, missing};

impl Enricher {
    pub(super) fn thread_start(&mut self, header: &Header, start: thread::Start) -> Enriched {
        let origin = !header.flags.contains(Flags::ORIGIN_UNAVAILABLE);
        let body = Body::ThreadStart(trail::ThreadStart {
            thread_id: header.thread_id,
            creator_process_id: origin.then_some(start.creator_process_id),
            creator_thread_id: origin.then_some(start.creator_thread_id),
            remote: origin && start.creator_process_id != header.process_id,
            start_address: Some(start.start_address).filter(|address| *address != 0),
            details: None,
        });
        let mut missing = Vec::new();
        if !origin {
            let lacking = ["creator_process_id", "creator_thread_id"];
            missing.extend(lacking.map(|field| (field.into(), missing::UNAVAILABLE.into())));
        }
        if header.flags.contains(Flags::START_ADDRESS_UNAVAILABLE) {
            missing.push(("start_address".into(), missing::UNAVAILABLE.into()));
        }
        Enriched {
            missing,
            ..self.about(header, body)
        }
    }

    pub(super) fn thread_exit(&mut self, header: &Header) -> Enriched {
        let body = Body::ThreadExit(trail::ThreadExit {
            thread_id: header.thread_id,
        });
        self.about(header, body)
    }
}
