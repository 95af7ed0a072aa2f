//! The end of a process.

use event::{Extension, Flags, Header, process};

use super::exit_status::ExitStatus;
use super::parent::Notes;
use super::{Enriched, Enricher};
use crate::trail::{self, Body, missing};

impl Enricher {
    pub(super) fn process_exit(
        &mut self,
        header: &Header,
        exit: process::Exit,
        extension: &Extension<'_>,
    ) -> Enriched {
        let mut notes = Notes::default();
        let process = self.processes.get(header.process_id, header.start_time);
        let program = process
            .filter(|process| self.losses.is_sure(process))
            .map(|process| &process.program);
        let image = program.and_then(|program| program.trail.image.clone());
        let ran = !header.flags.contains(Flags::NEVER_RAN);
        if image.is_none() {
            let reason = program.and_then(|program| program.missing_reason("image"));
            let reason = reason.filter(|_| ran).unwrap_or_else(|| {
                let reason = if ran {
                    missing::LOST
                } else {
                    missing::NEVER_RAN
                };
                reason.into()
            });
            notes.lacks("image", reason);
        }
        let began = self.began(header);
        if began.is_none() {
            notes.lacks("run_time_ns", missing::UNAVAILABLE);
        }
        let (session, used) = match extension {
            Extension::Session(session) => (Some(session.session_id), None),
            Extension::Ending(session, usage) => (Some(session.session_id), Some(usage)),
            _ => (None, None),
        };
        // Windows' kernel is not asked, and there is no word of it.
        let usage = match used {
            None if cfg!(windows) => trail::Usage::default(),
            used => usage_of(used.unwrap_or(&UNKNOWN), &mut notes),
        };
        let told = process.and_then(|process| process.session_id);
        let session_id = session.filter(|session| Some(*session) != told);
        let status = ExitStatus::of_this_system(exit.exit_status);
        let told = ran && !header.flags.contains(Flags::EXIT_STATUS_UNAVAILABLE);
        if !told {
            let reason = if ran {
                missing::UNAVAILABLE
            } else {
                missing::NEVER_RAN
            };
            notes.lacks("exit_code", reason);
        }
        let body = Body::ProcessExit(trail::ProcessExit {
            exit_code: told.then_some(status.exit_code),
            signal: status.signal.filter(|_| told),
            core_dumped: told && status.core_dumped,
            image,
            run_time_ns: began.map(|began| header.time.saturating_sub(began)),
            usage,
            session_id,
        });
        let enriched = self.about(header, body, notes);
        self.processes
            .exited(header.process_id, header.start_time, header.time);
        enriched
    }
}

const UNKNOWN: process::Usage = process::Usage {
    user_time: process::Usage::UNKNOWN,
    system_time: process::Usage::UNKNOWN,
    run_time: process::Usage::UNKNOWN,
    peak_memory: process::Usage::UNKNOWN,
    read_bytes: process::Usage::UNKNOWN,
    written_bytes: process::Usage::UNKNOWN,
};

/// What the process used, as the trail tells it.
fn usage_of(used: &process::Usage, notes: &mut Notes) -> trail::Usage {
    let (user_time, system_time) = times(used).unzip();
    let mut told = |field: &'static str, number: Option<u64>| {
        let number = number.filter(|number| *number != process::Usage::UNKNOWN);
        if number.is_none() {
            notes.lacks(field, missing::UNAVAILABLE);
        }
        number
    };
    trail::Usage {
        user_time_ns: told("user_time_ns", user_time),
        system_time_ns: told("system_time_ns", system_time),
        peak_memory: told("peak_memory", Some(used.peak_memory)),
        read_bytes: told("read_bytes", Some(used.read_bytes)),
        written_bytes: told("written_bytes", Some(used.written_bytes)),
    }
}

/// User and system time as `getrusage` tells them (`cputime_adjust` of `kernel/sched/cputime.c`): how
/// long it ran is exact, and how often a tick of the clock found it in either mode divides that.
fn times(used: &process::Usage) -> Option<(u64, u64)> {
    let process::Usage {
        user_time,
        system_time,
        run_time,
        ..
    } = *used;
    if [user_time, system_time, run_time].contains(&process::Usage::UNKNOWN) {
        return None;
    }
    let system = match (user_time, system_time) {
        (_, 0) => 0,
        (0, _) => run_time,
        _ => {
            let sum = u128::from(user_time) + u128::from(system_time);
            let share = u128::from(run_time) * u128::from(system_time) / sum;
            u64::try_from(share).unwrap_or(run_time)
        }
    };
    Some((run_time.saturating_sub(system), system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_it_ran_is_divided_as_ticks_found_it() {
        for (user_time, system_time, run_time, expected) in [
            (0, 0, 700_000, (700_000, 0)),
            (8_000_000, 0, 7_000_000, (7_000_000, 0)),
            (0, 4_000_000, 5_000_000, (0, 5_000_000)),
            (30, 10, 100, (75, 25)),
            (
                u64::MAX - 1,
                u64::MAX - 1,
                u64::MAX - 1,
                (u64::MAX / 2, u64::MAX / 2),
            ),
        ] {
            let used = process::Usage {
                user_time,
                system_time,
                run_time,
                ..process::Usage::default()
            };
            assert_eq!(times(&used), Some(expected), "{used:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_missing_and_the_rest_is_told() {
        let mut notes = Notes::default();
        let used = process::Usage {
            peak_memory: 4_096,
            ..UNKNOWN
        };
        let usage = usage_of(&used, &mut notes);
        assert_eq!(usage.peak_memory, Some(4_096));
        assert_eq!(usage.user_time_ns, None);
        let names: Vec<_> = notes.missing.iter().map(|(field, _)| &**field).collect();
        assert_eq!(
            names,
            [
                "user_time_ns",
                "system_time_ns",
                "read_bytes",
                "written_bytes"
            ]
        );
    }
}
