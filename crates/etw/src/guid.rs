//! GUIDs of those who tell events.

use std::fmt;

use crate::fields::Fields;

/// A GUID, as the sixteen bytes that stand in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The kernel's class of process events (`Process`).
    pub const PROCESS: Self = Self::new(0x3d6f_a8d0, 0xfe05, 0x11d0, 0x9dda_00c0_4fd7_ba7c);
    /// The kernel's class of thread events (`Thread`).
    pub const THREAD: Self = Self::new(0x3d6f_a8d1, 0xfe05, 0x11d0, 0x9dda_00c0_4fd7_ba7c);
    /// The kernel's class of image events (`Image`).
    pub const IMAGE: Self = Self::new(0x2cb1_5d1d, 0x5fc1, 0x11d2, 0xabe1_00a0_c911_f518);
    /// What is told of the trace itself (`EventTraceEvent`).
    pub const EVENT_TRACE: Self = Self::new(0x68fd_d900, 0x4a3e, 0x11d1, 0x84f4_0000_f804_64e3);
    /// What is told of losses while a session is followed (`RT_LostEvent`).
    pub const LOST_EVENT: Self = Self::new(0x6a39_9ae0, 0x4bc6, 0x4de9, 0x870b_3657_f894_7e7e);
    /// The machine's configuration (`SystemConfig`).
    pub const SYSTEM_CONFIG: Self = Self::new(0x0185_3a65, 0x418f, 0x4f36, 0xaefc_dc0f_1d2f_d235);
    /// What who merges traces adds of the machine: volumes, directories of the system.
    pub const MERGED: Self = Self::new(0x9b79_ee91, 0xb5fd, 0x41c0, 0xa243_4248_e266_e9d0);
    /// The provider Microsoft-Windows-Kernel-Process.
    pub const KERNEL_PROCESS: Self = Self::new(0x22fb_2cd6, 0x0e7b, 0x422b, 0xa0c7_2fad_1fd0_e716);

    /// The GUID of these parts, as it is written: the last holds the two groups at its end.
    pub const fn new(first: u32, second: u16, third: u16, last: u64) -> Self {
        let upper = (third as u64) << 48 | (second as u64) << 32 | first as u64;
        let number = (last.swap_bytes() as u128) << 64 | upper as u128;
        Self(number.to_le_bytes())
    }

    /// The parts of which [`new`](Self::new) makes it.
    pub fn parts(self) -> (u32, u16, u16, u64) {
        let mut fields = Fields::new(&self.0);
        let first = fields.u32().unwrap_or_default();
        let (second, third) = (
            fields.u16().unwrap_or_default(),
            fields.u16().unwrap_or_default(),
        );
        let last = fields.u64().unwrap_or_default();
        (first, second, third, last.swap_bytes())
    }
}

/// As it is written everywhere: `22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716`.
impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second, third, last) = self.parts();
        let (group, node) = (last >> 48, last & 0xffff_ffff_ffff);
        write!(
            formatter,
            "{first:08x}-{second:04x}-{third:04x}-{group:04x}-{node:012x}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_shown_as_it_is_written() {
        assert_eq!(
            Guid::KERNEL_PROCESS.to_string(),
            "22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716"
        );
        assert_eq!(
            Guid::IMAGE.to_string(),
            "2cb15d1d-5fc1-11d2-abe1-00a0c911f518"
        );
    }
}
