//! The header of a buffer (`WMI_BUFFER_HEADER`): a trace file is one buffer after another, each filled
//! by one processor.

use crate::fields::{Fields, Invalid};

/// Bytes of a header.
pub const HEADER_SIZE: usize = 72;

/// The largest buffer a session can have, packed or not (16 MiB; `EVENT_TRACE_PROPERTIES.BufferSize`).
pub const SIZE_MAX: u32 = 16 << 20;

/// The flag of a buffer whose events are packed (`ETW_BUFFER_FLAG_COMPRESSED`).
pub const COMPRESSED: u16 = 0x40;
/// The flag of a buffer whose processor has 16 bits (`ETW_BUFFER_FLAG_PROC_INDEX`).
pub const PROCESSOR_INDEX: u16 = 0x20;
/// The type of the buffer that holds the header of the file (`ETW_BUFFER_TYPE_HEADER`).
pub const TYPE_HEADER: u16 = 4;

/// The fields of a buffer's header that are of use; what the others claim is often not so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Bytes in the file, this header included: of a packed buffer those it has when packed.
    pub size: u32,
    /// Where its events ended when it was written (`SavedOffset`).
    pub saved_offset: u32,
    /// The processor that filled it.
    pub processor: u16,
    /// The session it is of.
    pub logger_id: u16,
    /// Where its events end, this header included, unpacked (`Offset`).
    pub offset: u32,
    /// See the constants of this module.
    pub flags: u16,
    /// See [`TYPE_HEADER`].
    pub r#type: u16,
}

impl Header {
    /// Reads a header. None of its claims is checked.
    ///
    /// # Errors
    /// When there are fewer than [`HEADER_SIZE`] bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut fields = Fields::new(bytes.get(..HEADER_SIZE).ok_or(Invalid)?);
        let size = fields.u32()?;
        let saved_offset = fields.u32()?;
        // The end that was reserved, the count of references, time, number and clock of the buffer.
        fields.bytes(32)?;
        let processor = fields.u16()?;
        let logger_id = fields.u16()?;
        let _state = fields.u32()?;
        let offset = fields.u32()?;
        let flags = fields.u16()?;
        let r#type = fields.u16()?;
        // Before Windows 8 the processor is a byte; the next one is the alignment of events.
        let [low, _alignment] = processor.to_le_bytes();
        let is_index = flags & PROCESSOR_INDEX != 0;
        Ok(Self {
            size,
            saved_offset,
            processor: if is_index { processor } else { u16::from(low) },
            logger_id,
            offset,
            flags,
            r#type,
        })
    }

    /// Whether its events are packed.
    pub const fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }

    /// Whether it has a size that a buffer can have.
    pub fn has_size(&self) -> bool {
        let least = u32::try_from(HEADER_SIZE).unwrap_or(u32::MAX);
        (least..=SIZE_MAX).contains(&self.size)
    }

    /// Bytes it has when it is unpacked, this header included.
    pub fn unpacked_size(&self) -> usize {
        let size = if self.is_compressed() {
            self.offset.min(SIZE_MAX)
        } else {
            self.size
        };
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    /// Where its events end in `unpacked_size` bytes: where either field says so that can be right, or
    /// with the bytes.
    pub fn end(&self, unpacked_size: usize) -> usize {
        let ends = [self.offset, self.saved_offset].map(usize::try_from);
        let mut ends = ends.into_iter().flatten();
        ends.find(|end| (HEADER_SIZE..=unpacked_size).contains(end))
            .unwrap_or(unpacked_size)
    }
}
