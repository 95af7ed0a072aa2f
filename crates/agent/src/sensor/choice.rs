//! Which sensor records: the one that was asked for, or the best that runs here.
//!
//! There is no guessing from versions and settings. Each sensor is opened for real, and one that
//! cannot be says why and what to do about it.

use std::fmt;

use super::compare::Compared;
use super::{Error, Sensor, Settings};

/// Which sensor is to record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The best that runs here.
    #[default]
    Auto,
    /// eBPF programs.
    Ebpf,
    /// Perf events.
    Perf,
    /// The proc connector.
    Connector,
    /// The Windows driver.
    Driver,
    /// A session of Windows' event tracing.
    Etw,
    /// The Windows driver, compared with such a session.
    DriverEtw,
}

impl Source {
    /// Every source by the name it has on the command line and in the file.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("auto", Self::Auto),
        ("ebpf", Self::Ebpf),
        ("perf", Self::Perf),
        ("connector", Self::Connector),
        ("driver", Self::Driver),
        ("etw", Self::Etw),
        ("driver+etw", Self::DriverEtw),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, source)| *source == self)
            .map_or("auto", |(name, _)| name)
    }
}

/// One way to observe the machine.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    /// Which it is in the configuration.
    pub source: Source,
    /// The name in the trail.
    pub name: &'static str,
    /// What it cannot give.
    pub lacks: &'static [&'static str],
    /// Loads and opens everything it needs, and attaches nothing.
    pub open_fn: fn(&Settings) -> Result<Box<dyn Sensor>, Error>,
}

/// Every tier of this system, the best first.
#[cfg(windows)]
pub const TIERS: &[Tier] = &[
    Tier {
        source: Source::Driver,
        name: "driver",
        lacks: &[],
        open_fn: super::windows::open,
    },
    Tier {
        source: Source::Etw,
        name: "etw",
        lacks: &[
            "integrity level and elevation of a process",
            "a command line beyond the 512 or 1,024 characters at which the kernel cuts it",
            "the path of a program that ends before it loads an image",
            "the kinds of lost events: their number alone",
        ],
        open_fn: super::etw::open,
    },
];

/// Every tier of this system, the best first.
#[cfg(target_os = "linux")]
pub const TIERS: &[Tier] = &[
    Tier {
        source: Source::Ebpf,
        name: "ebpf",
        lacks: &[],
        open_fn: super::ebpf::open,
    },
    Tier {
        source: Source::Perf,
        name: "perf",
        lacks: &[
            "the command line of a process that is gone before /proc is read",
            "exit codes and users where the proc connector does not run beside it",
            "the kinds of lost events: their number alone",
        ],
        open_fn: super::perf::open,
    },
    Tier {
        source: Source::Connector,
        name: "connector",
        lacks: &[
            "image loads",
            "the program and command line of a process that is gone before /proc is read",
            "the creator of a process where it is not the parent, and of a thread",
            "the kinds of lost events: their number alone",
        ],
        open_fn: super::connector::open,
    },
];

/// A sensor that opened, and why no better one did.
pub struct Choice {
    /// The sensor.
    pub sensor: Box<dyn Sensor>,
    /// Those that were tried before it.
    pub refused: Vec<Refusal>,
}

/// Why one tier does not run here.
#[derive(Debug, thiserror::Error)]
#[error("{name} does not run here: {cause}; {cure}")]
pub struct Refusal {
    /// The tier.
    pub name: &'static str,
    /// What is in the way.
    pub cause: String,
    /// What to do about it.
    pub cure: String,
    /// Whether that passes by itself.
    pub passes: bool,
}

impl Refusal {
    /// The refusal that `error` of the tier `name` is.
    pub fn new(name: &'static str, error: Error) -> Self {
        let passes = matches!(error, Error::Busy { .. });
        let (cause, cure) = match error {
            Error::Unavailable { cause, cure } | Error::Busy { cause, cure } => (cause, cure),
            error @ Error::Io { .. } => (
                error.to_string(),
                "run `systrail doctor`, which looks closer".to_owned(),
            ),
        };
        Self {
            name,
            cause,
            cure,
            passes,
        }
    }
}

/// Nothing runs here.
#[derive(Debug, thiserror::Error)]
pub struct NoneRuns(pub Vec<Refusal>);

impl NoneRuns {
    /// Whether one may run in a moment: what is in its way passes by itself.
    pub fn passes(&self) -> bool {
        self.0.iter().any(|refusal| refusal.passes)
    }
}

impl fmt::Display for NoneRuns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no sensor can run here")?;
        for refusal in &self.0 {
            write!(formatter, "\n  {refusal}")?;
        }
        Ok(())
    }
}

/// Opens the sensor of `source`, or for [`Source::Auto`] the first that opens.
pub fn open(source: Source, settings: &Settings) -> Result<Choice, NoneRuns> {
    let mut refused = Vec::new();
    let tier = |source| TIERS.iter().find(|tier| tier.source == source);
    if source == Source::DriverEtw
        && let (Some(driver), Some(etw)) = (tier(Source::Driver), tier(Source::Etw))
    {
        return open_both(driver, etw, settings);
    }
    for tier in TIERS {
        if source != Source::Auto && source != tier.source {
            continue;
        }
        match (tier.open_fn)(settings) {
            Ok(sensor) => return Ok(Choice { sensor, refused }),
            Err(error) => refused.push(Refusal::new(tier.name, error)),
        }
    }
    if refused.is_empty() {
        refused.push(Refusal {
            name: source.name(),
            cause: "it is for another system".to_owned(),
            cure: "leave --source and `source` out, or say auto".to_owned(),
            passes: false,
        });
    }
    Err(NoneRuns(refused))
}

/// Opens both: one records, and is compared with the other.
fn open_both(recorder: &Tier, witness: &Tier, settings: &Settings) -> Result<Choice, NoneRuns> {
    let open = |tier: &Tier| {
        (tier.open_fn)(settings).map_err(|error| NoneRuns(vec![Refusal::new(tier.name, error)]))
    };
    let (recorder, witness) = (open(recorder)?, open(witness)?);
    let now_fn = || crate::sys::clock::now().0;
    Ok(Choice {
        sensor: Box::new(Compared::new(recorder, witness, &settings.waker, now_fn)),
        refused: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service ended for good where another agent read the driver for a moment.
    #[test]
    fn what_passes_by_itself_is_told_apart_from_what_does_not() {
        let (cause, cure) = ("somebody".to_owned(), "wait".to_owned());
        let busy = Refusal::new("driver", Error::Busy { cause, cure });
        let (cause, cure) = ("no driver".to_owned(), "install it".to_owned());
        let unavailable = || {
            let (cause, cure) = (cause.clone(), cure.clone());
            Refusal::new("etw", Error::Unavailable { cause, cure })
        };
        assert_eq!(busy.to_string(), "driver does not run here: somebody; wait");
        assert!(!NoneRuns(vec![unavailable()]).passes());
        assert!(NoneRuns(vec![busy, unavailable()]).passes());
    }
}
