//! The snapshot: iterators over what was there before the sensor, as records flagged `EXISTING`.

#![expect(
    unsafe_code,
    reason = "the kernel finds iterator programs by their sections and hands them bare pointers"
)]

use core::ffi::c_void;

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::bpf_seq_write;
use event::{Flags, Kind, process};

use crate::image;
use crate::kernel::{Task, Vma};
use crate::maps::{self, SCRATCH_ITERATOR};
use crate::record::{Record, Text, header};

/// Visits every task: `struct bpf_iter__task { meta, task }`. Writes the processes.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn iterate_processes(context: *mut c_void) -> i32 {
    let visit = Visit::new(context);
    if let Some(task) = Task::new(visit.object(1))
        && is_live_leader(task)
        && let Some(record) = process(task)
    {
        visit.write(record);
    }
    0
}

/// Visits every mapping: `struct bpf_iter__task_vma { meta, task, vma }`. Writes the executable
/// ones of files.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_vma")]
extern "C" fn iterate_images(context: *mut c_void) -> i32 {
    let visit = Visit::new(context);
    if let Some(task) = Task::new(visit.object(1))
        && let Some(vma) = Vma::new(visit.object(2))
        && is_live_leader(task)
        && vma.is_executable()
        && let Some(path) = vma.path()
    {
        let mut header = header(task, 0);
        header.flags = Flags::EXISTING;
        if let Some(record) = image::load(vma, path, header, SCRATCH_ITERATOR) {
            visit.write(record);
        }
    }
    0
}

/// A process whose threads have all begun to exit has had its exit event; one whose first thread
/// has ended but others have not, lives.
#[inline(always)]
fn is_live_leader(task: Task) -> bool {
    task.pid() == task.tgid() && task.pid() != 0 && task.live_threads() > 0
}

#[inline(always)]
fn process(task: Task) -> Option<&'static [u8]> {
    let mut header = header(task, 0);
    let mut record = Record::new(maps::scratch(SCRATCH_ITERATOR)?, process::Start::FIXED_SIZE);
    header.kind = Kind::PROCESS_START;
    header.flags = Flags::EXISTING;
    let image = if task.is_kernel_thread() {
        header.flags = header.flags.with(Flags::KERNEL_PROCESS);
        Text::NONE
    } else {
        match task.program() {
            Some(file) => record.append_path(file.path()),
            None => Text::image_unavailable(),
        }
    };
    header.flags = header.flags.with(image.flags);
    header.flags = header
        .flags
        .with(record.append_origin(task.users(), task.setting()));
    record.append_terminal(task.terminal());
    let parent = task.parent();
    // Who created it is not known any more; the parent is the best there is.
    let start = process::Start {
        parent_process_id: parent.tgid(),
        session_id: task.session_id(),
        user_id: task.effective_user_id(),
        parent_start_time: parent.leader().start_time(),
        ..process::Start::default()
    };
    record.finish(header, |writer| start.write_fixed(writer, [image.size, 0]))
}

/// Where an iterator program writes to: the kernel's `seq_file`, and the two objects it may visit.
#[derive(Clone, Copy)]
struct Visit(*const c_void);

impl Visit {
    /// The context of an iterator program: a structure of pointers, of which the first leads to
    /// one whose first field is the `seq_file` (`struct bpf_iter_meta`).
    #[inline(always)]
    fn new(context: *const c_void) -> Self {
        Self(context)
    }

    /// The pointer at `index` of the context.
    #[inline(always)]
    fn object(self, index: usize) -> *const c_void {
        let at = self.0.cast::<*const c_void>().wrapping_add(index);
        // SAFETY: the verifier has checked that the context has this field.
        unsafe { at.read_volatile() }
    }

    /// Appends bytes to what the agent reads. When they do not fit the kernel visits the object
    /// again with an empty buffer.
    #[inline(always)]
    fn write(self, bytes: &[u8]) {
        let meta = self.object(0).cast::<*mut seq_file>();
        // SAFETY: the verifier has checked that this field is the `seq_file`.
        let seq = unsafe { meta.read_volatile() };
        // SAFETY: the source has the size the helper is told.
        let _visited_again_if_full =
            unsafe { bpf_seq_write(seq, bytes.as_ptr().cast(), bytes.len() as u32) };
    }
}
