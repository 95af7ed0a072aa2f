//! Open files of the driver's device, and what is asked of them.

#![expect(unsafe_code, reason = "file objects are the kernel's to free")]

use crate::device::{self, Caller, Opened};
use crate::irp::{Packet, Parameters};
use nt::sys::{FILE_OBJECT, UNICODE_STRING};

/// An open file of the driver's device. Dropping it closes its only handle.
#[derive(Debug)]
pub struct File {
    device: Opened,
    object: *mut FILE_OBJECT,
    is_cleaned_up: bool,
}

// SAFETY: file objects are used on any processor.
unsafe impl Send for File {}
// SAFETY: as above; the object itself is never looked into.
unsafe impl Sync for File {}

impl File {
    /// The status of the create is the error.
    pub(crate) fn open(
        device: Opened,
        below: &str,
        caller: Caller,
        access: u32,
    ) -> Result<Self, i32> {
        let mut name: Vec<u16> = below.encode_utf16().collect();
        let size = u16::try_from(size_of_val(name.as_slice())).unwrap_or(0);
        let object = Box::into_raw(Box::new(file_object(UNICODE_STRING {
            Length: size,
            MaximumLength: size,
            Buffer: name.as_mut_ptr(),
        })));
        let packet = Packet::new(device, object, 0x00, Parameters::Create { access });
        let status = device::run_for(caller, || packet.dispatch(device, 0x00));
        if status < 0 {
            // SAFETY: made from a box above; a file that was refused gets no more requests.
            drop(unsafe { Box::from_raw(object) });
            return Err(status);
        }
        Ok(Self {
            device,
            object,
            is_cleaned_up: false,
        })
    }

    /// Reads up to `size` bytes, now or later.
    pub fn read(&self, size: usize) -> Request {
        let packet = Packet::new(self.device, self.object, 0x03, Parameters::Read { size });
        let _status = packet.dispatch(self.device, 0x03);
        Request {
            packet,
            device: self.device,
        }
    }

    /// Makes a control request.
    ///
    /// # Errors
    /// The status.
    pub fn control(&self, code: u32, input: &[u8], output_size: usize) -> Result<Vec<u8>, i32> {
        let parameters = Parameters::Control {
            code,
            input: input.to_vec(),
            output_size,
        };
        let packet = Packet::new(self.device, self.object, 0x0e, parameters);
        let status = packet.dispatch(self.device, 0x0e);
        if status < 0 {
            return Err(status);
        }
        let size = packet.outcome().map_or(0, |(_status, size)| size);
        Ok(packet.bytes(size))
    }

    /// Makes a request of a kind that the driver may not serve.
    ///
    /// # Errors
    /// The status.
    pub fn request(&self, major: u8) -> Result<(), i32> {
        let packet = Packet::new(self.device, self.object, major, Parameters::None);
        match packet.dispatch(self.device, major) {
            status if status < 0 => Err(status),
            _ => Ok(()),
        }
    }

    /// What the kernel does when the last handle is closed while requests may pend.
    pub fn clean_up(&mut self) {
        let packet = Packet::new(self.device, self.object, 0x12, Parameters::None);
        packet.dispatch(self.device, 0x12);
        self.is_cleaned_up = true;
    }

    /// Forgets the file without a request, for a driver that is unloaded under it.
    pub fn abandon(self) {
        // SAFETY: made from a box in `open`; nobody uses it any more.
        drop(unsafe { Box::from_raw(self.object) });
        std::mem::forget(self);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.is_cleaned_up {
            self.clean_up();
        }
        let packet = Packet::new(self.device, self.object, 0x02, Parameters::None);
        packet.dispatch(self.device, 0x02);
        // SAFETY: made from a box in `open`; the driver has seen the close.
        drop(unsafe { Box::from_raw(self.object) });
    }
}

/// A file object, with the part of its name that stands behind the device's.
fn file_object(name: UNICODE_STRING) -> FILE_OBJECT {
    let nothing = std::ptr::null_mut();
    FILE_OBJECT {
        Type: 5,
        Size: 216,
        DeviceObject: std::ptr::null_mut(),
        Vpb: nothing,
        FsContext: nothing,
        FsContext2: nothing,
        SectionObjectPointer: nothing,
        PrivateCacheMap: nothing,
        FinalStatus: 0,
        RelatedFileObject: std::ptr::null_mut(),
        LockOperation: 0,
        DeletePending: 0,
        ReadAccess: 0,
        WriteAccess: 0,
        DeleteAccess: 0,
        SharedRead: 0,
        SharedWrite: 0,
        SharedDelete: 0,
        Flags: 0,
        FileName: name,
    }
}

/// A read that may be pended. Dropping one that is not completed is a breach.
#[derive(Debug)]
pub struct Request {
    packet: Packet,
    device: Opened,
}

impl Request {
    /// The status and the bytes, once the read is completed.
    pub fn outcome(&self) -> Option<(i32, Vec<u8>)> {
        let (status, size) = self.packet.outcome()?;
        Some((status, self.packet.bytes(size)))
    }

    /// Whether the read is not completed yet.
    pub fn is_pending(&self) -> bool {
        self.packet.outcome().is_none()
    }

    /// Cancels the read.
    pub fn cancel(&self) {
        self.packet.cancel(self.device);
    }
}
