//! What is to be said of a trace as a whole: what was wrong with it, and what is not in the trail.

use std::collections::BTreeMap;

use etw::clock::Clock;
use etw::file::{About, Damage};
use etw::kernel;

use super::super::format::Remark;
use super::tell::Telling;
use crate::quantity;

/// Events that could not be decoded, by what they are about and their version.
#[derive(Debug, Default)]
pub(super) struct Undecoded {
    counts: BTreeMap<(&'static str, u8), u64>,
}

impl Undecoded {
    pub(super) fn add(&mut self, event: kernel::Undecoded) {
        *self
            .counts
            .entry((event.subject, event.version))
            .or_default() += 1;
    }
}

/// All that is to be said.
pub(super) fn of(
    about: &About,
    damage: Damage,
    undecoded: &Undecoded,
    telling: &Telling,
) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for ((subject, version), count) in &undecoded.counts {
        let events = quantity::show_count(*count, "event");
        let text = format!(
            "passed over {events} about {subject}, version {version}, that cannot be decoded"
        );
        remarks.push(passed_over(text, *count));
    }
    of_damage(about, damage, &mut remarks);
    of_clock(about, &mut remarks);
    if about.events_lost > 0 || about.buffers_lost > 0 {
        let events = quantity::show_count(u64::from(about.events_lost), "event");
        let buffers = quantity::show_count(u64::from(about.buffers_lost), "buffer");
        remarks.push(said(format!(
            "when it was recorded the trace lost {events} and {buffers} of them"
        )));
    }
    if telling.is_cut() {
        remarks.push(said(
            "the trace has more processes or images than are remembered: some may be told twice, \
             or without a path"
                .to_owned(),
        ));
    }
    of_telling(telling, &mut remarks);
    remarks
}

fn of_damage(about: &About, damage: Damage, remarks: &mut Vec<Remark>) {
    let buffers = |count| quantity::show_count(count, "buffer");
    if damage.damaged_buffers > 0 {
        let text = format!(
            "{} damaged, of which the rest is passed over",
            are(&buffers(damage.damaged_buffers), damage.damaged_buffers)
        );
        remarks.push(passed_over(text, damage.damaged_buffers));
    }
    if damage.empty_buffers > 0 {
        let count = damage.empty_buffers;
        remarks.push(said(format!("{} empty", are(&buffers(count), count))));
    }
    if damage.unread_size > 0 {
        let size = quantity::show_count(damage.unread_size, "byte");
        let text = format!("{size} at the end of the file are no buffer and passed over");
        remarks.push(passed_over(text, 1));
    }
    if damage.is_folded {
        remarks.push(said(
            "the trace has more processors or larger buffers than are held at once: events of \
             different processors may be out of order"
                .to_owned(),
        ));
    }
    let told = u64::from(about.buffer_count);
    if about.ended == 0 {
        remarks.push(said(
            "the trace was still being written: it has what was in the file by then".to_owned(),
        ));
    } else if damage.buffers_read + damage.empty_buffers < told {
        let text = format!(
            "the trace is cut: it says it has {}, and the file has {}",
            buffers(told),
            damage.buffers_read
        );
        remarks.push(passed_over(text, told - damage.buffers_read));
    }
    if about.is_circular {
        remarks.push(said(
            "the trace began anew when it was full: what came before its first buffer is not in it"
                .to_owned(),
        ));
    }
}

fn of_clock(about: &About, remarks: &mut Vec<Remark>) {
    if !about.has_clock {
        remarks.push(said(
            "the trace names no clock that is known, or no rate of it: times are read as of a \
             counter, and may be wrong"
                .to_owned(),
        ));
    } else if about.times.clock() == Clock::Cycles {
        remarks.push(said(
            "times are counts of the processor's cycles, whose rate is known roughly: they drift"
                .to_owned(),
        ));
    }
}

fn of_telling(telling: &Telling, remarks: &mut Vec<Remark>) {
    let mut counts = telling.counts().by_kind();
    if counts.all(|(_, count)| count.delivered == 0) {
        remarks.push(said(
            "the trace has no event of a process, a thread or an image; the NT Kernel Logger tells \
             of them with the flags PROC_THREAD and LOADER"
                .to_owned(),
        ));
    }
    let passed = telling.passed_over();
    let parts = [
        (
            passed.threads_there,
            "threads that ran when the trace began or ended",
        ),
        (
            passed.first_threads,
            "starts and exits of first threads, told as their processes'",
        ),
        (
            passed.doubles,
            "events that the kernel's logger and its provider both told",
        ),
        (passed.defunct, "processes that had ended before"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !parts.is_empty() {
        remarks.push(said(format!(
            "no events of their own: {}",
            parts.join("; ")
        )));
    }
}

fn are(what: &str, count: u64) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{what} {verb}")
}

const fn said(text: String) -> Remark {
    Remark {
        text,
        passed_over_count: 0,
    }
}

const fn passed_over(text: String, passed_over_count: u64) -> Remark {
    Remark {
        text,
        passed_over_count,
    }
}
