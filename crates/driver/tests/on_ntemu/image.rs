//! Image loads.

use crate::stream::{bytes_of, flushed, started, stop, utf_16};
use event::image::Signature;
use event::{Event, Extension, Flags};
use ntemu::{LoadImage, StartProcess};

#[test]
fn a_load_carries_path_place_size_and_signature() {
    let (machine, file) = started();
    machine.start_process(&StartProcess::default());
    let name = utf_16(r"\Device\HarddiskVolume1\Windows\System32\ntdll.dll");
    machine.load_image(&LoadImage {
        process_id: 100,
        name: Some(&name),
        base: 0x7ffa_0000_0000,
        size: 0x1f_8000,
        properties: 3 | (12 << 12) | (3 << 16),
    });

    let records = flushed(&machine, &file);
    let event::Record {
        header,
        event: Event::ImageLoad(load),
        ..
    } = event::read(&records[1]).unwrap()
    else {
        panic!("no image load");
    };
    assert_eq!(load.image, bytes_of(&name));
    assert_eq!(
        (load.image_base, load.image_size),
        (0x7ffa_0000_0000, 0x1f_8000)
    );
    assert_eq!(header.process_id, 100);
    assert!(header.start_time > 0);
    assert!(!header.flags.contains(Flags::KERNEL_IMAGE));
    assert_eq!(
        event::read(&records[1]).unwrap().extension,
        Extension::Signature(Signature { level: 12, kind: 3 })
    );
    stop(machine, file);
}

#[test]
fn a_driver_is_a_load_into_process_0() {
    let (machine, file) = started();
    machine.load_image(&LoadImage {
        properties: 1 << 8,
        name: None,
        ..LoadImage::default()
    });

    let records = flushed(&machine, &file);
    let header = event::read(&records[0]).unwrap().header;
    assert_eq!((header.process_id, header.start_time), (0, 0));
    assert!(
        header
            .flags
            .contains(Flags::KERNEL_IMAGE.with(Flags::IMAGE_UNAVAILABLE))
    );
    stop(machine, file);
}
