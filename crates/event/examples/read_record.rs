//! Reads records, which stand one after the other in a file, and prints what each says:
//! `cargo run -p event --example read_record -- FILE`. Without a file it writes one record and reads
//! that.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;

use event::wire::Reader;
use event::{Event, Header, process};

fn main() -> Result<(), Box<dyn Error>> {
    let bytes = match std::env::args_os().nth(1) {
        Some(file) => std::fs::read(file)?,
        None => written()?,
    };
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        // A record begins with its size, which is a claim until there are as many bytes.
        let claimed = Header::read(&mut Reader::new(rest))?.size;
        let (record, after) = rest
            .split_at_checked(usize::try_from(claimed)?)
            .ok_or("the file ends inside a record")?;
        print(&event::read(record)?);
        rest = after;
    }
    Ok(())
}

fn print(record: &event::Record<'_>) {
    let header = &record.header;
    print!("{} {}: ", header.kind, header.process_id);
    match &record.event {
        Event::ProcessStart(start) => println!("by {}", start.creator_process_id),
        Event::ProcessExec(exec) => println!("{}", exec.command_line.escape_ascii()),
        Event::ImageLoad(load) => println!("{}", load.image.escape_ascii()),
        Event::Lost(lost) => println!("{} of {}", lost.count, lost.kind),
        Event::Unknown => println!("of a newer sensor"),
        other => println!("{other:?}"),
    }
}

/// The record of an exec, as the kernel side writes it.
fn written() -> Result<Vec<u8>, Box<dyn Error>> {
    let exec = Event::ProcessExec(process::Exec {
        image: b"/usr/bin/true",
        command_line: b"true\0",
        ..process::Exec::default()
    });
    let header = Header {
        time: 1,
        process_id: 42,
        thread_id: 42,
        ..Header::default()
    };
    let (_kind, size) = event::kind_and_size(&exec).ok_or("a kind that can be written")?;
    let mut buffer = vec![0; size];
    let record = event::write(header, &exec, &mut buffer).ok_or("as large as it says")?;
    Ok(record.to_vec())
}
