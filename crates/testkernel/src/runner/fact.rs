//! What happened, in one form for whoever saw it: the witness, the driver, the agent.

use event::{Event, Header, Kind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use testkernel::request::Creator;

/// 100 ns units from 1601, where Windows' times begin, to 1970.
const EPOCH_OFFSET: u64 = 116_444_736_000_000_000;

/// One fact. Paths are as the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    ProcessStart {
        process_id: u32,
        /// When it was created, in nanoseconds since 1970.
        start_time: u64,
        parent_process_id: u32,
        creator: (u32, u32),
        image: String,
        command_line: String,
    },
    ProcessExit {
        process_id: u32,
        thread_id: u32,
        exit_status: u32,
    },
    ThreadStart {
        process_id: u32,
        thread_id: u32,
        creator: (u32, u32),
        start_address: u64,
    },
    ThreadExit {
        process_id: u32,
        thread_id: u32,
    },
    ImageLoad {
        process_id: u32,
        thread_id: u32,
        base: u64,
        size: u64,
        image: String,
    },
    Lost {
        kind: u16,
        count: u64,
    },
}

/// A thread as the facts have it.
pub(crate) fn ids(thread: Creator) -> (u32, u32) {
    (thread.process_id, thread.thread_id)
}

/// A time of Windows in nanoseconds since 1970.
pub(crate) fn unix_ns(units: u64) -> u64 {
    units.saturating_sub(EPOCH_OFFSET).saturating_mul(100)
}

impl Fact {
    /// The process it is about; 0 for a loss.
    pub(crate) fn process_id(&self) -> u32 {
        match self {
            Self::ProcessStart { process_id, .. }
            | Self::ProcessExit { process_id, .. }
            | Self::ThreadStart { process_id, .. }
            | Self::ThreadExit { process_id, .. }
            | Self::ImageLoad { process_id, .. } => *process_id,
            Self::Lost { .. } => 0,
        }
    }

    /// One line of the witness's file, with the names the agent's log has.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::ProcessStart {
                process_id,
                start_time,
                parent_process_id,
                creator,
                image,
                command_line,
            } => json!({
                "kind": "process_start", "process_id": process_id, "start_time": start_time,
                "parent_process_id": parent_process_id, "creator_process_id": creator.0,
                "creator_thread_id": creator.1, "image": image, "command_line": command_line,
            }),
            Self::ProcessExit {
                process_id,
                thread_id,
                exit_status,
            } => json!({
                "kind": "process_exit", "process_id": process_id, "thread_id": thread_id,
                "exit_code": exit_status,
            }),
            Self::ThreadStart {
                process_id,
                thread_id,
                creator,
                start_address,
            } => json!({
                "kind": "thread_start", "process_id": process_id, "thread_id": thread_id,
                "creator_process_id": creator.0, "creator_thread_id": creator.1,
                "start_address": format!("{start_address:#x}"),
            }),
            Self::ThreadExit {
                process_id,
                thread_id,
            } => json!({
                "kind": "thread_exit", "process_id": process_id, "thread_id": thread_id,
            }),
            Self::ImageLoad {
                process_id,
                thread_id,
                base,
                size,
                image,
            } => json!({
                "kind": "image_load", "process_id": process_id, "thread_id": thread_id,
                "image_base": format!("{base:#x}"), "image_size": size, "image": image,
            }),
            Self::Lost { kind, count } => json!({
                "kind": "lost", "lost_kind": kind, "lost_count": count,
            }),
        }
    }

    /// What a record of the driver says.
    pub(crate) fn read(record: &[u8]) -> io::Result<(Header, Self)> {
        let event::Record { header, event, .. } =
            event::read(record).map_err(|error| io::Error::other(error.to_string()))?;
        let Header {
            process_id,
            thread_id,
            ..
        } = header;
        let fact = match event {
            Event::ProcessStart(start) => Self::ProcessStart {
                process_id,
                start_time: header.start_time,
                parent_process_id: start.parent_process_id,
                creator: (start.creator_process_id, start.creator_thread_id),
                image: text(start.image),
                command_line: text(start.command_line),
            },
            Event::ProcessExit(exit) => Self::ProcessExit {
                process_id,
                thread_id,
                exit_status: exit.exit_status,
            },
            Event::ThreadStart(start) => Self::ThreadStart {
                process_id,
                thread_id,
                creator: (start.creator_process_id, start.creator_thread_id),
                start_address: start.start_address,
            },
            Event::ThreadExit(_) => Self::ThreadExit {
                process_id,
                thread_id,
            },
            Event::ImageLoad(load) => Self::ImageLoad {
                process_id,
                thread_id,
                base: load.image_base,
                size: load.image_size,
                image: text(load.image),
            },
            Event::Lost(lost) => Self::Lost {
                kind: lost.kind.0,
                count: lost.count,
            },
            Event::ProcessExec(_)
            | Event::ImageUnload(_)
            | Event::ExecFailed(_)
            | Event::Unknown => {
                let Kind(kind) = header.kind;
                return Err(io::Error::other(format!("a record of kind {kind}")));
            }
        };
        Ok((header, fact))
    }
}

/// The processes that started.
pub(crate) fn processes(facts: &[Fact]) -> BTreeSet<u32> {
    facts
        .iter()
        .filter(|fact| matches!(fact, Fact::ProcessStart { .. }))
        .map(Fact::process_id)
        .collect()
}

fn text(bytes: &[u8]) -> String {
    let (pairs, _odd_byte) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    String::from_utf16_lossy(&units)
}

/// Witnessed facts as the agent's log tells them: paths begin with a drive, a process is told by
/// its key, and only starts of threads name the thread.
pub(crate) fn as_logged(facts: &[Fact], drives: &[(String, String)]) -> Vec<Fact> {
    let dos_path = |path: &str| {
        drives
            .iter()
            .find_map(|(drive, device)| {
                let rest = path.strip_prefix(device.as_str())?;
                rest.starts_with('\\').then(|| format!("{drive}{rest}"))
            })
            .unwrap_or_else(|| path.to_owned())
    };
    let mut logged = facts.to_vec();
    for fact in &mut logged {
        match fact {
            Fact::ProcessStart {
                start_time, image, ..
            } => {
                *start_time = 0;
                *image = dos_path(image);
            }
            Fact::ProcessExit { thread_id, .. } => *thread_id = 0,
            Fact::ImageLoad {
                thread_id, image, ..
            } => {
                *thread_id = 0;
                *image = dos_path(image);
            }
            Fact::ThreadStart { .. } | Fact::ThreadExit { .. } | Fact::Lost { .. } => {}
        }
    }
    without_first_threads(logged)
}

/// Leaves out the first thread of each process: in the log it is the process.
fn without_first_threads(facts: Vec<Fact>) -> Vec<Fact> {
    let mut first_threads = BTreeMap::new();
    for fact in &facts {
        if let Fact::ThreadStart {
            process_id,
            thread_id,
            ..
        } = fact
        {
            first_threads.entry(*process_id).or_insert(*thread_id);
        }
    }
    facts
        .into_iter()
        .filter(|fact| match fact {
            Fact::ThreadStart {
                process_id,
                thread_id,
                ..
            }
            | Fact::ThreadExit {
                process_id,
                thread_id,
            } => first_threads.get(process_id) != Some(thread_id),
            _ => true,
        })
        .collect()
}

/// Says where two lists differ first.
pub(crate) fn same(witnessed: &[Fact], told: &[Fact]) -> Result<(), String> {
    for (index, (witnessed, told)) in witnessed.iter().zip(told).enumerate() {
        if witnessed != told {
            return Err(format!(
                "fact {index}: witnessed {witnessed:?}, told {told:?}"
            ));
        }
    }
    if witnessed.len() == told.len() {
        Ok(())
    } else {
        Err(format!(
            "{} witnessed, {} told",
            witnessed.len(),
            told.len()
        ))
    }
}
