//! What the agent does with the driver, as far as the tests need it.

use driver::Driver;
use event::control::{Batch, Code, Counters};
use event::wire::Reader;
use event::{Event, HEADER_SIZE, Header, Kind};
use ntemu::{Caller, File, Machine, Request};

pub(crate) const SUCCESS: i32 = 0;
pub(crate) const CANCELLED: i32 = 0xc000_0120_u32.cast_signed();
pub(crate) const BUFFER_TOO_SMALL: i32 = 0xc000_0023_u32.cast_signed();
pub(crate) const SHARING_VIOLATION: i32 = 0xc000_0043_u32.cast_signed();
pub(crate) const INVALID_PARAMETER: i32 = 0xc000_000d_u32.cast_signed();
pub(crate) const INVALID_DEVICE_REQUEST: i32 = 0xc000_0010_u32.cast_signed();

/// `FILE_READ_DATA`
pub(crate) const READ_ACCESS: u32 = 1;

/// Whether there is time for all of a test. Miri needs a hundred times that of the host, so there the
/// gate takes parts, which the tests name; `cargo xtask miri --full` takes all.
pub(crate) const IS_THOROUGH: bool = cfg!(any(not(miri), miri_full));

/// A read buffer that holds any record.
pub(crate) const BUFFER_SIZE: usize = if cfg!(miri) { 64 } else { 256 } * 1024;

/// The default flush interval.
pub(crate) const FLUSH_MS: i64 = 50;

/// Bytes of queue room in tests that set none. Miri needs minutes to lay out the default.
pub(crate) const QUEUE_LIMIT: u32 = if cfg!(miri) { 64 } else { 4096 } * 1024;

/// Queued bytes that make a batch due.
pub(crate) const BATCH_SIZE: u32 = if cfg!(miri) { 16 } else { 64 } * 1024;

const REG_DWORD: u32 = 4;

/// A machine without a driver, with [`QUEUE_LIMIT`].
pub(crate) fn machine() -> Machine {
    let machine = Machine::new();
    if cfg!(miri) {
        machine.set_value("QueueLimit", REG_DWORD, &QUEUE_LIMIT.to_le_bytes());
    }
    machine
}

/// The driver's entry point.
pub(crate) fn entry() -> ntemu::Entry {
    nt::driver::entry::<Driver>
}

/// A machine with the driver, and the consumer's file.
pub(crate) fn started() -> (Machine, File) {
    started_on(machine())
}

/// The same with what a test set up before.
pub(crate) fn started_on(mut machine: Machine) -> (Machine, File) {
    machine.load(entry()).unwrap();
    let file = machine.open(Caller::Administrator, READ_ACCESS).unwrap();
    (machine, file)
}

/// Closes and unloads in the order in which the kernel does.
pub(crate) fn stop(mut machine: Machine, file: File) {
    drop(file);
    machine.unload();
}

/// A completed batch: its header and its records, each of which must be whole.
pub(crate) fn batch(request: &Request) -> (Batch, Vec<Vec<u8>>) {
    let (status, bytes) = request.outcome().expect("the read is completed");
    assert_eq!(status, SUCCESS);
    split(&bytes)
}

pub(crate) fn split(bytes: &[u8]) -> (Batch, Vec<Vec<u8>>) {
    let batch = Batch::read(&mut Reader::new(bytes)).unwrap();
    assert_eq!(usize::try_from(batch.size), Ok(bytes.len()));
    let mut records = vec![];
    let mut rest = &bytes[Batch::SIZE..];
    while !rest.is_empty() {
        let header = Header::read(&mut Reader::new(rest)).unwrap();
        let (record, after) = rest.split_at(usize::try_from(header.size).unwrap());
        assert!(record.len() >= HEADER_SIZE);
        event::read(record).unwrap();
        records.push(record.to_vec());
        rest = after;
    }
    assert_eq!(usize::try_from(batch.records), Ok(records.len()));
    (batch, records)
}

/// Pends a read, lets the flush interval pass, and gives the records.
pub(crate) fn flushed(machine: &Machine, file: &File) -> Vec<Vec<u8>> {
    let request = file.read(BUFFER_SIZE);
    machine.advance_ms(FLUSH_MS);
    batch(&request).1
}

/// The only record there is.
pub(crate) fn only(machine: &Machine, file: &File) -> Vec<u8> {
    let mut records = flushed(machine, file);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

pub(crate) fn counters(file: &File) -> Counters {
    let bytes = file.control(Code::COUNTERS.0, &[], Counters::SIZE).unwrap();
    Counters::read(&mut Reader::new(&bytes), |kind, _count| panic!("{kind}")).unwrap()
}

/// The losses that the stream tells of, by kind.
pub(crate) fn losses(records: &[Vec<u8>]) -> Vec<(Kind, u64)> {
    records
        .iter()
        .filter_map(|record| match event::read(record).unwrap().event {
            Event::Lost(lost) => Some((lost.kind, lost.count)),
            _ => None,
        })
        .collect()
}

pub(crate) fn utf_16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

pub(crate) fn bytes_of(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}
