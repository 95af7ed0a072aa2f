//! What the runner asks of the test kernel: play an event, let a call fail, report.
//!
//! A request is a number that names it and its fields, little-endian; a text is its size in bytes
//! and the bytes.

use event::wire::{Invalid, Reader};

/// Process and thread that make a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Creator {
    /// The process.
    pub process_id: u32,
    /// The thread.
    pub thread_id: u32,
}

/// A request to the test kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Call the process notify routines for a start.
    ProcessStart {
        /// The new process.
        process_id: u32,
        /// The process it inherits from.
        parent_process_id: u32,
        /// Who starts it.
        creator: Creator,
        /// The image's path as the kernel names it, UTF-16.
        image: Vec<u16>,
        /// The command line, UTF-16.
        command_line: Vec<u16>,
    },
    /// Call the process notify routines for an exit.
    ProcessExit {
        /// The process.
        process_id: u32,
        /// Its last thread.
        thread_id: u32,
        /// Its exit status.
        exit_status: u32,
    },
    /// Call the thread notify routines for a start.
    ThreadStart {
        /// The process it runs in.
        process_id: u32,
        /// The new thread.
        thread_id: u32,
        /// Who starts it.
        creator: Creator,
    },
    /// Call the thread notify routines for an exit.
    ThreadExit {
        /// The process it ran in.
        process_id: u32,
        /// The thread.
        thread_id: u32,
    },
    /// Call the image notify routines.
    ImageLoad {
        /// The process it is mapped into.
        process_id: u32,
        /// The thread that maps it.
        thread_id: u32,
        /// Where it begins.
        base: u64,
        /// Its bytes.
        size: u64,
        /// Its path as the kernel names it, UTF-16.
        image: Vec<u16>,
    },
    /// Let a call of a kernel function fail.
    Fail {
        /// The function.
        function: String,
        /// Which call from now on, from 1; 0 lets none fail.
        nth: u64,
    },
    /// Answer with a [`Report`](crate::Report).
    Report,
    /// Forget breaches and counts.
    Reset,
}

impl Request {
    /// The request as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::ProcessStart {
                process_id,
                parent_process_id,
                creator,
                image,
                command_line,
            } => {
                numbers(&mut bytes, &[1, *process_id, *parent_process_id]);
                numbers(&mut bytes, &[creator.process_id, creator.thread_id]);
                text(&mut bytes, image);
                text(&mut bytes, command_line);
            }
            Self::ProcessExit {
                process_id,
                thread_id,
                exit_status,
            } => numbers(&mut bytes, &[2, *process_id, *thread_id, *exit_status]),
            Self::ThreadStart {
                process_id,
                thread_id,
                creator,
            } => {
                numbers(&mut bytes, &[3, *process_id, *thread_id]);
                numbers(&mut bytes, &[creator.process_id, creator.thread_id]);
            }
            Self::ThreadExit {
                process_id,
                thread_id,
            } => numbers(&mut bytes, &[4, *process_id, *thread_id]),
            Self::ImageLoad {
                process_id,
                thread_id,
                base,
                size,
                image,
            } => {
                numbers(&mut bytes, &[5, *process_id, *thread_id]);
                bytes.extend(base.to_le_bytes());
                bytes.extend(size.to_le_bytes());
                text(&mut bytes, image);
            }
            Self::Fail { function, nth } => {
                numbers(&mut bytes, &[6]);
                bytes.extend(nth.to_le_bytes());
                bytes.extend(function.as_bytes());
            }
            Self::Report => numbers(&mut bytes, &[7]),
            Self::Reset => numbers(&mut bytes, &[8]),
        }
        bytes
    }

    /// Reads a request.
    ///
    /// # Errors
    /// What is not as claimed; an unknown number counts as bytes that are missing.
    pub fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(bytes);
        let request = match reader.u32()? {
            1 => Self::ProcessStart {
                process_id: reader.u32()?,
                parent_process_id: reader.u32()?,
                creator: creator(&mut reader)?,
                image: read_text(&mut reader)?,
                command_line: read_text(&mut reader)?,
            },
            2 => Self::ProcessExit {
                process_id: reader.u32()?,
                thread_id: reader.u32()?,
                exit_status: reader.u32()?,
            },
            3 => Self::ThreadStart {
                process_id: reader.u32()?,
                thread_id: reader.u32()?,
                creator: creator(&mut reader)?,
            },
            4 => Self::ThreadExit {
                process_id: reader.u32()?,
                thread_id: reader.u32()?,
            },
            5 => Self::ImageLoad {
                process_id: reader.u32()?,
                thread_id: reader.u32()?,
                base: reader.u64()?,
                size: reader.u64()?,
                image: read_text(&mut reader)?,
            },
            6 => {
                let nth = reader.u64()?;
                let name = bytes.get(12..).unwrap_or_default();
                Self::Fail {
                    function: String::from_utf8_lossy(name).into_owned(),
                    nth,
                }
            }
            7 => Self::Report,
            8 => Self::Reset,
            _ => {
                return Err(Invalid::Short {
                    needed: bytes.len().saturating_add(1),
                    left: bytes.len(),
                });
            }
        };
        Ok(request)
    }
}

fn numbers(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn text(bytes: &mut Vec<u8>, units: &[u16]) {
    let size = u32::try_from(units.len().saturating_mul(2)).unwrap_or(u32::MAX);
    bytes.extend(size.to_le_bytes());
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
}

fn creator(reader: &mut Reader<'_>) -> Result<Creator, Invalid> {
    Ok(Creator {
        process_id: reader.u32()?,
        thread_id: reader.u32()?,
    })
}

fn read_text(reader: &mut Reader<'_>) -> Result<Vec<u16>, Invalid> {
    let size = reader.u32()?;
    let (pairs, _odd_byte) = reader.bytes(size)?.as_chunks::<2>();
    Ok(pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

#[cfg(test)]
mod tests {
    use super::{Creator, Request};

    fn requests() -> Vec<Request> {
        let creator = Creator {
            process_id: 4,
            thread_id: 5,
        };
        vec![
            Request::ProcessStart {
                process_id: 1,
                parent_process_id: 2,
                creator,
                image: vec![0x43, 0xd800],
                command_line: Vec::new(),
            },
            Request::ProcessExit {
                process_id: 1,
                thread_id: 2,
                exit_status: 0xc000_0005,
            },
            Request::ThreadStart {
                process_id: 1,
                thread_id: 3,
                creator,
            },
            Request::ThreadExit {
                process_id: 1,
                thread_id: 3,
            },
            Request::ImageLoad {
                process_id: 1,
                thread_id: 2,
                base: 1 << 40,
                size: 0x1000,
                image: vec![0x41; 300],
            },
            Request::Fail {
                function: "IoCreateDevice".to_owned(),
                nth: 3,
            },
            Request::Report,
            Request::Reset,
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for request in requests() {
            assert_eq!(Request::read(&request.to_bytes()), Ok(request));
        }
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        for request in requests() {
            let bytes = request.to_bytes();
            let fixed = match &request {
                // The name is all that is left, so a shorter one is another name.
                Request::Fail { .. } => 12,
                _ => bytes.len(),
            };
            for size in 0..fixed {
                assert!(
                    Request::read(&bytes[..size]).is_err(),
                    "{request:?}, {size}"
                );
            }
        }
        assert!(Request::read(&[99, 0, 0, 0]).is_err());
    }
}
