//! Prints the processes of the log on standard input that failed.
use std::io;
use systrail_trail::{Body, json};

fn main() -> io::Result<()> {
    for line in io::stdin().lines() {
        match json::read_line(line?.as_bytes()) {
            Err(error) => eprintln!("passed over: {error}"),
            Ok(event) if event.body.has_failed() => {
                let Body::ProcessExit(exit) = &event.body else {
                    continue;
                };
                let image = exit.image.as_ref().map_or("?", |image| image.shown());
                println!("{} {} {image:?}", event.time, event.process_id);
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
