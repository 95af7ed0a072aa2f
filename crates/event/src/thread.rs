//! Thread start and exit.
//!
//! On Linux a process's first thread is the process itself: its start and exit are the process's,
//! and no thread event is written for it. On Windows it has an id of its own, and events like any.

use crate::wire::{Invalid, Reader, Writer};

/// A thread was created. The header names the process it runs in and the thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The process that made the call.
    pub creator_process_id: u32,
    /// The thread that made the call.
    pub creator_thread_id: u32,
    /// Where the thread begins to run (Windows); 0 where the sensor does not know.
    pub start_address: u64,
}

impl Start {
    /// Bytes of the body.
    pub const SIZE: usize = 16;

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.creator_process_id);
        writer.u32(self.creator_thread_id);
        writer.u64(self.start_address);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            creator_process_id: reader.u32()?,
            creator_thread_id: reader.u32()?,
            start_address: reader.u64()?,
        })
    }
}

/// A thread ended. Everything there is to say is in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit;

impl Exit {
    /// Bytes of the body.
    pub const SIZE: usize = 0;
}
