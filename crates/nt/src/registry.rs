//! Values of the `Parameters` key of the driver's service.

#![expect(unsafe_code, reason = "calls the kernel")]

use crate::driver::RegistryPath;
use crate::handle::Handle;
use crate::string::UnicodeString;
use crate::{Result, Status, sys};

/// An open registry key.
#[derive(Debug)]
pub struct Key {
    handle: Handle,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `REG_DWORD`
    Dword(u32),
    /// Any other type, or a `REG_DWORD` that does not have four bytes.
    Other,
}

impl Key {
    /// Opens the subkey `name` of the driver's own key; `None` when there is no such key.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(path: RegistryPath<'_>, name: &[u16]) -> Result<Option<Self>> {
        let Some(service) = open(core::ptr::null_mut(), path.as_ptr())? else {
            return Ok(None);
        };
        let name = UnicodeString::new(name);
        let handle = open(service.raw(), name.as_ptr())?;
        Ok(handle.map(|handle| Self { handle }))
    }

    /// The value `name`; `None` when there is no such value.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn value(&self, name: &[u16]) -> Result<Option<Value>> {
        let name = UnicodeString::new(name);
        let mut information = sys::KEY_VALUE_PARTIAL_INFORMATION {
            TitleIndex: 0,
            Type: 0,
            DataLength: 0,
            Data: [0; 4],
        };
        let mut needed = 0;
        // SAFETY: the handle is open, and the buffer as large as is said.
        let status = unsafe {
            sys::ZwQueryValueKey(
                self.handle.raw(),
                name.as_ptr(),
                sys::KEY_VALUE_PARTIAL_INFORMATION_CLASS,
                (&raw mut information).cast(),
                16,
                &raw mut needed,
            )
        };
        match Status(status) {
            Status::OBJECT_NAME_NOT_FOUND => Ok(None),
            Status::BUFFER_OVERFLOW => Ok(Some(Value::Other)),
            status => {
                status.ok()?;
                let is_dword = information.Type == sys::REG_DWORD && information.DataLength == 4;
                Ok(Some(if is_dword {
                    Value::Dword(u32::from_le_bytes(information.Data))
                } else {
                    Value::Other
                }))
            }
        }
    }
}

fn open(root: sys::HANDLE, name: *const sys::UNICODE_STRING) -> Result<Option<Handle>> {
    let attributes = sys::OBJECT_ATTRIBUTES {
        Length: 48,
        RootDirectory: root,
        ObjectName: name,
        Attributes: sys::OBJ_CASE_INSENSITIVE | sys::OBJ_KERNEL_HANDLE,
        SecurityDescriptor: core::ptr::null(),
        SecurityQualityOfService: core::ptr::null(),
    };
    let mut key = core::ptr::null_mut();
    // SAFETY: all pointers are good for the call.
    let status = unsafe { sys::ZwOpenKey(&raw mut key, sys::KEY_READ, &raw const attributes) };
    match Status(status) {
        Status::OBJECT_NAME_NOT_FOUND => Ok(None),
        status => {
            status.ok()?;
            // SAFETY: the kernel has just opened it for this driver.
            Ok(Some(unsafe { Handle::owned(key) }))
        }
    }
}
