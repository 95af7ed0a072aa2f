//! The kinds of events: numbers with names, because a number from another trust domain may be any.
//!
//! The table below is the one list of them. Constants, order, names, sets and counters follow from
//! it, here and wherever a sensor or the agent goes through all kinds.

use core::fmt;

/// What happened. Ranges leave gaps, so a subject's kinds stay together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

/// What events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A process: its start, the programs it runs, its end.
    Process,
    /// A thread.
    Thread,
    /// A file mapped as code.
    Image,
    /// A program that a process tried to run and could not.
    Exec,
    /// What a rule found in the other events.
    Detection,
    /// The recording itself.
    Recording,
}

/// Declares the kinds, each with what it is, its number, its name in the log and the store, and
/// what it is about.
macro_rules! kinds {
    (
        observed { $($(#[doc = $doc:literal])+ $kind:ident = $number:literal, $name:literal, $subject:ident;)+ }
        told { $($(#[doc = $told_doc:literal])+ $told:ident = $told_number:literal, $told_name:literal, $told_subject:ident;)+ }
    ) => {
        /// The places of observed kinds.
        #[expect(non_camel_case_types, reason = "they are the names of the constants")]
        enum Place {
            $($kind,)+
        }

        impl Kind {
            $($(#[doc = $doc])+ pub const $kind: Self = Self($number);)+
            $($(#[doc = $told_doc])+ pub const $told: Self = Self($told_number);)+

            /// Every kind, the observed ones first.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+ $(Self::$told,)+];

            /// The kinds a sensor observes, in the order every table shows them. These are the ones
            /// an account is kept for.
            pub const OBSERVED: [Self; [$($number,)+].len()] = [$(Self::$kind,)+];

            /// The place of an observed kind in [`Kind::OBSERVED`] and in every table of counters.
            pub const fn index(self) -> Option<usize> {
                match self {
                    $(Self::$kind => Some(Place::$kind as usize),)+
                    _ => None,
                }
            }

            /// The name in the log and the store, or `None` for a number this version does not know.
            pub const fn name(self) -> Option<&'static str> {
                Some(match self {
                    $(Self::$kind => $name,)+
                    $(Self::$told => $told_name,)+
                    Self::ANY => "any",
                    _ => return None,
                })
            }

            /// What it is about, or `None` for a number this version does not know.
            pub const fn subject(self) -> Option<Subject> {
                Some(match self {
                    $(Self::$kind => Subject::$subject,)+
                    $(Self::$told => Subject::$told_subject,)+
                    _ => return None,
                })
            }

            /// What it is, in a sentence, or `None` for a number this version does not know.
            pub const fn about(self) -> Option<&'static str> {
                Some(match self {
                    $(Self::$kind => concat!($($doc),+).trim_ascii(),)+
                    $(Self::$told => concat!($($told_doc),+).trim_ascii(),)+
                    _ => return None,
                })
            }
        }
    };
}

kinds! {
    observed {
        /// A process was created.
        PROCESS_START = 1, "process_start", Process;
        /// A process replaced its program (Linux).
        PROCESS_EXEC = 2, "process_exec", Process;
        /// A process ended.
        PROCESS_EXIT = 3, "process_exit", Process;
        /// A thread was created.
        THREAD_START = 16, "thread_start", Thread;
        /// A thread ended.
        THREAD_EXIT = 17, "thread_exit", Thread;
        /// An image was mapped.
        IMAGE_LOAD = 32, "image_load", Image;
        /// An image was unmapped (Windows).
        IMAGE_UNLOAD = 33, "image_unload", Image;
        /// The kernel refused to run a program (Linux).
        EXEC_FAILED = 48, "exec_failed", Exec;
    }
    told {
        /// The file of an image was read.
        IMAGE_DETAILS = 40, "image_details", Image;
        /// A rule matched an event.
        DETECTION = 224, "detection", Detection;
        /// Events were lost.
        LOST = 240, "lost", Recording;
        /// The sensor began to record.
        SENSOR_START = 241, "sensor_start", Recording;
        /// The sensor stopped recording.
        SENSOR_STOP = 242, "sensor_stop", Recording;
        /// Something about the recording that is no loss: that it goes on.
        MARK = 243, "mark", Recording;
    }
}

/// How many kinds are observed.
const OBSERVED_COUNT: usize = Kind::OBSERVED.len();

impl Kind {
    /// Of events that were lost, where nobody counts them by kind; no event is of it.
    pub const ANY: Self = Self(0xffff);

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let any = [Self::ANY];
        Self::ALL
            .iter()
            .chain(&any)
            .copied()
            .find(|kind| kind.name() == Some(name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.pad(name),
            None => write!(formatter, "kind_{}", self.0),
        }
    }
}

/// A set of observed kinds; the default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u64);

const _: () = assert!(
    OBSERVED_COUNT < 64,
    "every observed kind has a bit in `Kinds`"
);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Every observed kind.
    pub const ALL: Self = Self(!(u64::MAX << OBSERVED_COUNT));
    /// Image loads.
    pub const IMAGE_LOAD: Self = Self::NONE.with(Kind::IMAGE_LOAD);
    /// What happens to processes.
    pub const PROCESS: Self = Self::of(Subject::Process);
    /// What happens to threads.
    pub const THREAD: Self = Self::of(Subject::Thread);
    /// What happens to images.
    pub const IMAGE: Self = Self::of(Subject::Image);
    /// What could not be run.
    pub const EXEC: Self = Self::of(Subject::Exec);

    /// Every observed kind about `subject`.
    pub const fn of(subject: Subject) -> Self {
        let mut kinds = Self::NONE;
        let mut rest: &[Kind] = &Kind::OBSERVED;
        while let [kind, after @ ..] = rest {
            if let Some(about) = kind.subject()
                && about as u8 == subject as u8
            {
                kinds = kinds.with(*kind);
            }
            rest = after;
        }
        kinds
    }

    /// This set and `kind`; a kind no account is kept for changes nothing.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        match kind.index() {
            Some(index) => Self(self.0 | 1 << index),
            None => self,
        }
    }

    /// Every kind of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Every kind of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Every kind of this set that is not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `kind` is in it.
    pub const fn contains(self, kind: Kind) -> bool {
        match kind.index() {
            Some(index) => self.0 & 1 << index != 0,
            None => false,
        }
    }

    /// Whether every kind of `other` is in it.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its kinds, in the order of [`Kind::OBSERVED`].
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::OBSERVED
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }
}

/// A value for each observed kind: what tables of counters are made of. In memory it is the array
/// of its values, as the eBPF maps have it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByKind<T>([T; OBSERVED_COUNT]);

impl<T> ByKind<T> {
    /// The values in the order of [`Kind::OBSERVED`].
    pub const fn new(values: [T; OBSERVED_COUNT]) -> Self {
        Self(values)
    }

    /// What `value_fn` makes of each kind.
    pub fn from_fn(value_fn: impl FnMut(Kind) -> T) -> Self {
        Self(Kind::OBSERVED.map(value_fn))
    }

    /// The value of `kind`; `None` for a kind no account is kept for.
    #[inline(always)]
    pub fn get(&self, kind: Kind) -> Option<&T> {
        self.0.get(kind.index()?)
    }

    /// The value of `kind`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, kind: Kind) -> Option<&mut T> {
        self.0.get_mut(kind.index()?)
    }

    /// Every kind with its value, in the order of [`Kind::OBSERVED`].
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> + Clone {
        Kind::OBSERVED.into_iter().zip(&self.0)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Kind, &mut T)> {
        Kind::OBSERVED.into_iter().zip(&mut self.0)
    }
}

impl<T: Default> Default for ByKind<T> {
    fn default() -> Self {
        Self::from_fn(|_kind| T::default())
    }
}

impl ByKind<u64> {
    /// The number of `kind`; 0 for a kind no account is kept for.
    pub fn count(&self, kind: Kind) -> u64 {
        self.get(kind).copied().unwrap_or(0)
    }

    /// All numbers together.
    pub fn sum(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, count| u64::saturating_add(sum, *count))
    }

    /// Adds to the number of `kind`; a kind no account is kept for changes nothing.
    pub fn add(&mut self, kind: Kind, count: u64) {
        if let Some(counter) = self.get_mut(kind) {
            *counter = counter.saturating_add(count);
        }
    }
}
