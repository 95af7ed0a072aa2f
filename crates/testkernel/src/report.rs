//! What the test kernel tells: breaches of the kernel's contract, calls, requests, log entries.
//!
//! It travels as text, a fact a line, so that a person can read it as well.

use std::collections::BTreeMap;
use std::fmt;

/// The state of the test kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the driver did that the kernel's documentation forbids, and what it left behind.
    pub breaches: Vec<String>,
    /// Calls of the kernel's functions since the last reset.
    pub calls: BTreeMap<String, u64>,
    /// Requests to the driver's device by major function since the last reset.
    pub requests: BTreeMap<u32, u64>,
    /// Entries of the system's event log: step and status.
    pub log: Vec<(u32, u32)>,
    /// Whether the driver is loaded.
    pub is_loaded: bool,
    /// Whether the call that was to fail came.
    pub has_struck: bool,
    /// Requests the driver has not completed.
    pub pended: u64,
    /// The security descriptor of the driver's device, in hexadecimal.
    pub descriptor: String,
}

impl Report {
    /// How often the driver called `function`.
    pub fn calls(&self, function: &str) -> u64 {
        self.calls.get(function).copied().unwrap_or(0)
    }

    /// How many requests of a kind came.
    pub fn requests(&self, major: u32) -> u64 {
        self.requests.get(&major).copied().unwrap_or(0)
    }

    /// Reads a report; lines it does not know it leaves out.
    pub fn read(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
            match word {
                "breach" => report.breaches.push(rest.to_owned()),
                "call" => {
                    let count = second.parse().unwrap_or(0);
                    report.calls.insert(first.to_owned(), count);
                }
                "request" => {
                    let major = first.parse().unwrap_or(u32::MAX);
                    report.requests.insert(major, second.parse().unwrap_or(0));
                }
                "log" => report
                    .log
                    .push((first.parse().unwrap_or(0), second.parse().unwrap_or(0))),
                "loaded" => report.is_loaded = rest == "true",
                "struck" => report.has_struck = rest == "true",
                "pended" => report.pended = rest.parse().unwrap_or(0),
                "descriptor" => rest.clone_into(&mut report.descriptor),
                _ => {}
            }
        }
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for breach in &self.breaches {
            writeln!(formatter, "breach {}", breach.replace('\n', " "))?;
        }
        for (function, count) in &self.calls {
            writeln!(formatter, "call {function} {count}")?;
        }
        for (major, count) in &self.requests {
            writeln!(formatter, "request {major} {count}")?;
        }
        for (step, status) in &self.log {
            writeln!(formatter, "log {step} {status}")?;
        }
        writeln!(formatter, "loaded {}", self.is_loaded)?;
        writeln!(formatter, "struck {}", self.has_struck)?;
        writeln!(formatter, "pended {}", self.pended)?;
        writeln!(formatter, "descriptor {}", self.descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn what_is_written_is_read_back() {
        let report = Report {
            breaches: vec!["ZwClose called at IRQL 2, allowed is 0".to_owned()],
            calls: [("ZwClose".to_owned(), 3)].into(),
            requests: [(3, 4), (14, 1)].into(),
            log: vec![(5, 0xc000_009a)],
            is_loaded: true,
            has_struck: true,
            pended: 4,
            descriptor: "0100".to_owned(),
        };
        assert_eq!(Report::read(&report.to_string()), report);
        assert_eq!(report.calls("ZwClose"), 3);
        assert_eq!(report.requests(3), 4);
        assert_eq!(report.requests(2), 0);
    }

    #[test]
    fn a_breach_is_one_line() {
        let report = Report {
            breaches: vec!["a\nb".to_owned()],
            ..Report::default()
        };
        assert_eq!(Report::read(&report.to_string()).breaches, ["a b"]);
    }
}
