//! The end of a process.

use event::{Extension, Flags, Header, process};

use super::exit_status::ExitStatus;
use super::{Enriched, Enricher};
use crate::trail::{self, Body, missing};

impl Enricher {
    pub(super) fn process_exit(
        &mut self,
        header: &Header,
        exit: process::Exit,
        extension: &Extension<'_>,
    ) -> Enriched {
        let mut missing = Vec::new();
        let process = self.processes.get(header.process_id, header.start_time);
        let program = process
            .filter(|process| self.losses.is_sure(process))
            .map(|process| &process.program);
        let image = program.and_then(|program| program.trail.image.clone());
        if image.is_none() {
            let reason = program.and_then(|program| program.missing_reason("image"));
            let reason = reason.unwrap_or_else(|| missing::LOST.into());
            missing.push(("image".into(), reason));
        }
        let began = self.began(header);
        if began.is_none() {
            missing.push(("run_time_ns".into(), missing::UNAVAILABLE.into()));
        }
        let session = match extension {
            Extension::Session(session) => Some(session.session_id),
            _ => None,
        };
        let told = process.and_then(|process| process.session_id);
        let session_id = session.filter(|session| Some(*session) != told);
        let status = ExitStatus::of_this_system(exit.exit_status);
        let told = !header.flags.contains(Flags::EXIT_STATUS_UNAVAILABLE);
        if !told {
            missing.push(("exit_code".into(), missing::UNAVAILABLE.into()));
        }
        let body = Body::ProcessExit(trail::ProcessExit {
            exit_code: told.then_some(status.exit_code),
            signal: status.signal.filter(|_| told),
            core_dumped: told && status.core_dumped,
            image,
            run_time_ns: began.map(|began| header.time.saturating_sub(began)),
            session_id,
        });
        let enriched = self.about(header, body);
        self.processes
            .exited(header.process_id, header.start_time, header.time);
        Enriched {
            missing,
            ..enriched
        }
    }
}
