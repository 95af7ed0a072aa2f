//! The messages of the proc connector (`include/uapi/linux/cn_proc.h`), read from bytes that may
//! be anything.

use event::wire::{Invalid, Reader};

use crate::sensor::tasks::{Act, Task};

/// The connector's group and id of process events.
pub(in crate::sensor) const GROUP: u32 = 1;

/// One message of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sensor) struct Message {
    /// Counts the messages of one processor, from any number, and wraps around.
    pub(in crate::sensor) sequence: u32,
    /// The processor.
    pub(in crate::sensor) cpu: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub(in crate::sensor) time: u64,
    /// What it tells.
    pub(in crate::sensor) body: Body,
}

/// What a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sensor) enum Body {
    /// The answer to the request with this id: an error number, or 0.
    Answer { request_id: u32, error: u32 },
    /// A task did something.
    Act(Act),
    /// A task was renamed.
    Name(Task),
    /// Anything else.
    Other,
}

const FORK: u32 = 1;
const EXEC: u32 = 2;
const USER: u32 = 4;
const SESSION: u32 = 0x80;
const NAME: u32 = 0x200;
const EXIT: u32 = 0x8000_0000;

/// Reads the message in a netlink datagram; `None` when it is another connector's.
pub(in crate::sensor) fn read(bytes: &[u8]) -> Result<Option<Message>, Invalid> {
    let mut reader = Reader::new(bytes);
    let _netlink_header = reader.bytes(16)?;
    let (group, id) = (reader.u32()?, reader.u32()?);
    if (group, id) != (GROUP, GROUP) {
        return Ok(None);
    }
    let (sequence, answer_to) = (reader.u32()?, reader.u32()?);
    let (size, _flags) = (reader.u16()?, reader.u16()?);
    let mut reader = Reader::new(reader.bytes(u32::from(size))?);
    let (what, cpu, time) = (reader.u32()?, reader.u32()?, reader.u64()?);
    Ok(Some(Message {
        sequence,
        cpu,
        time,
        body: read_body(what, answer_to, &mut reader)?,
    }))
}

fn read_body(what: u32, answer_to: u32, reader: &mut Reader<'_>) -> Result<Body, Invalid> {
    Ok(match what {
        0 => Body::Answer {
            request_id: answer_to.wrapping_sub(1),
            error: reader.u32()?,
        },
        FORK => {
            let (parent, child) = (read_task(reader)?, read_task(reader)?);
            // For a thread the kernel tells the parent of its process, not who made it.
            let is_process = child.thread_id == child.process_id;
            Body::Act(Act::Fork {
                child,
                creator: is_process.then_some(parent),
                parent: is_process.then_some(parent.process_id),
            })
        }
        EXEC => Body::Act(Act::Exec(read_task(reader)?)),
        USER => {
            let (task, real_user_id) = (read_task(reader)?, reader.u32()?);
            let user_id = reader.u32()?;
            Body::Act(Act::User {
                task,
                user_id,
                real_user_id,
            })
        }
        SESSION => Body::Act(Act::Session(read_task(reader)?)),
        NAME => Body::Name(read_task(reader)?),
        EXIT => {
            let (task, status, _signal) = (read_task(reader)?, reader.u32()?, reader.u32()?);
            // Kernels before 4.18 do not tell the parent, and no kernel does when the parent was
            // fast enough to have reaped the task.
            let parent = read_task(reader).ok().map(|parent| parent.process_id);
            let parent = parent.filter(|id| *id != 0);
            Body::Act(Act::Exit {
                task,
                status: Some(status),
                parent,
            })
        }
        _ => Body::Other,
    })
}

fn read_task(reader: &mut Reader<'_>) -> Result<Task, Invalid> {
    Ok(Task {
        thread_id: reader.u32()?,
        process_id: reader.u32()?,
    })
}

/// Asks the kernel to begin sending messages.
pub(in crate::sensor) const LISTEN: u32 = 1;
/// Asks the kernel to stop. Before Linux 6.6 it goes on until asked, even with no listener left.
pub(in crate::sensor) const IGNORE: u32 = 2;

/// The datagram of a request; its answer has the same `request_id`. That travels as the request's
/// acknowledge number, which the kernel sends back increased by one. The sequence number is the
/// processor's, in an answer too.
pub(in crate::sensor) fn request(operation: u32, request_id: u32) -> Vec<u8> {
    /// `NLMSG_DONE`: the whole message is here.
    const DONE: u16 = 3;
    const SIZE: u32 = 40;
    let mut bytes = Vec::with_capacity(40);
    bytes.extend_from_slice(&SIZE.to_le_bytes());
    bytes.extend_from_slice(&DONE.to_le_bytes());
    // Flags, sequence, port: none.
    bytes.extend_from_slice(&[0; 10]);
    for number in [GROUP, GROUP, 0, request_id] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&4_u16.to_le_bytes());
    bytes.extend_from_slice(&0_u16.to_le_bytes());
    bytes.extend_from_slice(&operation.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(what: u32, numbers: &[u32]) -> Vec<u8> {
        let mut event = Vec::new();
        for number in [what, 1] {
            event.extend_from_slice(&number.to_le_bytes());
        }
        event.extend_from_slice(&99_u64.to_le_bytes());
        for number in numbers {
            event.extend_from_slice(&number.to_le_bytes());
        }
        let mut bytes = vec![0; 16];
        for number in [GROUP, GROUP, 7, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&u16::try_from(event.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&event);
        bytes
    }

    fn body(what: u32, numbers: &[u32]) -> Body {
        let message = read(&datagram(what, numbers)).unwrap().unwrap();
        assert_eq!((message.sequence, message.cpu, message.time), (7, 1, 99));
        message.body
    }

    fn task(thread_id: u32, process_id: u32) -> Task {
        Task {
            thread_id,
            process_id,
        }
    }

    #[test]
    fn every_kind_is_read_as_the_kernel_lays_it_out() {
        assert_eq!(
            body(FORK, &[1, 2, 4, 4]),
            Body::Act(Act::Fork {
                child: task(4, 4),
                creator: Some(task(1, 2)),
                parent: Some(2),
            })
        );
        assert_eq!(
            body(FORK, &[1, 2, 3, 4]),
            Body::Act(Act::Fork {
                child: task(3, 4),
                creator: None,
                parent: None,
            })
        );
        assert_eq!(body(EXEC, &[3, 4]), Body::Act(Act::Exec(task(3, 4))));
        assert_eq!(
            body(USER, &[3, 4, 1000, 33]),
            Body::Act(Act::User {
                task: task(3, 4),
                user_id: 33,
                real_user_id: 1000,
            })
        );
        assert_eq!(
            body(EXIT, &[3, 4, 256, 17, 1, 2]),
            Body::Act(Act::Exit {
                task: task(3, 4),
                status: Some(256),
                parent: Some(2),
            })
        );
        assert_eq!(
            body(EXIT, &[3, 4, 256, 17]),
            Body::Act(Act::Exit {
                task: task(3, 4),
                status: Some(256),
                parent: None,
            })
        );
        assert_eq!(body(0x100, &[1, 2, 3, 4]), Body::Other);
    }

    #[test]
    fn a_message_of_another_connector_is_none() {
        let mut bytes = datagram(EXEC, &[3, 4]);
        bytes[16] = 2;
        assert_eq!(read(&bytes), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_at_all_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _message = read(&bytes);
        }

        #[test]
        fn a_cut_message_is_refused(cut in 0_usize..64) {
            let bytes = datagram(FORK, &[1, 2, 3, 4]);
            prop_assert!(read(&bytes[..cut.min(bytes.len() - 1)]).is_err());
        }
    }
}
