//! The account in Prometheus's text format.

use std::fmt::{Display, Write as _};
use std::time::SystemTime;

use crate::account::{Account, Count, SinkCount};
use crate::alert::Outcome;
use crate::detect::Level;
use crate::pipeline::{Found, Reload};
use crate::store::Kept;
use crate::sys::usage::Usage;
use crate::{forward, image_hash};

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'n> {
    /// The account so far.
    pub account: &'n Account,
    /// Whether every event is seen.
    pub is_recording: bool,
    /// What rules have found.
    pub found: Found,
    /// How often a configuration was read again, by what came of it.
    pub reloads: [u64; Reload::NAMES.len()],
    /// What the thread that hashes images did, where there is one.
    pub hashes: Option<image_hash::Counts>,
    /// What became of what is forwarded, where something is.
    pub forwarded: Option<forward::Counts>,
    /// What the recorder costs, where the system tells it.
    pub usage: Option<Usage>,
    /// What the store has, where there is one.
    pub kept: Option<Kept>,
}

/// Numbers of a running pipeline as metrics.
pub fn exposition(numbers: &Numbers<'_>) -> String {
    let account = numbers.account;
    let mut out = Exposition::default();
    out.head("systrail_info", "gauge", "Version and sensor of the agent");
    out.sample(
        "systrail_info",
        &[("version", crate::VERSION), ("source", &account.source)],
        1,
    );
    out.head("systrail_recording", "gauge", "Whether every event is seen");
    let is_recording = u64::from(numbers.is_recording);
    out.sample("systrail_recording", &[], is_recording);
    out.kinds(account);
    out.queues(account);
    out.sinks(account);
    out.found(numbers.found);
    out.reloads(numbers.reloads);
    if let Some(counts) = numbers.hashes {
        out.hashes(counts);
    }
    if let Some(counts) = &numbers.forwarded {
        out.forwarded(counts);
    }
    if let Some(usage) = numbers.usage {
        out.usage(usage);
    }
    if let Some(kept) = numbers.kept {
        out.kept(kept);
    }
    out.text
}

#[derive(Debug, Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    fn kinds(&mut self, account: &Account) {
        type Value = fn(&Count) -> u64;
        let families: [(&str, &str, Value); 4] = [
            (
                "systrail_events_produced_total",
                "Events the sensor saw happen",
                |count| count.produced,
            ),
            (
                "systrail_events_delivered_total",
                "Events that reached the pipeline",
                |count| count.delivered,
            ),
            (
                "systrail_events_lost_total",
                "Events that were lost on the way",
                |count| count.lost,
            ),
            (
                "systrail_events_excluded_total",
                "Events delivered that the rules left out",
                |count| count.excluded,
            ),
        ];
        for (name, help, value_fn) in families {
            self.head(name, "counter", help);
            for (kind, count) in account.kinds.by_kind() {
                let kind = kind.name().unwrap_or_default();
                self.sample(name, &[("kind", kind)], value_fn(&count));
            }
        }
    }

    fn queues(&mut self, account: &Account) {
        for (name, help) in [
            ("systrail_queue_peak", "The most a queue or buffer held"),
            (
                "systrail_queue_limit",
                "The most a queue or buffer can hold",
            ),
        ] {
            self.head(name, "gauge", help);
            for queue in &account.queues {
                let value = if name.ends_with("peak") {
                    queue.peak
                } else {
                    queue.limit
                };
                self.sample(
                    name,
                    &[("queue", &queue.name), ("unit", &queue.unit)],
                    value,
                );
            }
        }
    }

    fn sinks(&mut self, account: &Account) {
        type Value = fn(&SinkCount) -> u64;
        let families: [(&str, &str, &str, Value); 3] = [
            (
                "systrail_sink_written_total",
                "counter",
                "Events a sink has written",
                |sink| sink.written,
            ),
            (
                "systrail_sink_lost_total",
                "counter",
                "Events a sink could not write",
                |sink| sink.lost,
            ),
            (
                "systrail_sink_waiting",
                "gauge",
                "Events handed to a sink that it has not dealt with yet",
                |sink| sink.waiting,
            ),
        ];
        for (name, family, help, value_fn) in families {
            self.head(name, family, help);
            for sink in &account.sinks {
                self.sample(name, &[("sink", &sink.name)], value_fn(sink));
            }
        }
    }

    fn found(&mut self, found: Found) {
        let name = "systrail_detections_total";
        self.head(name, "counter", "Matches of detection rules");
        for ((level, _), count) in Level::NAMES.iter().zip(found.counts) {
            self.sample(name, &[("level", level)], count);
        }
        self.alone([(
            "systrail_detection_rules_off_total",
            "counter",
            "Detection rules that took too long and were switched off",
            found.off_count,
        )]);
        if let Some(counts) = found.alerts {
            let name = "systrail_alerts_total";
            let help = "Matches that were to be told to the command of alerts";
            self.head(name, "counter", help);
            for ((result, _), count) in Outcome::NAMES.iter().zip(counts) {
                self.sample(name, &[("result", result)], count);
            }
        }
    }

    fn reloads(&mut self, counts: [u64; Reload::NAMES.len()]) {
        let name = "systrail_reloads_total";
        let help = "How often the configuration was read again, by what came of it";
        self.head(name, "counter", help);
        for ((result, _), count) in Reload::NAMES.iter().zip(counts) {
            self.sample(name, &[("result", result)], count);
        }
    }

    fn usage(&mut self, usage: Usage) {
        let name = "systrail_memory_bytes";
        self.head(name, "gauge", "Memory that the recorder has");
        self.sample(name, &[], usage.memory_size);
        let name = "systrail_cpu_seconds_total";
        self.head(name, "counter", "Processor time of the recorder");
        let time = usage.processor_time;
        let (seconds, millis) = (time.as_secs(), time.subsec_millis());
        self.sample(name, &[], format_args!("{seconds}.{millis:03}"));
    }

    fn kept(&mut self, kept: Kept) {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        };
        let families = [
            (
                "systrail_store_bytes",
                "Bytes of the store on the disk",
                Some(kept.size),
            ),
            (
                "systrail_store_oldest_seconds",
                "When the oldest segment of the store was begun, in seconds since the epoch",
                kept.begun.map(seconds),
            ),
            (
                "systrail_store_written_seconds",
                "When the store was written last, in seconds since the epoch",
                kept.written.map(seconds),
            ),
        ];
        for (name, help, value) in families {
            if let Some(value) = value {
                self.head(name, "gauge", help);
                self.sample(name, &[], value);
            }
        }
    }

    fn hashes(&mut self, counts: image_hash::Counts) {
        let families = [
            (
                "systrail_hash_files_total",
                "counter",
                "Files of images that were read and hashed",
                counts.hashed,
            ),
            (
                "systrail_hash_refused_total",
                "counter",
                "Files of images that were not hashed, for a reason that the trail tells",
                counts.refused,
            ),
            (
                "systrail_hash_busy_total",
                "counter",
                "Events of images whose files there was no room for among those that wait",
                counts.busy,
            ),
            (
                "systrail_hash_bytes_total",
                "counter",
                "Bytes that were read of images",
                counts.size,
            ),
            (
                "systrail_hash_waiting",
                "gauge",
                "Files of images that wait to be read",
                counts.waiting,
            ),
        ];
        self.alone(families);
    }

    fn forwarded(&mut self, counts: &forward::Counts) {
        let families = [
            (
                "systrail_forwarded_total",
                "counter",
                "Events that the receiver of the fleet accepted",
                counts.forwarded,
            ),
            (
                "systrail_forward_refused_total",
                "counter",
                "Events that it refused one by one, which are kept aside",
                counts.refused,
            ),
            (
                "systrail_forward_failures_total",
                "counter",
                "Requests that came to nothing",
                counts.failures,
            ),
            (
                "systrail_forward_owed",
                "gauge",
                "Events in the store that it has not accepted yet, when last counted",
                counts.owed,
            ),
            (
                "systrail_forward_accepted_seconds",
                "gauge",
                "When it accepted something last, in seconds since the epoch",
                counts.accepted,
            ),
        ];
        self.alone(families);
    }

    /// Families of one sample each, without labels.
    fn alone<const N: usize>(&mut self, families: [(&str, &str, &str, u64); N]) {
        for (name, family, help, value) in families {
            self.head(name, family, help);
            self.sample(name, &[], value);
        }
    }

    fn head(&mut self, name: &str, family: &str, help: &str) {
        self.line(format_args!(
            "# HELP {name} {help}\n# TYPE {name} {family}\n"
        ));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}\n"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _written = self.text.write_fmt(text);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
