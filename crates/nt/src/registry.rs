//! The driver's own key, that of its service: values below it, and volatile keys.

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
        let handle = open_below(path, name, sys::KEY_READ)?;
        Ok(handle.map(|handle| Self { handle }))
    }

    /// Opens the driver's own key, to read and to set values; `None` when there is no such key.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open_own(path: RegistryPath<'_>) -> Result<Option<Self>> {
        let access = sys::KEY_READ | sys::KEY_SET_VALUE;
        let handle = open(core::ptr::null_mut(), path.as_ptr(), access)?;
        Ok(handle.map(|handle| Self { handle }))
    }

    /// Sets the value `name`, a `REG_DWORD`.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, name: &[u16], value: u32) -> Result<()> {
        set(&self.handle, name, value)
    }

    /// Has what was set written to the disk, and waits for it.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the handle is open.
        Status(unsafe { sys::ZwFlushKey(self.handle.raw()) }).ok()
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

/// A key that is gone when the machine restarts, new and empty.
#[derive(Debug)]
pub struct VolatileKey {
    handle: Handle,
}

impl VolatileKey {
    /// Makes the subkey `name` of the driver's own key; `None` when there is no key of the driver's
    /// own, or one of that name already, which may be nobody's to write to and last.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create(path: RegistryPath<'_>, name: &[u16]) -> Result<Option<Self>> {
        let access = sys::KEY_CREATE_SUB_KEY;
        let Some(service) = open(core::ptr::null_mut(), path.as_ptr(), access)? else {
            return Ok(None);
        };
        let name = UnicodeString::new(name);
        let attributes = attributes(service.raw(), name.as_ptr());
        let (mut key, mut disposition) = (core::ptr::null_mut(), 0);
        // SAFETY: all pointers are good for the call, and a key needs no class.
        let status = unsafe {
            sys::ZwCreateKey(
                &raw mut key,
                sys::KEY_SET_VALUE,
                &raw const attributes,
                0,
                core::ptr::null(),
                sys::REG_OPTION_VOLATILE,
                &raw mut disposition,
            )
        };
        Status(status).ok()?;
        // SAFETY: the kernel has just opened it for this driver.
        let handle = unsafe { Handle::owned(key) };
        Ok((disposition == sys::REG_CREATED_NEW_KEY).then_some(Self { handle }))
    }

    /// Sets the value `name`, a `REG_DWORD`.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, name: &[u16], value: u32) -> Result<()> {
        set(&self.handle, name, value)
    }
}

fn set(key: &Handle, name: &[u16], value: u32) -> Result<()> {
    let name = UnicodeString::new(name);
    let data = value.to_le_bytes();
    // SAFETY: the handle is open, and there are four bytes of data.
    let status = unsafe {
        sys::ZwSetValueKey(
            key.raw(),
            name.as_ptr(),
            0,
            sys::REG_DWORD,
            data.as_ptr().cast(),
            4,
        )
    };
    Status(status).ok()
}

/// Removes the subkey `name` of the driver's own key, if there is one. One with keys of its own
/// stays.
///
/// IRQL: `PASSIVE_LEVEL`.
///
/// # Errors
/// What the kernel says.
pub fn remove(path: RegistryPath<'_>, name: &[u16]) -> Result<()> {
    let Some(key) = open_below(path, name, sys::DELETE)? else {
        return Ok(());
    };
    // SAFETY: the handle is open, and closed when `key` goes, as a key's that is deleted must be.
    Status(unsafe { sys::ZwDeleteKey(key.raw()) }).ok()
}

fn open_below(path: RegistryPath<'_>, name: &[u16], access: u32) -> Result<Option<Handle>> {
    let Some(service) = open(core::ptr::null_mut(), path.as_ptr(), sys::KEY_READ)? else {
        return Ok(None);
    };
    let name = UnicodeString::new(name);
    open(service.raw(), name.as_ptr(), access)
}

fn attributes(root: sys::HANDLE, name: *const sys::UNICODE_STRING) -> sys::OBJECT_ATTRIBUTES {
    sys::OBJECT_ATTRIBUTES {
        Length: 48,
        RootDirectory: root,
        ObjectName: name,
        Attributes: sys::OBJ_CASE_INSENSITIVE | sys::OBJ_KERNEL_HANDLE,
        SecurityDescriptor: core::ptr::null(),
        SecurityQualityOfService: core::ptr::null(),
    }
}

fn open(
    root: sys::HANDLE,
    name: *const sys::UNICODE_STRING,
    access: u32,
) -> Result<Option<Handle>> {
    let attributes = attributes(root, name);
    let mut key = core::ptr::null_mut();
    // SAFETY: all pointers are good for the call.
    let status = unsafe { sys::ZwOpenKey(&raw mut key, access, &raw const attributes) };
    match Status(status) {
        Status::OBJECT_NAME_NOT_FOUND => Ok(None),
        status => {
            status.ok()?;
            // SAFETY: the kernel has just opened it for this driver.
            Ok(Some(unsafe { Handle::owned(key) }))
        }
    }
}
