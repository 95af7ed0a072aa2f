//! Image load.

use crate::sensor::{Sensor, header};
use crate::text;
use event::image::{Load, Signature};
use event::{Event, Extension, Flags, HEADER_SIZE};
use nt::notify::{ImageLoad, ImageNotify};
use nt::process::{Process, current_process_id, current_thread_id};

/// Bytes of a load's record without its path.
const FIXED_SIZE: usize = HEADER_SIZE + Load::FIXED_SIZE + Signature::SIZE;

impl ImageNotify for Sensor {
    fn image_load(&'static self, load: &ImageLoad<'_>) {
        let extension = Extension::Signature(Signature {
            level: load.signature_level(),
            kind: load.signature_kind(),
        });
        let fixed = Load {
            image_base: load.image_base(),
            image_size: load.image_size(),
            image: &[],
        };
        let image = load.full_image_name();
        let room = self.room_beside(FIXED_SIZE);
        let texts = text::fit(room, image.unwrap_or(&[]), &[]);
        let flags = [
            (image.is_none(), Flags::IMAGE_UNAVAILABLE),
            (texts.is_first_cut, Flags::IMAGE_TRUNCATED),
            (load.is_kernel_image(), Flags::KERNEL_IMAGE),
        ]
        .into_iter()
        .filter(|(is_so, _flag)| *is_so)
        .fold(Flags::UTF_16, |flags, (_is_so, flag)| flags.with(flag));
        // A driver is mapped into process 0, which has no start.
        let start_time = if load.process_id() == current_process_id() {
            Process::current().create_time_ns()
        } else {
            0
        };
        let event = Event::ImageLoad(Load {
            image: texts.first,
            ..fixed
        });
        text::touch(texts.first);
        let header = header(load.process_id(), current_thread_id(), start_time, flags);
        self.record(header, &event, &extension);
    }
}
