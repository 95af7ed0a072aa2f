//! Image loads.

use aya_ebpf::macros::fentry;
use aya_ebpf::programs::FEntryContext;
use event::{Flags, Header, Kind, image};

use crate::kernel::{Task, Vma};
use crate::maps::{self, Ring, SCRATCH_IMAGE};
use crate::record::{Record, header};

/// `perf_event_mmap(struct vm_area_struct *vma)`: the kernel calls it for every mapping that is
/// made or made executable, once its address and size are settled.
#[fentry]
fn perf_event_mmap(context: FEntryContext) -> Option<()> {
    let vma = Vma::new(context.arg(0))?;
    if !maps::are_images_enabled() || !vma.is_executable() {
        return None;
    }
    let path = vma.path()?;
    let ring = Ring::of(Kind::IMAGE_LOAD);
    let task = Task::current();
    let mut header = header(task, ring.lost());
    if task.is_executing() {
        header.flags = Flags::EXECUTING;
    }
    ring.store(Kind::IMAGE_LOAD, load(vma, path, header, SCRATCH_IMAGE));
    Some(())
}

/// The record of a mapping of the file at `path`.
#[inline(always)]
pub(crate) fn load(
    vma: Vma,
    path: crate::kernel::Path,
    mut header: Header,
    scratch: u32,
) -> Option<&'static [u8]> {
    let mut record = Record::new(maps::scratch(scratch)?, image::Load::FIXED_SIZE);
    let path = record.append_image(path);
    header.kind = Kind::IMAGE_LOAD;
    header.flags = header.flags.with(path.flags);
    let load = image::Load {
        image_base: vma.start(),
        image_size: vma.size(),
        image: &[],
    };
    record.finish(header, |writer| load.write_fixed(writer, path.size))
}
