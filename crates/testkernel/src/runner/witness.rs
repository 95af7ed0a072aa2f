//! The witness: runs programs, sees what happens to them, and has the test kernel tell the driver
//! while each of them is stopped.
//!
//! The debugger interface does not name the thread that creates another process or thread. The
//! programs these tests run create from their first thread only, so that is the one that is told.

use crate::fact::{Fact, ids, unix_ns};
use crate::kernel::Kernel;
use crate::sys::debug::{self, Happening, Image};
use crate::sys::process::thread_id;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use testkernel::Request;
use testkernel::request::Creator;

/// What the witness has seen in all runs, as JSON lines.
const FILE: &str = r"C:\systrail\witness.jsonl";

/// Runs the tree of `command_line` to its end and gives what happened, in order.
pub(crate) fn run(kernel: &Kernel, command_line: &str) -> io::Result<Vec<Fact>> {
    let mut witness = Witness {
        kernel,
        drives: drives()?,
        first_threads: BTreeMap::from([(std::process::id(), thread_id())]),
        facts: Vec::new(),
    };
    let outcome = debug::run(command_line, |process_id, thread_id, happening| {
        witness.see(process_id, thread_id, happening)
    });
    write_down(command_line, &witness.facts)?;
    outcome.map(|()| witness.facts)
}

/// Appends what was seen to [`FILE`], a fact a line, for whoever looks into a test that failed.
fn write_down(command_line: &str, facts: &[Fact]) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(FILE)?;
    writeln!(
        file,
        "{}",
        json!({ "kind": "run", "command_line": command_line })
    )?;
    for fact in facts {
        writeln!(file, "{}", fact.to_json())?;
    }
    Ok(())
}

/// The drives of a prefix, each with the device it stands for.
pub(crate) fn drives() -> io::Result<Vec<(String, String)>> {
    ["C:", "Z:"]
        .into_iter()
        .map(|drive| Ok((drive.to_owned(), debug::device_of(drive)?)))
        .collect()
}

struct Witness<'k> {
    kernel: &'k Kernel,
    drives: Vec<(String, String)>,
    /// The first thread of each process.
    first_threads: BTreeMap<u32, u32>,
    facts: Vec<Fact>,
}

impl Witness<'_> {
    fn see(&mut self, process_id: u32, thread_id: u32, happening: Happening) -> io::Result<()> {
        let fact = match happening {
            Happening::ProcessStart {
                parent_process_id,
                create_time,
                image,
                command_line,
            } => {
                self.first_threads.insert(process_id, thread_id);
                Fact::ProcessStart {
                    process_id,
                    start_time: unix_ns(create_time),
                    parent_process_id,
                    creator: ids(self.first_thread(parent_process_id)),
                    image: self.device_path(&image),
                    command_line,
                }
            }
            Happening::ProcessExit { exit_status } => Fact::ProcessExit {
                process_id,
                thread_id,
                exit_status,
            },
            Happening::ThreadStart { start_address } => {
                let creator = self.thread_creator(process_id, thread_id);
                // Threads of their own processes are not asked for it by default.
                let is_asked = creator.0 != process_id;
                Fact::ThreadStart {
                    process_id,
                    thread_id,
                    creator,
                    start_address: if is_asked { start_address } else { 0 },
                }
            }
            Happening::ThreadExit => Fact::ThreadExit {
                process_id,
                thread_id,
            },
            Happening::ImageLoad(image) => Fact::ImageLoad {
                process_id,
                thread_id,
                base: image.base,
                size: image.size,
                image: self.device_path(&image),
            },
        };
        self.kernel.play(&request(&fact))?;
        self.facts.push(fact);
        Ok(())
    }

    /// A process's first thread is made by whoever makes the process.
    fn thread_creator(&self, process_id: u32, thread_id: u32) -> (u32, u32) {
        let first = ids(self.first_thread(process_id));
        if first.1 != thread_id {
            return first;
        }
        self.facts
            .iter()
            .rev()
            .find_map(|fact| match fact {
                Fact::ProcessStart {
                    process_id: started,
                    creator,
                    ..
                } if *started == process_id => Some(*creator),
                _ => None,
            })
            .unwrap_or(first)
    }

    fn first_thread(&self, process_id: u32) -> Creator {
        Creator {
            process_id,
            thread_id: self
                .first_threads
                .get(&process_id)
                .copied()
                .unwrap_or_default(),
        }
    }

    fn device_path(&self, image: &Image) -> String {
        self.drives
            .iter()
            .find_map(|(drive, device)| {
                let rest = image.path.strip_prefix(drive.as_str())?;
                Some(format!("{device}{rest}"))
            })
            .unwrap_or_else(|| image.path.clone())
    }
}

/// The request that plays a fact.
fn request(fact: &Fact) -> Request {
    let units = |text: &str| text.encode_utf16().collect();
    let creator = |(process_id, thread_id): (u32, u32)| Creator {
        process_id,
        thread_id,
    };
    match fact {
        Fact::ProcessStart {
            process_id,
            parent_process_id,
            creator: by,
            image,
            command_line,
            ..
        } => Request::ProcessStart {
            process_id: *process_id,
            parent_process_id: *parent_process_id,
            creator: creator(*by),
            image: units(image),
            command_line: units(command_line),
        },
        Fact::ProcessExit {
            process_id,
            thread_id,
            exit_status,
        } => Request::ProcessExit {
            process_id: *process_id,
            thread_id: *thread_id,
            exit_status: *exit_status,
        },
        Fact::ThreadStart {
            process_id,
            thread_id,
            creator: by,
            ..
        } => Request::ThreadStart {
            process_id: *process_id,
            thread_id: *thread_id,
            creator: creator(*by),
        },
        Fact::ThreadExit {
            process_id,
            thread_id,
        } => Request::ThreadExit {
            process_id: *process_id,
            thread_id: *thread_id,
        },
        Fact::ImageLoad {
            process_id,
            thread_id,
            base,
            size,
            image,
        } => Request::ImageLoad {
            process_id: *process_id,
            thread_id: *thread_id,
            base: *base,
            size: *size,
            image: units(image),
        },
        // Nobody plays a loss; it is made by playing more than fits.
        Fact::Lost { .. } => Request::Report,
    }
}
