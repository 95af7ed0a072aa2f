//! How much of the trail one user's long arguments may take, and his environment.
//!
//! A program may have megabytes of arguments, and whoever runs thousands of those a second fills the
//! log and the store with them: what was recorded before is then deleted for want of room. So each
//! user has so many bytes of long arguments at once, and so many a second; beyond that arguments are
//! cut to a kibibyte, and the event says so. Which program ran is always told.

use event::{Flags, Header};
use foldhash::HashMap;

use super::Enricher;
use super::program::Program;
use super::token_bucket::TokenBucket;
use crate::trail::{Text, UserId};

/// Bytes of arguments that are always told.
pub(super) const SHORT_SIZE: usize = 1024;

/// Bytes of the trail that they take, told as a line and as a list.
const SHORT: u64 = 2 * SHORT_SIZE as u64;

/// Seconds of the rate that may be taken at once.
const BURST_SECONDS: u64 = 128;

/// All users together have so many times what one has: a user may have the ids of many.
const USERS: u64 = 4;

/// Users that are told apart. Then all but the sum is forgotten.
const USER_COUNT_MAX: usize = 1024;

impl Enricher {
    /// Cuts the arguments and the environment where those of the user take too much of the trail.
    pub(super) fn bound_arguments(&mut self, header: &Header, program: &mut Program) {
        let line = program.command_line();
        // Nearly all are; of those that are Unicode nothing is told at length but control characters.
        let is_unicode = |text: &Text| text.raw().is_none();
        let is_plain = program.trail.command_line.as_ref().is_none_or(is_unicode);
        if !is_plain || line.len() > SHORT_SIZE {
            let size = self.told_size(line, header, program);
            if size < line.len() {
                program.cut_command_line(size);
            }
        }
        // Few programs have any of the variables that are told, and fewer long ones.
        let variables = program.trail.environment.iter().flat_map(|all| all.iter());
        if variables.map(Text::size).sum::<usize>() > SHORT_SIZE {
            let variables = program.environment();
            let size = self.told_size(&variables, header, program);
            if size < variables.len() {
                program.cut_environment(size);
            }
        }
    }

    fn told_size(&mut self, bytes: &[u8], header: &Header, program: &Program) -> usize {
        let arguments = Arguments::new(bytes, header.flags);
        let user = program.trail.user_id.as_ref();
        self.long_arguments.told_size(&arguments, user, header.time)
    }
}

/// What every user has left.
#[derive(Debug)]
pub(super) struct LongArguments {
    /// Bytes a user has a second.
    rate: u64,
    users: HashMap<Option<UserId>, TokenBucket>,
    all: TokenBucket,
}

impl LongArguments {
    /// Every user has `rate` bytes of the trail a second.
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate,
            users: HashMap::default(),
            all: full(rate.saturating_mul(USERS), 0),
        }
    }

    /// How many of these bytes of arguments, of a program of this user, are told at `now`.
    pub(super) fn told_size(
        &mut self,
        arguments: &Arguments<'_>,
        user: Option<&UserId>,
        now: u64,
    ) -> usize {
        let whole = arguments.bytes.len();
        let cost = arguments.cost();
        if cost <= SHORT || self.take(cost, user, now) {
            return whole;
        }
        let mut left = SHORT;
        let fits = arguments.bytes.iter().take_while(|byte| {
            let rest = left.checked_sub(arguments.cost_of(**byte));
            left = rest.unwrap_or(0);
            rest.is_some()
        });
        // A unit of UTF-16 is not torn.
        fits.count() & !1
    }

    fn take(&mut self, cost: u64, user: Option<&UserId>, now: u64) -> bool {
        let rate = self.rate;
        if self.users.len() >= USER_COUNT_MAX && !self.users.contains_key(&user.cloned()) {
            self.users.clear();
        }
        let user = self.users.entry(user.cloned());
        let user = user.or_insert_with(|| full(rate, now));
        if user.left(now) < cost || self.all.left(now) < cost {
            return false;
        }
        user.take(cost);
        self.all.take(cost);
        true
    }
}

/// Bytes of the trail, of which so many come back in a second.
const fn full(rate: u64, now: u64) -> TokenBucket {
    TokenBucket::full(rate, rate.saturating_mul(BURST_SECONDS), now)
}

/// Bytes of arguments, and how many bytes of the trail each becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a> {
    bytes: &'a [u8],
    plain: u64,
    special: u64,
}

impl<'a> Arguments<'a> {
    /// Of a record, or of what was told before. On Linux they are told twice: in the command line, and
    /// as a list. A control character is told as `\u0001` there, what is no ASCII perhaps as a
    /// replacement character and in the raw bytes beside it.
    pub(super) const fn new(bytes: &'a [u8], flags: Flags) -> Self {
        let (plain, special) = if flags.contains(Flags::UTF_16) {
            (1, 1)
        } else {
            (2, 12)
        };
        Self {
            bytes,
            plain,
            special,
        }
    }

    const fn cost_of(&self, byte: u8) -> u64 {
        if is_special(byte) {
            self.special
        } else {
            self.plain
        }
    }

    fn cost(&self) -> u64 {
        // Sums that fit a register of many bytes: this is done for each long command line.
        let of_chunk = |chunk: &[u8]| {
            chunk
                .iter()
                .map(|byte| u8::from(is_special(*byte)))
                .sum::<u8>()
        };
        let special: u64 = self
            .bytes
            .chunks(128)
            .map(|chunk| u64::from(of_chunk(chunk)))
            .sum();
        let plain = self.bytes.len() as u64 - special;
        plain * self.plain + special * self.special
    }
}

const fn is_special(byte: u8) -> bool {
    byte.wrapping_sub(b' ') > b'~' - b' '
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const RATE: u64 = 1 << 18;
    static LONG: [u8; 32 * 1024] = [b'a'; 32 * 1024];
    /// Programs with such arguments that the first moment has room for.
    const BURST: u64 = RATE * BURST_SECONDS / (2 * LONG.len() as u64);

    fn told(long: &mut LongArguments, arguments: &[u8], user: u32, now: u64) -> u64 {
        let arguments = Arguments::new(arguments, Flags::NONE);
        long.told_size(&arguments, Some(&UserId::Uid(user)), now) as u64
    }

    #[test]
    fn arguments_as_they_usually_are_are_never_cut() {
        let mut long = LongArguments::new(0);
        let line = [b'a'; 1024];
        assert_eq!(told(&mut long, &line, 1000, SECOND), 1024);
        assert_eq!(told(&mut long, &LONG, 1000, SECOND), 1024);
    }

    #[test]
    fn long_ones_are_told_as_fast_as_a_build_runs_and_no_faster() {
        let mut long = LongArguments::new(RATE);
        let whole = LONG.len() as u64;
        let a_second = RATE / (2 * whole);
        for second in 1..20 {
            for _ in 0..a_second {
                assert_eq!(told(&mut long, &LONG, 1000, second * SECOND), whole);
            }
        }
        for n in 0..BURST + 10 {
            let expected = if n < BURST { whole } else { 1024 };
            assert_eq!(told(&mut long, &LONG, 1000, 20 * SECOND), expected, "{n}");
        }
    }

    #[test]
    fn bytes_that_are_told_at_length_are_counted_so() {
        for byte in [1_u8, 0x7f, 0xff] {
            let mut long = LongArguments::new(0);
            let line = [byte; 4096];
            assert_eq!(told(&mut long, &line, 1000, SECOND), SHORT / 12);
        }
    }

    #[test]
    fn one_user_takes_nothing_from_another_and_many_not_everything() {
        let mut long = LongArguments::new(RATE);
        let whole = LONG.len() as u64;
        for _ in 0..=BURST {
            told(&mut long, &LONG, 1000, SECOND);
        }
        assert_eq!(told(&mut long, &LONG, 1000, SECOND), 1024);
        assert_eq!(told(&mut long, &LONG, 0, SECOND), whole);
        // A user of many ids.
        for user in 0..USERS * BURST {
            told(
                &mut long,
                &LONG,
                100_000 + u32::try_from(user).unwrap(),
                SECOND,
            );
            assert!(long.users.len() <= USER_COUNT_MAX);
        }
        assert_eq!(told(&mut long, &LONG, 0, SECOND), 1024);
        // A moment later there is some for everybody.
        assert_eq!(told(&mut long, &LONG, 0, 2 * SECOND), whole);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut long = LongArguments::new(RATE);
        for _ in 0..=BURST {
            told(&mut long, &LONG, 1000, 10 * SECOND);
        }
        assert_eq!(told(&mut long, &LONG, 1000, SECOND), 1024);
        assert_eq!(told(&mut long, &LONG, 1000, u64::MAX), LONG.len() as u64);
    }
}
