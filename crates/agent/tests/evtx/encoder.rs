//! Event logs as Windows writes them, made of the values of their events. Elements and their names
//! stand in each record by themselves: Windows puts them into templates, which readers must take too,
//! and which only real logs have.

pub(crate) const HEADER_SIZE: usize = 4096;
pub(crate) const CHUNK_SIZE: usize = 65_536;
/// Where the first record of a chunk begins.
pub(crate) const RECORDS_OFFSET: usize = 512;

/// An event to be written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) provider: &'static str,
    pub(crate) event_id: u32,
    pub(crate) has_qualifiers: bool,
    pub(crate) computer: &'static str,
    /// 100 ns since 1601.
    pub(crate) filetime: u64,
    /// Names and values, which are UTF-16.
    pub(crate) data: Vec<(&'static str, Vec<u16>)>,
}

impl Entry {
    pub(crate) fn sysmon(event_id: u32, data: &[(&'static str, &str)]) -> Self {
        Self::new("Microsoft-Windows-Sysmon", event_id, data)
    }

    pub(crate) fn security(event_id: u32, data: &[(&'static str, &str)]) -> Self {
        Self::new("Microsoft-Windows-Security-Auditing", event_id, data)
    }

    fn new(provider: &'static str, event_id: u32, data: &[(&'static str, &str)]) -> Self {
        let data = data.iter();
        Self {
            provider,
            event_id,
            has_qualifiers: false,
            computer: "ATLAS",
            filetime: 133_000_000_000_000_000,
            data: data
                .map(|(name, value)| (*name, value.encode_utf16().collect()))
                .collect(),
        }
    }

    /// So many seconds later.
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.filetime += seconds * 10_000_000;
        self
    }
}

/// A log of chunks with these entries each, whose records are numbered from 1.
pub(crate) fn log(chunks: &[&[Entry]]) -> Vec<u8> {
    let mut log = header(u16::try_from(chunks.len()).unwrap(), 0);
    let mut number = 1;
    for entries in chunks {
        log.extend(chunk(number, entries));
        number += entries.len() as u64;
    }
    log
}

/// The header of a log that says so many chunks.
pub(crate) fn header(chunk_count: u16, flags: u32) -> Vec<u8> {
    let mut header = vec![0; HEADER_SIZE];
    header[..8].copy_from_slice(b"ElfFile\0");
    header[32..36].copy_from_slice(&128_u32.to_le_bytes());
    header[36..38].copy_from_slice(&1_u16.to_le_bytes());
    header[38..40].copy_from_slice(&3_u16.to_le_bytes());
    header[40..42].copy_from_slice(&4096_u16.to_le_bytes());
    header[42..44].copy_from_slice(&chunk_count.to_le_bytes());
    header[120..124].copy_from_slice(&flags.to_le_bytes());
    let sum = crc(&header[..120]);
    header[124..128].copy_from_slice(&sum.to_le_bytes());
    header
}

/// A chunk whose records are numbered from `number` on.
pub(crate) fn chunk(number: u64, entries: &[Entry]) -> Vec<u8> {
    let mut chunk = vec![0; RECORDS_OFFSET];
    let mut last_offset = RECORDS_OFFSET;
    let mut last = number;
    for (entry, id) in entries.iter().zip(number..) {
        last_offset = chunk.len();
        last = id;
        record(&mut chunk, id, entry);
    }
    let free = chunk.len();
    assert!(free <= CHUNK_SIZE, "a chunk has 64 KiB");
    chunk.resize(CHUNK_SIZE, 0);
    chunk[..8].copy_from_slice(b"ElfChnk\0");
    for (at, value) in [(8, number), (16, last), (24, number), (32, last)] {
        chunk[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    chunk[40..44].copy_from_slice(&128_u32.to_le_bytes());
    chunk[44..48].copy_from_slice(&u32::try_from(last_offset).unwrap().to_le_bytes());
    chunk[48..52].copy_from_slice(&u32::try_from(free).unwrap().to_le_bytes());
    seal(&mut chunk);
    chunk
}

/// Makes the checksums of a chunk right.
pub(crate) fn seal(chunk: &mut [u8]) {
    let free = u32::from_le_bytes(chunk[48..52].try_into().unwrap());
    let free = usize::try_from(free)
        .unwrap()
        .clamp(RECORDS_OFFSET, chunk.len());
    let records = crc(&chunk[RECORDS_OFFSET..free]);
    chunk[52..56].copy_from_slice(&records.to_le_bytes());
    let summed = [&chunk[..120], &chunk[128..512]].concat();
    let sum = crc(&summed);
    chunk[124..128].copy_from_slice(&sum.to_le_bytes());
}

fn record(out: &mut Vec<u8>, id: u64, entry: &Entry) {
    let begin = out.len();
    out.extend(b"**\0\0\0\0\0\0");
    out.extend(id.to_le_bytes());
    out.extend(entry.filetime.to_le_bytes());
    out.extend([0x0f, 1, 1, 0]);
    event(out, entry);
    out.push(0);
    out.resize(out.len().next_multiple_of(8) + 4, 0);
    let size = u32::try_from(out.len() + 4 - begin).unwrap();
    out.extend(size.to_le_bytes());
    out[begin + 4..begin + 8].copy_from_slice(&size.to_le_bytes());
}

fn event(out: &mut Vec<u8>, entry: &Entry) {
    element(out, "Event", &[], |out| {
        element(out, "System", &[], |out| {
            element(out, "Provider", &[("Name", entry.provider)], |_| {});
            let qualifiers: &[(&str, &str)] = if entry.has_qualifiers {
                &[("Qualifiers", "0")]
            } else {
                &[]
            };
            element(out, "EventID", qualifiers, |out| {
                text(out, &utf_16(&entry.event_id.to_string()));
            });
            element(out, "Computer", &[], |out| {
                text(out, &utf_16(entry.computer));
            });
        });
        element(out, "EventData", &[], |out| {
            for (name, value) in &entry.data {
                element(out, "Data", &[("Name", name)], |out| text(out, value));
            }
        });
    });
}

fn element(
    out: &mut Vec<u8>,
    name: &str,
    attributes: &[(&str, &str)],
    content_fn: impl FnOnce(&mut Vec<u8>),
) {
    out.push(if attributes.is_empty() { 0x01 } else { 0x41 });
    let size_at = out.len();
    out.extend([0; 4]);
    inline_name(out, name);
    if !attributes.is_empty() {
        let list_at = out.len();
        out.extend([0; 4]);
        for (index, (name, value)) in attributes.iter().enumerate() {
            let is_last = index + 1 == attributes.len();
            out.push(if is_last { 0x06 } else { 0x46 });
            inline_name(out, name);
            text(out, &utf_16(value));
        }
        set_size(out, list_at);
    }
    out.push(0x02);
    content_fn(out);
    out.push(0x04);
    set_size(out, size_at);
}

/// Writes at `at` how many bytes follow it.
fn set_size(out: &mut [u8], at: usize) {
    let size = u32::try_from(out.len() - at - 4).unwrap();
    out[at..at + 4].copy_from_slice(&size.to_le_bytes());
}

/// A reference to the name, which stands behind it.
fn inline_name(out: &mut Vec<u8>, name: &str) {
    let offset = u32::try_from(out.len() + 4).unwrap();
    out.extend(offset.to_le_bytes());
    out.extend([0; 6]);
    out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    out.extend(utf_16(name).into_iter().flat_map(u16::to_le_bytes));
    out.extend([0; 2]);
}

fn text(out: &mut Vec<u8>, units: &[u16]) {
    out.extend([0x05, 0x01]);
    out.extend(u16::try_from(units.len()).unwrap().to_le_bytes());
    out.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
}

fn utf_16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// CRC-32 as in Ethernet and zip.
fn crc(bytes: &[u8]) -> u32 {
    let of_bit = |crc: u32, _bit| crc >> 1 ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), of_bit)
    })
}
