//! Per-processor perf ring buffers: opening, waiting, draining, and an exact account of what they
//! lost.
//!
//! The eBPF sensor takes image loads from here where its LSM program does not load; the perf
//! sensor takes everything. Rings are drained in bulk; one wakes its reader only when
//! [`WAKEUP_SIZE_MAX`] bytes wait in it, so a sensor drains at its flush interval as well.
//!
//! The *sentinel* is a second, tiny buffer a processor that wakes its reader on the first record.
//! It lets an idle sensor sleep without a timer: [`Rings::arm`] makes room in it, and a full
//! sentinel, which is what [`Rings::disarm`] leaves, wakes nobody. Neither costs a system call, but
//! each record is still tried on the full sentinel, in the context of whoever maps an image. Where
//! the sentinel is not needed for long, [`Rings::mute`] takes it out of the kernel's way.
//!
//! Of what it loses a ring knows the number, not the kind: everything lost in it is told as
//! [`RingsSettings::lost_kind`]. Tasks that were lost in a ring of image loads are known by a count of
//! their own (`task_count.rs`) where the kernel is 6.0 or later; mappings without a file are not, so a
//! loss of image loads is never told too small.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use event::wire::Reader;
use event::{Event, Flags, Header, Kind, Place, Scope, image, loss};

use super::perf_record::{Body, Mapping, Record};
use super::{BATCH_SIZE_MAX, Batch, Error};
use crate::sys::perf::{flag, page_size};
use crate::sys::proc::{self, MappedFiles};

mod cpu_ring;
mod task_count;

pub use cpu_ring::WAKEUP_SIZE_MAX;

use cpu_ring::{CHUNK_SIZE, CpuRing};

/// Processors beyond this number are not opened; the kernel's own limit is 8192.
const CPUS_MAX: u32 = 8192;

/// What the rings record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Executable mappings.
    Images,
    /// Forks, execs and exits of processes and threads.
    Tasks,
}

impl Records {
    const fn flags(self) -> u64 {
        match self {
            // `mmap` asks for executable mappings only (data mappings have their own bit), `mmap2`
            // for the longer record.
            Self::Images => flag::MMAP | flag::MMAP2,
            Self::Tasks => flag::TASK | flag::COMM | flag::COMM_EXEC,
        }
    }
}

/// What [`Rings::open`] is told.
#[derive(Clone, Copy, Debug)]
pub struct RingsSettings {
    /// What to record.
    pub records: Records,
    /// Bytes of all rings together; each processor gets a power of two of it, at least a page.
    pub buffer_size: usize,
    /// What losses are told as.
    pub lost_kind: Kind,
}

/// The path of a program, where nobody knows that of its mapping any more, or whose it is: its exec comes
/// right after the mapping, and was drained before it.
fn executed(
    batch: &Batch,
    mapping: &Mapping<'_>,
    flags: Flags,
    image: &[u8],
) -> Option<(Flags, Vec<u8>)> {
    let of_image = [
        Flags::LEAF_FIRST,
        Flags::IMAGE_TRUNCATED,
        Flags::IMAGE_DELETED,
        Flags::STAMPED,
    ];
    let is_unknown = flags.contains(Flags::IMAGE_UNAVAILABLE)
        || Place::split(image).is_ok_and(|(_, place)| place.scope == Scope::UNKNOWN);
    if !is_unknown {
        return None;
    }
    let mut execs = batch.records().filter(|record| {
        let is_exec = event::kind_of(record) == Ok(Kind::PROCESS_EXEC);
        is_exec && process_of(record) == Some(mapping.process_id)
    });
    execs.find_map(|record| {
        let event::Record { header, event, .. } = event::read(record).ok()?;
        let Event::ProcessExec(exec) = event else {
            return None;
        };
        let (_, place) = Place::split(exec.image).ok()?;
        let is_it = header.flags.contains(Flags::PLACED)
            && (place.device, place.inode) == (mapping.device, mapping.inode);
        let flags = of_image.iter().filter(|flag| header.flags.contains(**flag));
        let flags = flags.fold(Flags::PLACED, |all, flag| all.with(*flag));
        is_it.then(|| (flags, exec.image.to_vec()))
    })
}

fn process_of(record: &[u8]) -> Option<u32> {
    let header = Header::read(&mut Reader::new(record)).ok()?;
    Some(header.process_id)
}

/// How far a drain got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// `Some` when records stayed behind in a ring because a batch has a limit: they may be as old
    /// as this time, so nothing younger may be handed over yet.
    pub incomplete_after: Option<u64>,
}

/// A ring buffer on every processor that is online.
#[derive(Debug)]
pub struct Rings {
    cpus: Vec<CpuRing>,
    /// The kernel's list of processors, which is asked again and again.
    online: File,
    settings: RingsSettings,
    enabled: bool,
    is_muted: bool,
    scratch: Vec<u8>,
    files: MappedFiles,
    produced: u64,
    lost: u64,
    peak: u64,
}

impl Rings {
    /// Opens a disabled ring on every online processor.
    pub fn open(settings: RingsSettings) -> Result<Self, Error> {
        let listing = |source| Error::Io {
            action: "reading the list of processors",
            source,
        };
        let online = File::open(ONLINE).map_err(listing)?;
        let cpus = online_cpus(&online).map_err(listing)?;
        let data_size = ring_size(settings.buffer_size, cpus.len());
        let cpus = cpus
            .into_iter()
            .filter_map(|cpu| CpuRing::open_online(cpu, settings.records, data_size).transpose())
            .collect::<io::Result<Vec<_>>>()
            .map_err(unavailable)?;
        Ok(Self {
            cpus,
            online,
            settings,
            enabled: false,
            is_muted: false,
            scratch: Vec::with_capacity(CHUNK_SIZE),
            files: MappedFiles::default(),
            produced: 0,
            lost: 0,
            peak: 0,
        })
    }

    /// Begins to record.
    pub fn enable(&mut self) -> io::Result<()> {
        self.enabled = true;
        let is_muted = self.is_muted;
        let mut cpus = self.cpus.iter_mut();
        cpus.try_for_each(|cpu| cpu.enable(is_muted))
    }

    /// Stops recording. What is in the rings stays there to be drained.
    pub fn disable(&mut self) -> io::Result<()> {
        self.enabled = false;
        self.cpus.iter_mut().try_for_each(CpuRing::disable)
    }

    /// What to wait for. Each is readable once when its ring asks to be drained.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.cpus
            .iter()
            .flat_map(|cpu| [cpu.sentinel_event.as_fd(), cpu.event.as_fd()])
    }

    /// Makes the next record, on any processor, wake the reader. Returns whether the rings are
    /// empty; where they are not, the wake-up may have been missed and the caller must not wait
    /// for one. Nor where the kernel does not take back a [`mute`](Self::mute).
    #[must_use]
    pub fn arm(&mut self) -> bool {
        if self.is_muted {
            if self
                .cpus
                .iter()
                .any(|cpu| cpu.sentinel_event.enable().is_err())
            {
                return false;
            }
            self.is_muted = false;
        }
        for cpu in &self.cpus {
            cpu.arm();
        }
        // After arming: the kernel writes a record to the ring first and to the sentinel second,
        // so a record the sentinel has missed is in its ring by now.
        self.cpus.iter().all(CpuRing::is_empty)
    }

    /// From now on only rings that fill up wake the reader.
    pub fn disarm(&mut self) {
        for cpu in &self.cpus {
            cpu.disarm();
        }
    }

    /// The same, for as long as records come: the kernel does not try the sentinels any more. Costs
    /// a system call a processor when it was not so already, and so does the next
    /// [`arm`](Self::arm).
    pub fn mute(&mut self) {
        if self.is_muted || !self.enabled {
            return;
        }
        self.disarm();
        // One that stays on is full, which is as good and only slower.
        for cpu in &self.cpus {
            if let Err(error) = cpu.sentinel_event.disable() {
                tracing::debug!(%error, cpu = cpu.cpu, "cannot mute a perf event");
            }
        }
        self.is_muted = true;
    }

    /// Appends the image loads that wait in the rings, and a `lost` record where some were lost.
    pub fn drain(&mut self, batch: &mut Batch) -> io::Result<Drained> {
        let mut files = std::mem::take(&mut self.files);
        let drained = self.drain_with(batch, &mut |record, batch| {
            let Body::Mapping(mapping) = record.body else {
                return 0;
            };
            let Some((flags, load)) = mapping.image(&mut files) else {
                return 0;
            };
            let own = executed(batch, &mapping, flags, load.image);
            let (flags, image) = match &own {
                Some((flags, image)) => (*flags, image.as_slice()),
                None => (flags, load.image),
            };
            let header = mapping.load_header(record.time, flags);
            let load = image::Load { image, ..load };
            u64::from(batch.write(header, &Event::ImageLoad(load)))
        });
        self.files = files;
        drained
    }

    /// Hands every record that waits in the rings to `write_fn`, which appends what it makes of
    /// it and says how many events that is.
    pub fn drain_with(
        &mut self,
        batch: &mut Batch,
        write_fn: &mut dyn FnMut(&Record<'_>, &mut Batch) -> u64,
    ) -> io::Result<Drained> {
        let share = (BATCH_SIZE_MAX / self.cpus.len().max(1)).max(CHUNK_SIZE);
        let mut drained = Drained::default();
        for cpu in &mut self.cpus {
            self.peak = self.peak.max(cpu.fill());
            let end = cpu.drain(share, &mut self.scratch, &mut |record| match record {
                Ok(Record {
                    body: Body::Lost(_),
                    ..
                }) => {}
                Ok(record) => self.produced += write_fn(&record, batch),
                Err(time) => {
                    self.lost += 1;
                    write_lost(batch, &self.settings, time, loss::Reason::INVALID_RECORD, 1);
                }
            });
            tell_untold(cpu, &self.settings, &mut self.lost, batch)?;
            if let Some(time) = end {
                let earliest = drained.incomplete_after.unwrap_or(u64::MAX);
                drained.incomplete_after = Some(earliest.min(time));
            }
        }
        Ok(drained)
    }

    /// Appends a `lost` record for what the kernel has lost and no record in a ring has told yet;
    /// that is so for the last losses before a stop. Call it disabled and drained.
    pub fn settle(&mut self, time: u64, batch: &mut Batch) -> io::Result<()> {
        for cpu in &mut self.cpus {
            cpu.settle(time)?;
            tell_untold(cpu, &self.settings, &mut self.lost, batch)?;
        }
        Ok(())
    }

    /// Follows processors that came or went since the last call, also those that did both. Returns
    /// whether [`fds`](Self::fds) changed.
    ///
    /// What ran on a processor since it came online was not seen, which is told. The ring of one that
    /// went stays until it is drained.
    pub fn follow_cpus(&mut self, time: u64, batch: &mut Batch) -> io::Result<bool> {
        let online = online_cpus(&self.online)?;
        let before = self.cpus.len();
        for mut ring in std::mem::take(&mut self.cpus) {
            let is_over = !online.contains(&ring.cpu) || (self.enabled && ring.is_dead()?);
            if !is_over || !ring.is_empty() {
                self.cpus.push(ring);
                continue;
            }
            // Where the count is gone with the processor, its last losses are not told.
            let settled = ring.settle(time).and_then(|()| ring.untold());
            if let Ok(Some((time, count))) = settled {
                self.tell_lost(batch, time, loss::Reason::BUFFER_FULL, count);
            }
        }
        let mut has_changed = self.cpus.len() != before;
        let data_size = ring_size(self.settings.buffer_size, online.len());
        for cpu in online {
            if self.cpus.iter().any(|ring| ring.cpu == cpu) {
                continue;
            }
            let ring = CpuRing::open_online(cpu, self.settings.records, data_size)?;
            if let Some(mut ring) = ring {
                if self.enabled {
                    ring.enable(self.is_muted)?;
                    tracing::warn!(
                        cpu,
                        "a processor came online; what ran on it until now was not seen"
                    );
                    self.tell_lost(batch, time, loss::Reason::BLIND, 1);
                }
                self.cpus.push(ring);
                has_changed = true;
            }
        }
        self.cpus.sort_by_key(|ring| ring.cpu);
        Ok(has_changed)
    }

    /// Tells a loss, and counts it.
    fn tell_lost(&mut self, batch: &mut Batch, time: u64, reason: loss::Reason, count: u64) {
        self.lost += count;
        write_lost(batch, &self.settings, time, reason, count);
    }

    /// Events handed over or lost so far.
    pub const fn produced(&self) -> u64 {
        self.produced + self.lost
    }

    /// Events lost so far, as told in the stream.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The greatest fill of one processor's ring so far and its size, in bytes.
    pub fn peaks(&self) -> (u64, u64) {
        let limit = self.cpus.first().map_or(0, |cpu| cpu.ring.data_size());
        (self.peak, limit as u64)
    }
}

/// Tells what a ring has lost and nobody was told yet, and counts it.
fn tell_untold(
    cpu: &mut CpuRing,
    settings: &RingsSettings,
    lost: &mut u64,
    batch: &mut Batch,
) -> io::Result<()> {
    if let Some((time, count)) = cpu.untold()? {
        *lost += count;
        write_lost(batch, settings, time, loss::Reason::BUFFER_FULL, count);
    }
    Ok(())
}

fn write_lost(
    batch: &mut Batch,
    settings: &RingsSettings,
    time: u64,
    reason: loss::Reason,
    count: u64,
) {
    batch.write_lost(
        time,
        loss::Lost {
            kind: settings.lost_kind,
            reason,
            count,
        },
    );
}

/// A processor's share of `buffer_size`: a power of two, and at least a page.
fn ring_size(buffer_size: usize, cpus: usize) -> usize {
    let share = (buffer_size / cpus.max(1)).max(page_size());
    // Rounded down, so that all together stay within what was asked for.
    1 << share.ilog2()
}

/// Where the kernel lists the processors that are online.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Bytes of that list at most: the kernel gives no more than a page.
const LIST_SIZE_MAX: usize = 4096;

/// The processors that are online now, in order.
fn online_cpus(list: &File) -> io::Result<Vec<u32>> {
    let mut bytes = [0; LIST_SIZE_MAX];
    // From its beginning the kernel makes the list anew.
    let size = list.read_at(&mut bytes, 0)?;
    let list = String::from_utf8_lossy(bytes.get(..size).unwrap_or_default());
    parse_cpu_list(&list)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, list.trim().to_owned()))
}

/// Reads the kernel's form of a set of processors: `0-3,8`.
fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Why perf events do not open here, and the cure.
fn unavailable(error: io::Error) -> Error {
    let paranoid = proc::kernel_setting("perf_event_paranoid");
    let (cause, cure) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            let level = paranoid.as_deref().unwrap_or("unknown");
            (
                format!(
                    "perf events need CAP_PERFMON and CAP_IPC_LOCK here (perf_event_paranoid is {level})"
                ),
                "run it as root, or give it the capabilities CAP_PERFMON and CAP_IPC_LOCK",
            )
        }
        Some(libc::ENOSYS | libc::ENOENT) => (
            "this kernel has no perf events".to_owned(),
            "use a kernel built with CONFIG_PERF_EVENTS",
        ),
        Some(libc::EMFILE | libc::ENFILE) => (
            format!("too many open files for three perf events a processor ({error})"),
            "raise the limit of open files (ulimit -n)",
        ),
        Some(libc::ENOMEM) => (
            format!("no memory for the perf ring buffers ({error})"),
            "set a smaller event buffer",
        ),
        _ => {
            return Error::Io {
                action: "opening perf events",
                source: error,
            };
        }
    };
    Error::Unavailable {
        cause,
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_processors_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_cpu_list("0\n"), Some(vec![0]));
        assert_eq!(parse_cpu_list("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        for broken in ["", "x", "3-1", "0-99999999", "1,,2"] {
            assert_eq!(parse_cpu_list(broken), None, "{broken:?}");
        }
    }

    /// A path that was taken from an exec had the stamp of its file among its directories.
    #[test]
    fn the_path_of_an_exec_is_taken_with_its_stamp() {
        let place = Place {
            device: 9,
            inode: 7,
            ..Place::default()
        };
        let mut bytes = [0; event::Stamp::SIZE + Place::SIZE];
        let mut writer = event::wire::Writer::new(&mut bytes);
        event::Stamp::default().write(&mut writer);
        place.write(&mut writer);
        let image = [&b"x\0"[..], &bytes].concat();
        let flags = Flags::LEAF_FIRST.with(Flags::PLACED).with(Flags::STAMPED);
        let header = Header {
            process_id: 5,
            flags,
            ..Header::default()
        };
        let exec = event::process::Exec {
            image: &image,
            ..event::process::Exec::default()
        };
        let mut batch = Batch::default();
        assert!(batch.write(header, &Event::ProcessExec(exec)));
        let mapping = Mapping {
            process_id: 5,
            thread_id: 5,
            address: 0,
            size: 1,
            device: 9,
            inode: 7,
            name: b"",
        };
        let found = executed(&batch, &mapping, Flags::IMAGE_UNAVAILABLE, b"");
        assert_eq!(found, Some((flags, image)));
    }

    #[test]
    fn all_rings_together_stay_within_the_size_asked_for() {
        let page = page_size();
        assert_eq!(ring_size(8 * page, 2), 4 * page);
        assert_eq!(ring_size(8 * page, 3), 2 * page);
        assert_eq!(ring_size(0, 0), page);
    }
}
