//! What the service's `Parameters` key sets, read once at the start.

use event::control::Conditions;
use nt::driver::RegistryPath;
use nt::registry::{Key, Value};

const PARAMETERS: [u16; 11] = nt::string::utf_16("Parameters");
const QUEUE_LIMIT: [u16; 11] = nt::string::utf_16("QueueLimit");
const FLUSH_INTERVAL_MS: [u16; 16] = nt::string::utf_16("FlushIntervalMs");

const START_ADDRESS: [u16; 13] = nt::string::utf_16("StartAddress");

/// Of which threads it is asked where they begin to run; the numbers are the registry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartAddress(u32);

impl StartAddress {
    /// Of those that another process made. The question is most of what a thread costs.
    pub(crate) const REMOTE: Self = Self(1);
    /// Of every one.
    pub(crate) const ALL: Self = Self(2);

    /// Whether it is asked of a thread that another process made, or its own.
    pub(crate) fn is_asked(self, is_remote: bool) -> bool {
        self == Self::ALL || (is_remote && self == Self::REMOTE)
    }
}

/// From asking no thread to asking all.
const START_ADDRESS_BOUNDS: Bounds = Bounds {
    min: 0,
    max: StartAddress::ALL.0,
    default: StartAddress::REMOTE.0,
};

/// A setting's bounds and its default.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    min: u32,
    max: u32,
    default: u32,
}

const QUEUE_LIMIT_BOUNDS: Bounds = Bounds {
    min: 64 * 1024,
    max: 64 * 1024 * 1024,
    default: 4 * 1024 * 1024,
};

const FLUSH_INTERVAL_BOUNDS: Bounds = Bounds {
    min: 1,
    max: 1000,
    default: 50,
};

/// The settings in use, and which values were refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes of queued records.
    pub(crate) queue_limit: u32,
    pub(crate) flush_interval_ms: u32,
    pub(crate) start_address: StartAddress,
    pub(crate) refused: Conditions,
}

impl Settings {
    /// A value that is missing takes its default; one of the wrong type, out of range or unreadable
    /// does so too, and counts as refused.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub(crate) fn read(path: RegistryPath<'_>) -> Self {
        let key = Key::open(path, &PARAMETERS);
        let read = |name: &[u16]| match &key {
            Ok(Some(key)) => key.value(name),
            Ok(None) => Ok(None),
            Err(status) => Err(*status),
        };
        let (queue_limit, queue_refused) = QUEUE_LIMIT_BOUNDS.apply(read(&QUEUE_LIMIT));
        let (flush_interval_ms, flush_refused) =
            FLUSH_INTERVAL_BOUNDS.apply(read(&FLUSH_INTERVAL_MS));
        let (start_address, start_refused) = START_ADDRESS_BOUNDS.apply(read(&START_ADDRESS));
        let mut refused = Conditions::default();
        if queue_refused {
            refused = refused.with(Conditions::QUEUE_LIMIT_REFUSED);
        }
        if flush_refused {
            refused = refused.with(Conditions::FLUSH_INTERVAL_REFUSED);
        }
        if start_refused {
            refused = refused.with(Conditions::START_ADDRESS_REFUSED);
        }
        Self {
            queue_limit,
            flush_interval_ms,
            start_address: StartAddress(start_address),
            refused,
        }
    }
}

impl Bounds {
    /// The setting, and whether what was found is refused.
    fn apply(self, found: nt::Result<Option<Value>>) -> (u32, bool) {
        match found {
            Ok(None) => (self.default, false),
            Ok(Some(Value::Dword(value))) if (self.min..=self.max).contains(&value) => {
                (value, false)
            }
            Ok(Some(_)) | Err(_) => (self.default, true),
        }
    }
}
