//! The configuration file: TOML text -> a checked [`Config`] and everything that is wrong with it.
//!
//! A file with an error is refused as a whole, never half obeyed: a recorder that silently runs
//! with other limits or other rules than were written is worse than one that does not start. All
//! findings are told at once, each with its place, the offending value and what is allowed.
//!
//! `config/keys.rs` knows the keys, `config/reader.rs` reads typed values, `config/check.rs` looks
//! for rules that can never fire.

mod check;
mod forward;
mod keys;
mod reader;
mod rules;
mod show;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use event::Kind;
use toml::de::DeTable;

pub use self::check::hopeless_rules;
pub use self::forward::{Forward, Url};
use self::reader::Reader;
use crate::detect::Level;
use crate::environment::Names;
use crate::rules::{Invalid, Kinds, Rule, Rules, System};
use crate::sensor::{self, choice::Source};
use crate::sys::machine;
use crate::sys::wake::Waker;

/// The most bytes of a configuration file.
pub const FILE_SIZE_MAX: u64 = 1 << 20;

/// What `--metrics` and an empty `[metrics]` table mean: this machine alone can ask.
pub const METRICS_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9477);

/// The longest an event may wait in a kernel buffer.
pub const FLUSH_INTERVAL: Range<Duration> = Range {
    least: Duration::from_millis(1),
    most: Duration::from_secs(1),
};

/// An address to serve on: `127.0.0.1:9477`, or a port alone, which is this machine's own.
pub fn serve_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    let own = |port| SocketAddr::new(METRICS_ADDRESS.ip(), port);
    let address = port.map(own).or_else(|_no_port| text.parse());
    address.map_err(|_neither| {
        format!("it must be an address with a port, or a port: {METRICS_ADDRESS}")
    })
}
/// How long a detection rule may take for an event.
pub const DETECT_BUDGET: Range<Duration> = Range {
    least: Duration::from_micros(50),
    most: Duration::from_secs(1),
};
/// The same where nothing is said.
pub const DETECT_BUDGET_DEFAULT: Duration = Duration::from_millis(1);
/// Arguments of the command that is told what rules match.
pub const ALERT_ARGUMENTS_MAX: usize = 64;
/// Bytes of a kernel buffer.
pub const BUFFER_SIZE: Range<u64> = Range {
    least: 64 << 10,
    most: 256 << 20,
};
/// Entries of the process cache.
pub const PROCESSES: Range<u64> = Range {
    least: 1_024,
    most: 4 << 20,
};
/// Entries of the cache of image paths.
pub const IMAGES: Range<u64> = Range {
    least: 256,
    most: 1 << 20,
};
/// Bytes a second of the trail that long arguments of one user may take.
pub const ARGUMENT_RATE: Range<u64> = Range {
    least: 64 << 10,
    most: 1 << 30,
};
/// Bytes a second that are read of images to hash them.
pub const HASH_RATE: Range<u64> = Range {
    least: 64 << 10,
    most: 1 << 30,
};
/// Bytes of the largest image that is hashed.
pub const HASH_FILE_SIZE: Range<u64> = Range {
    least: 1 << 20,
    most: 1 << 40,
};
/// Bytes at which the log is rotated.
pub const ROTATE_SIZE: Range<u64> = Range {
    least: 64 << 10,
    most: 1 << 40,
};
/// Age at which the log is rotated, and at which a rotated file is deleted.
pub const LOG_AGE: Range<Duration> = Range {
    least: Duration::from_mins(1),
    most: Duration::from_hours(24 * 3_650),
};
/// Bytes at which a new segment of the store is begun.
pub const SEGMENT_SIZE: Range<u64> = Range {
    least: 1 << 20,
    most: 64 << 30,
};
/// Bytes of all segments together.
pub const STORE_SIZE: Range<u64> = Range {
    least: 4 << 20,
    most: 1 << 50,
};
/// How long nothing is recorded until it is said that the recording goes on.
pub const HEARTBEAT: Range<Duration> = Range {
    least: Duration::from_secs(5),
    most: Duration::from_hours(24),
};
/// The same where nothing is said.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_mins(5);
/// Rotated files that are kept.
pub const KEEP_FILES: Range<u64> = Range {
    least: 1,
    most: 10_000,
};

/// The values a setting may have, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// The least.
    pub least: T,
    /// The most.
    pub most: T,
}

impl<T: PartialOrd> Range<T> {
    /// Whether `value` is allowed.
    pub fn contains(&self, value: &T) -> bool {
        *value >= self.least && *value <= self.most
    }
}

/// What a loss means for the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// It is told in the trail and in the account.
    #[default]
    Log,
    /// The run also fails in the end.
    Fail,
}

impl OnLoss {
    /// Every policy by its name.
    pub const NAMES: [(&'static str, Self); 2] = [("log", Self::Log), ("fail", Self::Fail)];
}

/// The names of `events`, with the kinds each stands for.
pub const EVENT_NAMES: [(&str, Kinds); 4] = [
    ("process", Kinds::PROCESS),
    ("thread", Kinds::THREAD),
    ("image", Kinds::IMAGE),
    ("exec_failed", Kinds::EXEC),
];

/// What is recorded where nothing is said. Looking for a program makes a failed exec of each directory
/// it is not in, and to see them can cost every system call of the machine something: whoever wants
/// them says so.
pub const EVENTS_DEFAULT: Kinds = Kinds::ALL.without(Kinds::EXEC);

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which sensor.
    pub source: Source,
    /// What a loss means.
    pub on_loss: OnLoss,
    /// The longest an event waits in a kernel buffer.
    pub flush_interval: Duration,
    /// The kinds that are recorded.
    pub events: Kinds,
    /// Include rules.
    pub include: Vec<RuleEntry>,
    /// Exclude rules.
    pub exclude: Vec<RuleEntry>,
    /// The log file.
    pub log: Log,
    /// The store.
    pub store: Store,
    /// The rules that are tried on what is recorded.
    pub detect: Option<Detect>,
    /// The command that is run for what they match.
    pub alert: Option<Alert>,
    /// The hashes of images.
    pub hash: Hash,
    /// Where the trail is forwarded to.
    pub forward: Option<Forward>,
    /// The variables of a program's environment that are told.
    pub environment: Names,
    /// Sizes of buffers and caches.
    pub limits: Limits,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: Source::default(),
            on_loss: OnLoss::default(),
            flush_interval: Duration::from_millis(50),
            events: EVENTS_DEFAULT,
            include: Vec::new(),
            exclude: Vec::new(),
            log: Log::default(),
            store: Store::default(),
            detect: None,
            alert: None,
            hash: Hash::default(),
            forward: None,
            environment: Names::usual(),
            limits: Limits::default(),
            metrics: None,
        }
    }
}

/// One rule and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEntry {
    /// Where its table begins.
    pub place: Place,
    /// The rule.
    pub rule: Rule,
}

/// The log file's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Whether there is one.
    pub on: bool,
    /// Where; the data directory's `systrail.jsonl` when not said.
    pub path: Option<PathBuf>,
    /// Rotate before it grows beyond this.
    pub rotate_size: u64,
    /// Rotate when it is this old.
    pub rotate_age: Duration,
    /// Keep at most this many rotated files.
    pub keep_files: u64,
    /// Delete rotated files older than this.
    pub keep_age: Option<Duration>,
    /// Keep at most this many bytes in all.
    pub keep_size: Option<u64>,
    /// Compress the rotated files.
    pub compress: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            on: true,
            path: None,
            rotate_size: 64 << 20,
            rotate_age: Duration::from_hours(24),
            keep_files: 16,
            keep_age: None,
            keep_size: None,
            compress: false,
        }
    }
}

/// The store's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Whether there is one.
    pub on: bool,
    /// Where; the data directory's `store` when not said.
    pub path: Option<PathBuf>,
    /// Begin a new segment when one has grown to this.
    pub segment_size: u64,
    /// Begin a new segment when one is this old.
    pub segment_age: Duration,
    /// Delete segments older than this.
    pub keep_age: Duration,
    /// Keep at most this many bytes in all.
    pub keep_size: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            on: true,
            path: None,
            segment_size: 256 << 20,
            segment_age: Duration::from_hours(24),
            keep_age: Duration::from_hours(24 * 30),
            keep_size: 4 << 30,
        }
    }
}

/// Detection rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detect {
    /// The directory of Sigma rules.
    pub rules: PathBuf,
    /// The least level that is tried.
    pub level: Level,
    /// How long a rule may take for an event.
    pub budget: Duration,
}

/// A command that is told what rules match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// The hashes of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// Whether there are any.
    pub on: bool,
    /// Bytes a second that are read for them.
    pub rate: u64,
    /// Bytes of the largest image that is read.
    pub file_size_max: u64,
}

impl Default for Hash {
    fn default() -> Self {
        Self {
            on: false,
            rate: 2 << 20,
            file_size_max: 512 << 20,
        }
    }
}

/// Sizes of buffers and caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the kernel buffer for process events.
    pub process_buffer_size: u64,
    /// Bytes of the kernel buffer for thread and image events.
    pub event_buffer_size: u64,
    /// Processes whose program is remembered.
    pub processes: u64,
    /// Image paths that are remembered.
    pub images: u64,
    /// Bytes of the trail that long arguments of one user's programs may take a second.
    pub argument_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            process_buffer_size: 4 << 20,
            event_buffer_size: 8 << 20,
            processes: 65_536,
            images: 8_192,
            argument_rate: 1 << 20,
        }
    }
}

/// A place in the file, counted from 1 as editors do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is obeyed, but hardly what was meant.
    Warning,
}

/// Something wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What, and what is allowed instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Place { line, column } = self.place;
        write!(formatter, "{line}:{column}: {severity}: {}", self.message)
    }
}

/// Why a file gives no text.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("configuration {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Opening it could wait for ever.
    #[error("configuration {}: not a regular file; name one, or pipe it to /dev/stdin", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// More than [`FILE_SIZE_MAX`].
    #[error("configuration {}: larger than {FILE_SIZE_MAX} bytes, the most that is read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// TOML is UTF-8.
    #[error("configuration {}: not UTF-8 from byte {offset} on", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that is wrong.
        offset: usize,
    },
}

/// The text of a configuration file.
pub fn read_text(path: &Path) -> Result<String, ReadError> {
    use std::io::Read as _;
    let path_buf = || path.to_owned();
    let io_error = |source| ReadError::Io {
        path: path_buf(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    // Opening a named pipe waits for who writes it. In these places are devices, and names for what is
    // open already, such as the pipe of `--config <(command)`: those do not wait.
    let is_open = path.starts_with("/dev") || path.starts_with("/proc");
    if !metadata.is_file() && !is_open {
        return Err(ReadError::NotAFile { path: path_buf() });
    }
    let file = std::fs::File::open(path).map_err(io_error)?;
    let mut bytes = Vec::new();
    file.take(FILE_SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if bytes.len() as u64 > FILE_SIZE_MAX {
        return Err(ReadError::TooLarge { path: path_buf() });
    }
    String::from_utf8(bytes).map_err(|error| ReadError::NotUtf8 {
        path: path_buf(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// The file that is read when none is named and it is there: `/etc/systrail/systrail.toml`,
/// `%ProgramData%\SysTrail\systrail.toml`.
pub fn default_path() -> PathBuf {
    machine::configuration_path()
}

/// Where data is kept when no other place is said: `/var/lib/systrail` for root and the XDG state
/// directory for others, `%ProgramData%\SysTrail` on Windows.
pub fn data_directory() -> PathBuf {
    machine::data_directory()
}

impl Config {
    /// Understands `text`. The configuration is to be used only when no finding is an error; all
    /// findings are in the order of their places.
    pub fn parse(text: &str) -> (Self, Vec<Finding>) {
        Self::parse_for(System::HERE, text)
    }

    /// The same of a configuration for another system, whose rules are about its texts.
    pub fn parse_for(system: System, text: &str) -> (Self, Vec<Finding>) {
        let mut reader = Reader::new(text, system);
        let (table, syntax_errors) = DeTable::parse_recoverable(text);
        for error in syntax_errors {
            let span = error.span().unwrap_or(0..0);
            reader.error(&span, error.message().trim_end().to_owned());
        }
        // What a broken file would mean is guesswork; more findings would be about the guess.
        if reader.has_errors() {
            return (Self::default(), reader.into_findings());
        }
        let config = keys::read(&mut reader, table.get_ref());
        if !reader.has_errors()
            && let Err(error) = config.rules()
        {
            reader.error(&(0..0), error.to_string());
        }
        (config, reader.into_findings())
    }

    /// What a sensor is told; `waker` ends its waiting.
    pub fn sensor_settings(&self, waker: &Waker) -> sensor::Settings {
        // A buffer's range is well inside 32 bits.
        let size = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        sensor::Settings {
            threads: self.events.contains(Kind::THREAD_START),
            images: self.events.contains(Kind::IMAGE_LOAD),
            failed_execs: self.events.contains(Kind::EXEC_FAILED),
            stamps: self.hash.on,
            environment: self.environment.clone(),
            process_buffer_size: size(self.limits.process_buffer_size),
            event_buffer_size: size(self.limits.event_buffer_size),
            flush_interval: self.flush_interval,
            waker: waker.clone(),
        }
    }

    /// Where the log is.
    pub fn log_file(&self) -> PathBuf {
        let default = || data_directory().join("systrail.jsonl");
        self.log.path.clone().unwrap_or_else(default)
    }

    /// Where the store is.
    pub fn store_directory(&self) -> PathBuf {
        let default = || data_directory().join("store");
        self.store.path.clone().unwrap_or_else(default)
    }

    /// What is different in `other` and is not taken up by a recording that goes on.
    pub fn different(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            source,
            on_loss,
            flush_interval,
            events,
            include: _,
            exclude: _,
            log,
            store,
            detect: _,
            alert,
            hash,
            forward,
            environment,
            limits,
            metrics,
        } = self;
        let parts = [
            ("source", *source == other.source),
            ("on_loss", *on_loss == other.on_loss),
            ("flush_interval", *flush_interval == other.flush_interval),
            ("events", *events == other.events),
            ("[log]", *log == other.log),
            ("[store]", *store == other.store),
            ("[alert]", *alert == other.alert),
            ("[hash]", *hash == other.hash),
            ("[forward]", *forward == other.forward),
            ("[environment]", *environment == other.environment),
            ("[limits]", *limits == other.limits),
            ("[metrics]", *metrics == other.metrics),
        ];
        let parts = parts.into_iter().filter(|(_, is_same)| !is_same);
        parts.map(|(name, _)| name).collect()
    }

    /// The rules, compiled.
    pub fn rules(&self) -> Result<Rules, Invalid> {
        let rules = |entries: &[RuleEntry]| -> Vec<Rule> {
            entries.iter().map(|entry| entry.rule.clone()).collect()
        };
        Rules::new(&rules(&self.include), &rules(&self.exclude))
    }
}

#[cfg(test)]
mod tests;
