//! A reader of the driver: the agent's way of reading, in its smallest form.

use crate::fact::Fact;
use crate::kernel::DRIVER_SERVICE;
use crate::sys::device::{Access, Device, Read, wait_any};
use event::Header;
use event::control::{Batch, Code, Counters, Hello, PROTOCOL_VERSION, Welcome};
use event::wire::{Reader as Bytes, Writer};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Reads that are kept pending.
pub(crate) const READS: usize = 4;

/// Bytes of each.
const READ_SIZE: usize = 256 * 1024;

/// How long a reader that is to stop waits for what is still queued.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);

/// What a reader has read.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) facts: Vec<Fact>,
    /// The longest time from an event to its arrival.
    pub(crate) latency_max: Duration,
    /// The counters at the end.
    pub(crate) counters: Counters,
}

/// A thread that reads until it is told to stop.
#[derive(Debug)]
pub(crate) struct Reader {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Seen>>,
}

impl Reader {
    /// Opens the driver and starts to read.
    pub(crate) fn start() -> io::Result<Self> {
        let device = open()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || read(&device, &is_over)
        });
        Ok(Self { is_over, thread })
    }

    /// Reads what is left, closes the driver and gives everything.
    pub(crate) fn stop(self) -> io::Result<Seen> {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread
            .join()
            .map_err(|_panic| io::Error::other("the reader has panicked"))?
    }

    /// What the reader's end was, when the driver ends it.
    pub(crate) fn wait(self) -> io::Result<Seen> {
        self.thread
            .join()
            .map_err(|_panic| io::Error::other("the reader has panicked"))?
    }
}

/// Opens the driver for reading and shakes hands.
pub(crate) fn open() -> io::Result<Device> {
    let device = Device::open(DRIVER_SERVICE, Access::Read)?;
    shake_hands(&device)?;
    Ok(device)
}

/// Keeps reads pending.
pub(crate) fn pended(device: &Device) -> io::Result<Vec<Read<'_>>> {
    (0..READS).map(|_read| device.read(READ_SIZE)).collect()
}

/// The version handshake.
pub(crate) fn shake_hands(device: &Device) -> io::Result<Welcome> {
    let mut hello = [0; Hello::SIZE];
    Hello {
        protocol_version: PROTOCOL_VERSION,
    }
    .write(&mut Writer::new(&mut hello));
    let answer = device.control(Code::HANDSHAKE.0, &hello, Welcome::SIZE)?;
    Welcome::read(&mut Bytes::new(&answer)).map_err(|error| io::Error::other(error.to_string()))
}

/// The driver's counters.
pub(crate) fn counters(device: &Device) -> io::Result<Counters> {
    let answer = device.control(Code::COUNTERS.0, &[], Counters::SIZE_MAX)?;
    Counters::read(&mut Bytes::new(&answer), |_unknown, _count| {})
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Whether everything that was produced has been delivered or lost.
pub(crate) fn is_drained(counters: &Counters) -> bool {
    counters
        .kinds
        .iter()
        .all(|(_kind, count)| count.produced == count.delivered + count.lost)
}

fn read(device: &Device, is_over: &AtomicBool) -> io::Result<Seen> {
    const TURN: Duration = Duration::from_millis(100);
    let mut seen = Seen::default();
    // Batches by their sequence: reads may end out of order.
    let mut batches = BTreeMap::new();
    let mut reads: Vec<Read<'_>> = Vec::new();
    let mut over_since = None;
    // What readers before this one have read.
    let read_before = counters(device)?.batches;
    loop {
        while reads.len() < READS {
            reads.push(device.read(READ_SIZE)?);
        }
        let waiting: Vec<&Read<'_>> = reads.iter().collect();
        if let Some(index) = wait_any(&waiting, TURN) {
            let bytes = reads.remove(index).finish()?;
            let (sequence, facts) = decode(&bytes, &mut seen.latency_max)?;
            batches.insert(sequence, facts);
            continue;
        }
        if !is_over.load(Ordering::SeqCst) {
            continue;
        }
        let since = *over_since.get_or_insert_with(Instant::now);
        seen.counters = counters(device)?;
        let has_all = u64::try_from(batches.len()) == Ok(seen.counters.batches - read_before);
        if has_all && is_drained(&seen.counters) {
            break;
        }
        if since.elapsed() > DRAIN_TIME_MAX {
            return Err(io::Error::other(format!(
                "{} batches of {:?} arrived",
                batches.len(),
                seen.counters
            )));
        }
    }
    seen.facts = batches.into_values().flatten().collect();
    Ok(seen)
}

/// The records of a batch, which must fill it.
fn decode(bytes: &[u8], latency_max: &mut Duration) -> io::Result<(u64, Vec<Fact>)> {
    let invalid = |text: &str| io::Error::other(format!("a batch {text}"));
    let mut reader = Bytes::new(bytes);
    let batch = Batch::read(&mut reader).map_err(|_short| invalid("has no header"))?;
    if usize::try_from(batch.size) != Ok(bytes.len()) {
        return Err(invalid("has another size than it says"));
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut rest = bytes.get(Batch::SIZE..).unwrap_or_default();
    let mut facts = Vec::new();
    while !rest.is_empty() {
        let header = Header::read(&mut Bytes::new(rest)).map_err(|_short| invalid("is cut"))?;
        let size = usize::try_from(header.size).unwrap_or(usize::MAX);
        let (record, after) = rest
            .split_at_checked(size)
            .ok_or_else(|| invalid("ends inside a record"))?;
        let (header, fact) = Fact::read(record)?;
        let seen = header.time.saturating_add_signed(batch.utc_offset);
        let latency = now.saturating_sub(Duration::from_nanos(seen));
        *latency_max = latency.max(*latency_max);
        facts.push(fact);
        rest = after;
    }
    if u32::try_from(facts.len()) == Ok(batch.records) {
        Ok((batch.sequence, facts))
    } else {
        Err(invalid("has another count of records than it says"))
    }
}
