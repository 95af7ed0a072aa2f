//! A session of Windows' event tracing as its follower knows it: by a trait, so that the sensor is built
//! and tested on every system. `sys/windows/trace_session.rs` is the session.
//!
//! Events come on a thread of the system's, which must not be kept from its work for long but may be:
//! what it cannot hand over stays in the session's buffers, and what these cannot take the system counts.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use etw::delivered;
use etw::fields::PointerSize;
use etw::guid::Guid;
use etw::header::{Event, Source};
use etw::kernel;

/// The name of our session. It stays there when an agent is killed, and is how the next one finds it.
pub const NAME: &str = "SysTrail";

/// Whose session it is: the process that started it. It stands in the session's GUID, so that a session
/// that was left over is told from one that another agent follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub process_id: u32,
    /// When that process started, on the sensor's clock.
    pub start_time: u64,
}

impl Owner {
    /// What the GUIDs of our sessions begin with.
    const MARK: [u8; 4] = *b"SysT";

    /// The GUID of its session.
    pub fn guid(self) -> Guid {
        let mut bytes = [0; 16];
        let parts = Self::MARK
            .into_iter()
            .chain(self.process_id.to_le_bytes())
            .chain(self.start_time.to_le_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        Guid(bytes)
    }

    /// Whose session has this GUID; none where it is no agent's.
    pub fn of(Guid(bytes): Guid) -> Option<Self> {
        let (mark, rest) = bytes.split_first_chunk::<4>()?;
        let (process_id, start_time) = rest.split_first_chunk::<4>()?;
        (*mark == Self::MARK).then_some(Self {
            process_id: u32::from_le_bytes(*process_id),
            start_time: u64::from_le_bytes(*start_time.first_chunk()?),
        })
    }
}

/// What a session is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of a buffer.
    pub buffer_size: u32,
    /// How many there are at least, in memory that is not paged: each processor needs a few. The system
    /// may make twice as many.
    pub buffer_count: u32,
    /// How often a buffer that is not full is handed over.
    pub flush_interval: Duration,
    /// Who starts it.
    pub owner: Owner,
}

/// What the system says of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its GUID.
    pub guid: Guid,
    /// Whether it is one of the few that take the kernel's events.
    pub is_system_logger: bool,
    /// Events it had no room for, since it began.
    pub events_lost: u32,
    /// Buffers its follower did not take in time, since it began.
    pub buffers_lost: u32,
}

/// A moment on the session's clock and on the sensor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The performance counter.
    pub stamp: i64,
    /// The sensor's time, nanoseconds.
    pub time: u64,
    /// How far apart both may have been read, nanoseconds.
    pub error_ns: u64,
}

/// Windows' event tracing, as far as one session of ours needs it. Its errors have the numbers of
/// `winerror.h`.
pub trait Tracing: Send {
    /// Starts the session: real time, of the kernel's processes, threads and images, stamped by the
    /// performance counter. The system then tells what there is already, before this returns. Gives how
    /// often buffers are handed over, which is a second where the system does not know shorter times.
    fn start(&mut self, plan: &Plan) -> io::Result<Duration>;

    /// The session that has our name now, whosever it is.
    fn status(&mut self) -> io::Result<Option<Status>>;

    /// Every session there is.
    fn sessions(&mut self) -> io::Result<Vec<Status>>;

    /// Has the session hand over what its buffers hold.
    fn flush(&mut self) -> io::Result<()>;

    /// Ends the session that has our name, and gives its last word.
    fn stop(&mut self) -> io::Result<Option<Status>>;

    /// Puts its events into an inbox of that size, all there are, on a thread of its own that tells the
    /// inbox when there will be no more.
    fn follow(&mut self, size_max: usize) -> io::Result<Arc<Inbox>>;

    /// Follows no more; the inbox is closed already.
    fn leave(&mut self);

    /// Waits until `inbox` has what it was [armed](Inbox::arm) for or has ended, until the waker is woken,
    /// or for `time`.
    fn wait(&mut self, inbox: &Inbox, time: Duration);

    /// Makes an event in the stream: the start of a thread of this process, whose id is returned.
    fn mark(&mut self) -> io::Result<u32>;

    /// Both clocks now.
    fn reading(&mut self) -> Reading;

    /// How often the performance counter ticks in a second.
    fn frequency(&self) -> u64;

    /// This process.
    fn own(&self) -> Owner;

    /// When the process that has this id now was created, on the sensor's clock.
    fn creation_time(&mut self, process_id: u32) -> Option<u64>;

    /// The path of what the process runs that has this id and was created then, in UTF-16.
    fn image(&mut self, process_id: u32, start_time: u64) -> Option<Vec<u8>>;

    /// Every process there is, as the bytes of `SystemProcessInformation`: it tells what the kernel's
    /// events leave out.
    fn processes(&mut self) -> io::Result<Vec<u8>>;
}

/// Events in the order in which they were handed over or sorted, with their bytes in one place.
#[derive(Debug, Default)]
pub struct Events {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    stamp: i64,
    source: Source,
    version: u8,
    pointer_size: Option<PointerSize>,
    process_id: Option<u32>,
    thread_id: Option<u32>,
    offset: usize,
    size: usize,
}

impl Events {
    /// Appends a copy of `event`.
    pub fn push(&mut self, event: &Event<'_>) {
        self.entries.push(Entry {
            stamp: event.stamp.unwrap_or(0),
            source: event.source,
            version: event.version,
            pointer_size: event.pointer_size,
            process_id: event.process_id,
            thread_id: event.thread_id,
            offset: self.bytes.len(),
            size: event.payload.len(),
        });
        self.bytes.extend_from_slice(event.payload);
    }

    /// Moves every event of `other` to the end.
    pub fn append(&mut self, other: &mut Self) {
        let offset = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        let entries = other.entries.drain(..).map(|entry| Entry {
            offset: entry.offset + offset,
            ..entry
        });
        self.entries.extend(entries);
    }

    /// Brings them into the order of their stamps; equal ones keep their order.
    pub fn sort(&mut self) {
        self.entries.sort_by_key(|entry| entry.stamp);
    }

    /// The events, in order, from the `first` on.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = Event<'_>> {
        let rest = self.entries.get(first..).unwrap_or_default();
        rest.iter().map(|entry| Event {
            stamp: Some(entry.stamp),
            source: entry.source,
            version: entry.version,
            pointer_size: entry.pointer_size,
            process_id: entry.process_id,
            thread_id: entry.thread_id,
            payload: self
                .bytes
                .get(entry.offset..entry.offset + entry.size)
                .unwrap_or_default(),
        })
    }

    /// Forgets the first `count` of them.
    pub fn forget_first(&mut self, count: usize) {
        if count >= self.entries.len() {
            self.clear();
            return;
        }
        let mut kept = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            entries: Vec::with_capacity(self.entries.len()),
        };
        for event in self.iter_from(count) {
            kept.push(&event);
        }
        *self = kept;
    }

    /// Forgets all of them, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes they take in memory.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }
}

/// Where the system's thread puts events, and the sensor takes them from.
pub struct Inbox {
    state: Mutex<State>,
    has_room: Condvar,
    /// The most it holds, bytes.
    size_max: usize,
    /// From how many bytes on whoever waits for it is told.
    armed: AtomicUsize,
    /// Tells him.
    notify_fn: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct State {
    events: Events,
    peak: usize,
    /// Nobody takes any more; what comes is thrown away.
    is_closed: bool,
    /// Nothing will come any more, and with which error of Windows that was told; 0 is none.
    ended: Option<u32>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Inbox")
    }
}

impl Inbox {
    /// An inbox of at most `size_max` bytes. `notify_fn` is called when it has what it is armed for.
    pub fn new(size_max: usize, notify_fn: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            state: Mutex::default(),
            has_room: Condvar::new(),
            size_max,
            armed: AtomicUsize::new(1),
            notify_fn: Box::new(notify_fn),
        }
    }

    /// What a thread that panicked left is as good as ever: each change is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event, if it is of use. Waits while there is no room, unless the inbox is closed.
    pub fn put(&self, event: &Event<'_>) {
        if !is_of_use(event.source) {
            return;
        }
        let mut state = self.lock();
        let is_full = |state: &mut State| !state.is_closed && state.events.size() >= self.size_max;
        if is_full(&mut state) {
            (self.notify_fn)();
            state = self
                .has_room
                .wait_while(state, is_full)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return;
        }
        let before = state.events.size();
        state.events.push(event);
        let size = state.events.size();
        state.peak = state.peak.max(size);
        drop(state);
        let armed = self.armed.load(Ordering::Relaxed);
        if before < armed && size >= armed {
            (self.notify_fn)();
        }
    }

    /// Moves all there is to the end of `events`; tells whether there was anything.
    pub fn take(&self, events: &mut Events) -> bool {
        let mut state = self.lock();
        let is_empty = state.events.is_empty();
        events.append(&mut state.events);
        drop(state);
        self.has_room.notify_all();
        !is_empty
    }

    /// Whoever waits wants to know of any event, or only of so many that it is high time.
    pub fn arm(&self, for_any: bool) {
        let armed = if for_any { 1 } else { self.size_max / 2 };
        self.armed.store(armed, Ordering::Relaxed);
    }

    /// Whether there is what it was armed for, or nothing more will come.
    pub fn is_due(&self) -> bool {
        let state = self.lock();
        state.ended.is_some() || state.events.size() >= self.armed.load(Ordering::Relaxed)
    }

    /// Whether who puts an event waits now.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        self.lock().events.size() >= self.size_max
    }

    /// Throws away what is there and what comes; nobody waits for room any more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.events.clear();
        drop(state);
        self.has_room.notify_all();
    }

    /// Nothing will come any more: the session has ended, with this error of Windows.
    pub fn end(&self, code: u32) {
        self.lock().ended.get_or_insert(code);
        self.has_room.notify_all();
        (self.notify_fn)();
    }

    /// Whether nothing will come any more, and with which error that was told.
    pub fn ended(&self) -> Option<u32> {
        self.lock().ended
    }

    /// Waits until nothing will come any more; tells whether that is so within `time`.
    pub fn wait_end(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while state.ended.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.has_room.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The most it held, and the most it can hold, in bytes.
    pub fn peak(&self) -> (u64, u64) {
        let in_bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        (in_bytes(self.lock().peak), in_bytes(self.size_max))
    }
}

/// Whether the sensor makes anything of an event: what happens to processes, threads and images, what
/// there was at the begin, and losses. What is there at the end is of no use.
fn is_of_use(source: Source) -> bool {
    /// The type of a rundown at the end (`EVENT_TRACE_TYPE_DC_END`).
    const AT_END: u8 = 4;
    match source {
        Source::Class { r#type: AT_END, .. } => false,
        Source::Class { .. } => {
            delivered::is_loss(source) || kernel::teller(source) == Some(kernel::Teller::Logger)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn thread(stamp: i64, payload: &[u8]) -> Event<'_> {
        Event {
            stamp: Some(stamp),
            source: Source::Class {
                guid: Guid::THREAD,
                r#type: 1,
            },
            version: 3,
            pointer_size: Some(PointerSize::Eight),
            process_id: Some(4),
            thread_id: None,
            payload,
        }
    }

    #[test]
    fn a_session_says_whose_it_is() {
        let owner = Owner {
            process_id: 4711,
            start_time: 1_795_367_117_004_118_200,
        };
        assert_eq!(Owner::of(owner.guid()), Some(owner));
        assert_eq!(Owner::of(Guid::KERNEL_PROCESS), None);
        assert_eq!(Owner::of(Guid::default()), None);
    }

    #[test]
    fn events_are_as_they_were_put_whatever_is_forgotten_before_them() {
        let mut events = Events::default();
        for (stamp, payload) in [(3, "three"), (1, "one"), (2, "two"), (1, "also one")] {
            events.push(&thread(stamp, payload.as_bytes()));
        }
        events.sort();
        events.forget_first(1);
        let mut more = Events::default();
        more.push(&thread(9, b"nine"));
        events.append(&mut more);
        let told: Vec<_> = events.iter_from(0).collect();
        let expected = [(1, "also one"), (2, "two"), (3, "three"), (9, "nine")];
        assert_eq!(
            told,
            expected.map(|(stamp, payload)| thread(stamp, payload.as_bytes()))
        );
        events.forget_first(4);
        assert!(events.is_empty() && events.size() == 0);
    }

    #[test]
    fn an_inbox_that_is_full_holds_up_who_fills_it_and_never_grows() {
        const SIZE_MAX: usize = 64 * 1024;
        const COUNT: usize = 20_000;
        let told = Arc::new(AtomicU32::new(0));
        let notify_fn = {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let inbox = Arc::new(Inbox::new(SIZE_MAX, notify_fn));
        inbox.arm(false);
        let filler = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || {
                for stamp in 0..COUNT {
                    inbox.put(&thread(stamp.try_into().unwrap(), &[7; 100]));
                }
                inbox.end(0);
            })
        };
        let (mut events, mut count) = (Events::default(), 0);
        loop {
            let has_ended = inbox.ended().is_some();
            let has_some = inbox.take(&mut events);
            assert!(events.size() < SIZE_MAX + 1024);
            count += events.count();
            events.clear();
            if has_ended && !has_some {
                break;
            }
            std::thread::yield_now();
        }
        filler.join().unwrap();
        assert_eq!(count, COUNT);
        let (peak, limit) = inbox.peak();
        assert!(peak >= limit / 2 && peak < limit + 1024, "{peak}");
        assert!(told.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn who_waits_for_room_goes_on_when_the_inbox_is_closed() {
        let inbox = Arc::new(Inbox::new(1, || {}));
        inbox.put(&thread(0, &[1]));
        let filler = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || {
                inbox.put(&thread(1, &[2]));
                inbox.end(5);
            })
        };
        assert!(!inbox.wait_end(Duration::from_millis(1)));
        inbox.close();
        assert!(inbox.wait_end(Duration::from_mins(1)));
        filler.join().unwrap();
        assert_eq!(inbox.ended(), Some(5));
        assert!(!inbox.take(&mut Events::default()));
    }

    #[test]
    fn what_nobody_needs_is_not_taken() {
        let inbox = Inbox::new(1 << 20, || {});
        let of = |guid, r#type| Event {
            source: Source::Class { guid, r#type },
            ..thread(0, &[])
        };
        inbox.put(&of(Guid::IMAGE, 4));
        inbox.put(&of(Guid::EVENT_TRACE, 0));
        assert!(!inbox.is_due());
        inbox.put(&of(Guid::LOST_EVENT, 32));
        inbox.put(&of(Guid::IMAGE, 10));
        let mut events = Events::default();
        assert!(inbox.take(&mut events));
        assert_eq!(events.count(), 2);
    }
}
