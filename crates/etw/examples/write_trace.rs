//! Writes a trace as large as is asked for, of processes that start, load images and exit on eight
//! processors: `write_trace FILE MIB`.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use etw::encode::{self, Buffer, Payload, Settings, Whence};
use etw::fields::PointerSize;

const SIZE: PointerSize = PointerSize::Eight;
const PROCESSORS: u16 = 8;
const LIBRARIES: [&str; 4] = ["ntdll", "kernel32", "KernelBase", "ucrtbase"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(path), Some(size)) = (arguments.next(), arguments.next()) else {
        return Err("usage: write_trace FILE MIB".into());
    };
    let size = size.parse::<u64>()? << 20;
    let settings = Settings::default();
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&encode::trace(&settings, &[]))?;
    let mut written = u64::from(settings.buffer_size);
    let mut buffers: Vec<Buffer> = (0..PROCESSORS).map(Buffer::new).collect();
    let (mut number, mut count) = (0_u32, 0_u64);
    while written < size {
        for (processor, buffer) in (0_u16..).zip(&mut buffers) {
            number += 1;
            for event in process(number, settings.base) {
                if buffer.size() + event.len() + 8 > 64 * 1024 {
                    file.write_all(&buffer.bytes(settings.buffer_size))?;
                    written += u64::from(settings.buffer_size);
                    *buffer = Buffer::new(processor);
                }
                buffer.add(&event);
                count += 1;
            }
        }
    }
    for buffer in &buffers {
        file.write_all(&buffer.bytes(settings.buffer_size))?;
    }
    file.flush()?;
    writeln!(std::io::stdout(), "{count} events")?;
    Ok(())
}

/// The life of a process: eleven events.
fn process(number: u32, base: i64) -> Vec<Vec<u8>> {
    let (parent, process_id) = (4, 1000 + 4 * (number % 10_000));
    let begin = base + i64::from(number) * 40;
    let told = |kind, version, ticks, payload: Payload| {
        let whence = Whence {
            process_id: parent,
            thread_id: parent + 4,
            stamp: begin + ticks,
        };
        encode::system(SIZE, kind, version, whence, &payload.bytes)
    };
    let of_process = || {
        Payload::new(SIZE)
            .pointer(0xffff_ca86_8152_0080)
            .u32(process_id)
            .u32(parent)
            .u32(1)
            .u32(0)
            .pointer(0x1000)
            .u32(0)
            .token(5, &[21, 1, 2, 3, 1001])
            .narrow("program.exe")
            .wide(&format!(
                "program.exe --number {number} --file C:\\data\\{number}.txt"
            ))
            .wide("")
            .wide("")
    };
    let of_image = |base: u64, path: &str| {
        Payload::new(SIZE)
            .pointer(base)
            .pointer(0x1f_0000)
            .u32(process_id)
            .u32(1)
            .u32(2)
            .u32(0x020c)
            .pointer(base)
            .u64(0)
            .u64(0)
            .wide(path)
    };
    let of_thread = |thread_id: u32| {
        let thread = Payload::new(SIZE).u32(process_id).u32(thread_id);
        let thread = (0..5).fold(thread, |thread, _| thread.pointer(1));
        thread.pointer(0x7ff9_0000).pointer(2).u32(0).u32(0)
    };
    let mut events = vec![
        told((3, 1), 4, 0, of_process()),
        told((5, 1), 3, 1, of_thread(process_id + 1)),
        told((5, 1), 3, 2, of_thread(process_id + 2)),
    ];
    let program = r"\Device\HarddiskVolume3\Program Files\program.exe".to_owned();
    let libraries = LIBRARIES
        .iter()
        .map(|name| format!(r"\Device\HarddiskVolume3\Windows\System32\{name}.dll"));
    let mut at = 0x7ff9_0000_0000;
    for path in [program].into_iter().chain(libraries) {
        at += 0x100_0000;
        events.push(told((3, 10), 3, 3, of_image(at, &path)));
    }
    events.push(told((5, 2), 3, 4, of_thread(process_id + 2)));
    events.push(told((5, 2), 3, 5, of_thread(process_id + 1)));
    events.push(told((3, 2), 4, 6, of_process()));
    events
}
