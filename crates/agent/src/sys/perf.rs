//! Perf events and their ring buffers: `perf_event_open`, its `ioctl`s and the shared mapping.
//!
//! A [`PerfEvent`] here is always a software dummy event: it counts nothing and only carries the
//! side-band records (mappings, tasks) the kernel writes for it. A [`Ring`] copies bytes out; it
//! never hands out a reference into memory the kernel writes.

#![expect(
    unsafe_code,
    reason = "perf_event_open, mmap and the ring's shared positions"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Bits of `perf_event_attr`'s bit field (`include/uapi/linux/perf_event.h`).
pub mod flag {
    /// Starts disabled.
    pub const DISABLED: u64 = 1;
    /// Executable mappings.
    pub const MMAP: u64 = 1 << 8;
    /// Names of tasks.
    pub const COMM: u64 = 1 << 9;
    /// Fork and exit of tasks.
    pub const TASK: u64 = 1 << 13;
    /// `wakeup` is in bytes.
    pub const WATERMARK: u64 = 1 << 14;
    /// Every record ends with the sample fields.
    pub const SAMPLE_ID_ALL: u64 = 1 << 18;
    /// Executable mappings with protection and inode.
    pub const MMAP2: u64 = 1 << 23;
    /// Marks the names that an exec gave.
    pub const COMM_EXEC: u64 = 1 << 24;
    /// Times are on the clock `clockid`.
    pub const USE_CLOCKID: u64 = 1 << 25;
}

/// `PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU`.
const SAMPLE_TYPE: u64 = (1 << 1) | (1 << 2) | (1 << 7);
/// `PERF_FORMAT_TOTAL_TIME_ENABLED`.
const FORMAT_TIME_ENABLED: u64 = 1;
/// `PERF_FORMAT_LOST`, Linux 6.0.
const FORMAT_LOST: u64 = 1 << 4;
const TYPE_SOFTWARE: u32 = 1;
const SOFTWARE_DUMMY: u64 = 9;
const FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const IOCTL_ENABLE: libc::Ioctl = 0x2400;
const IOCTL_DISABLE: libc::Ioctl = 0x2401;
/// `PERF_EVENT_IOC_PAUSE_OUTPUT`.
const IOCTL_PAUSE_OUTPUT: libc::Ioctl = 0x4004_2409;

/// Where the positions are in the mapping's first page (`perf_event_mmap_page`).
const DATA_HEAD_OFFSET: usize = 1024;
const DATA_TAIL_OFFSET: usize = 1032;

/// `perf_event_attr` as of its fifth version (Linux 4.8), which every supported kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const ATTRIBUTES_SIZE: u32 = 112;
const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES_SIZE as usize);

/// A dummy event on one processor, for all its tasks. Dropping it ends it.
#[derive(Debug)]
pub struct PerfEvent {
    fd: OwnedFd,
    counts_lost: bool,
}

impl PerfEvent {
    /// Opens a disabled event on `cpu` whose buffer tells `flags` and wakes its reader after
    /// `wakeup_size` bytes. Times are on `CLOCK_BOOTTIME`.
    pub fn open(cpu: u32, flags: u64, wakeup_size: u32) -> io::Result<Self> {
        let format = FORMAT_TIME_ENABLED | FORMAT_LOST;
        match Self::open_with(cpu, flags, wakeup_size, format) {
            // Kernels before 6.0 do not count; then only lost records tell.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Self::open_with(cpu, flags, wakeup_size, FORMAT_TIME_ENABLED)
            }
            result => result,
        }
    }

    fn open_with(cpu: u32, flags: u64, wakeup_size: u32, read_format: u64) -> io::Result<Self> {
        let attributes = Attributes {
            kind: TYPE_SOFTWARE,
            size: ATTRIBUTES_SIZE,
            config: SOFTWARE_DUMMY,
            sample_type: SAMPLE_TYPE,
            read_format,
            flags: flags
                | flag::DISABLED
                | flag::WATERMARK
                | flag::SAMPLE_ID_ALL
                | flag::USE_CLOCKID,
            wakeup: wakeup_size,
            clockid: libc::CLOCK_BOOTTIME,
            ..Attributes::default()
        };
        let any_task: libc::pid_t = -1;
        let no_group: libc::c_int = -1;
        // SAFETY: the pointer is to a live structure of the size it says; the other arguments are
        // plain numbers, each of the width the system call takes.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                any_task,
                cpu,
                no_group,
                FLAG_FD_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = RawFd::try_from(fd).map_err(|_too_large| io::ErrorKind::InvalidData)?;
        Ok(Self {
            // SAFETY: the kernel has just given this descriptor to us and to nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            counts_lost: read_format & FORMAT_LOST != 0,
        })
    }

    /// Begins to write records.
    pub fn enable(&self) -> io::Result<()> {
        self.control(IOCTL_ENABLE, 0)
    }

    /// Ends writing records; on return none is being written any more.
    pub fn disable(&self) -> io::Result<()> {
        self.control(IOCTL_DISABLE, 0)
    }

    /// From now on every record is lost, which is counted and costs least. The event needs a mapped
    /// [`Ring`] for it.
    pub fn pause_output(&self) -> io::Result<()> {
        self.control(IOCTL_PAUSE_OUTPUT, 1)
    }

    fn control(&self, request: libc::Ioctl, argument: libc::c_ulong) -> io::Result<()> {
        // SAFETY: the requests take a plain number and touch no memory of ours.
        let status = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, argument) };
        if status < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// How many records could not be stored since the event was opened, where the kernel counts
    /// them (6.0 and later).
    pub fn lost(&self) -> io::Result<Option<u64>> {
        let [_, _, lost] = self.read()?;
        Ok(self.counts_lost.then_some(lost))
    }

    /// For how many nanoseconds the event has been enabled on a processor that is online. It stands
    /// still for good when the processor goes offline, also after it has come back.
    pub fn time_enabled(&self) -> io::Result<u64> {
        let [_, time, _] = self.read()?;
        Ok(time)
    }

    /// The event's value, its time, and the lost records where they are counted.
    fn read(&self) -> io::Result<[u64; 3]> {
        let mut bytes = [0; 24];
        let size = nix::unistd::read(&self.fd, &mut bytes)?;
        if size != if self.counts_lost { 24 } else { 16 } {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (words, _) = bytes.as_chunks::<8>();
        let mut numbers = [0; 3];
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = u64::from_ne_bytes(*word);
        }
        Ok(numbers)
    }
}

impl AsFd for PerfEvent {
    /// Readable when the buffer's watermark was passed; reading that state clears it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The memory a perf event writes its records to.
///
/// # Invariants
/// `base` is the start of a live shared mapping of one page and `data_size` bytes, readable and
/// writable, owned by this value alone. `data_size` is a power of two.
#[derive(Debug)]
pub struct Ring {
    base: NonNull<libc::c_void>,
    page_size: usize,
    data_size: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this value is its only user.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a buffer of `data_size` bytes, a power of two and whole pages, for `event`.
    pub fn map(event: &PerfEvent, data_size: usize) -> io::Result<Self> {
        let page_size = page_size();
        if !data_size.is_power_of_two() || data_size < page_size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let map_size =
            NonZeroUsize::new(page_size + data_size).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let base = unsafe {
            mmap(
                None,
                map_size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                &event.fd,
                0,
            )
        }?;
        Ok(Self {
            base,
            page_size,
            data_size,
        })
    }

    /// Bytes the buffer holds.
    pub const fn data_size(&self) -> usize {
        self.data_size
    }

    /// How far the kernel has written. Everything before it is visible after this call.
    pub fn head(&self) -> u64 {
        self.position(DATA_HEAD_OFFSET).load(Ordering::Acquire)
    }

    /// Gives the bytes before `tail` back to the kernel.
    pub fn set_tail(&self, tail: u64) {
        // Release: our reads of those bytes are done before the kernel may write over them.
        self.position(DATA_TAIL_OFFSET)
            .store(tail, Ordering::Release);
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + size_of::<AtomicU64>() <= self.page_size);
        // SAFETY: by the invariant the first page is mapped, and the offset lies within it.
        let address = unsafe { self.base.byte_add(offset) };
        // SAFETY: the address is aligned (a page and a multiple of eight), mapped as long as
        // `self` lives, and everybody, the kernel too, accesses it atomically.
        unsafe { AtomicU64::from_ptr(address.as_ptr().cast()) }
    }

    /// Appends the `size` bytes at `position`, which may wrap around, to `bytes`. `size` is at
    /// most the buffer's.
    ///
    /// The kernel does not write to bytes between tail and head. Should it, the copy is garbage,
    /// which the parser must bear anyway.
    pub fn copy(&self, position: u64, size: usize, bytes: &mut Vec<u8>) {
        let size = size.min(self.data_size);
        let mask = self.data_size as u64 - 1;
        let start = usize::try_from(position & mask).unwrap_or(0);
        let first = size.min(self.data_size - start);
        self.copy_part(start, first, bytes);
        self.copy_part(0, size - first, bytes);
    }

    fn copy_part(&self, start: usize, size: usize, bytes: &mut Vec<u8>) {
        assert!(start <= self.data_size && size <= self.data_size - start);
        bytes.reserve(size);
        // SAFETY: by the invariant and the assertion, the data area begins one page after the
        // base and `start` lies within it.
        let source = unsafe { self.base.byte_add(self.page_size + start) };
        let target = bytes.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `size` bytes from `source` are mapped (assertion), `size` bytes from `target` are
        // reserved, and the vector is not in the mapping.
        unsafe {
            target.copy_from_nonoverlapping(source.as_ptr().cast(), size);
        }
        // SAFETY: the bytes up to the new length have just been written.
        unsafe {
            bytes.set_len(bytes.len() + size);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: by the invariant this is the whole mapping and nobody else uses it.
        let unmapped = unsafe { munmap(self.base, self.page_size + self.data_size) };
        debug_assert!(unmapped.is_ok(), "the mapping was ours");
    }
}

/// Bytes of a page of memory.
pub fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(4096)
}
