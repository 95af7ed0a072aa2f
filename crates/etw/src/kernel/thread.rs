//! Thread start, exit and rundown.

use super::Act;
use crate::fields::{Fields, Invalid, PointerSize};

/// A thread, as far as an event tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub process_id: u32,
    /// Its id.
    pub thread_id: u32,
    /// Where it begins to run, as whoever made it said.
    pub start_address: Option<u64>,
}

impl Thread {
    /// What the kernel's class tells (`Thread_V0_TypeGroup1` to `Thread_V3_TypeGroup1`; version 4 has
    /// the thread's name at its end).
    pub(super) fn read(
        version: u8,
        pointer_size: PointerSize,
        fields: &mut Fields<'_>,
    ) -> Result<Self, Invalid> {
        let (first, second) = (fields.u32()?, fields.u32()?);
        if version == 0 {
            return Ok(Self {
                process_id: second,
                thread_id: first,
                start_address: None,
            });
        }
        let mut thread = Self {
            process_id: first,
            thread_id: second,
            start_address: None,
        };
        // An exit of version 1 ends here.
        if version == 1 && fields.rest().is_empty() {
            return Ok(thread);
        }
        let win32 = read_addresses(pointer_size, fields)?;
        thread.start_address = Some(win32).filter(|address| *address != 0);
        if version == 1 {
            let _wait_mode = fields.u8()?;
            return Ok(thread);
        }
        let _environment_block = fields.pointer(pointer_size)?;
        let _service = fields.u32()?;
        if version >= 3 {
            let _priorities_and_flags = fields.u32()?;
        }
        if version >= 4 {
            let _name = fields.wide_text()?;
        }
        Ok(thread)
    }

    /// What the provider tells.
    pub(super) fn read_provider(
        version: u8,
        act: Act,
        pointer_size: PointerSize,
        fields: &mut Fields<'_>,
    ) -> Result<Self, Invalid> {
        let (process_id, thread_id) = (fields.u32()?, fields.u32()?);
        let win32 = read_addresses(pointer_size, fields)?;
        let _environment_block = fields.pointer(pointer_size)?;
        if version >= 1 {
            let _service = fields.u32()?;
            if act == Act::Ended {
                let _cycles = fields.u64()?;
            }
        }
        Ok(Self {
            process_id,
            thread_id,
            start_address: Some(win32).filter(|address| *address != 0),
        })
    }
}

/// Both stacks, the start address (from version 3 on the affinity), and the address that was asked for,
/// which is the one of use: the former is the same for all threads of user mode.
fn read_addresses(pointer_size: PointerSize, fields: &mut Fields<'_>) -> Result<u64, Invalid> {
    fields.bytes(5 * pointer_size.bytes())?;
    fields.pointer(pointer_size)
}
