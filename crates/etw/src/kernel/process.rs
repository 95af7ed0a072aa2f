//! Process start, exit and rundown.

use super::Act;
use crate::fields::{Fields, Invalid, PointerSize, Sid};

/// The idle process, which is the kernel's own.
pub const IDLE: u32 = 0;

/// The kernel's other process.
const SYSTEM: u32 = 4;

/// What stands for a session where a process is in none.
const NO_SESSION: u32 = u32::MAX;

/// The kernel cuts command lines at so many units of UTF-16: one of these lengths is taken for a cut.
const COMMAND_LINE_CUTS: [usize; 2] = [512, 1024];

/// A process, as far as an event tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process<'a> {
    /// Its id.
    pub process_id: u32,
    /// Its parent's id; the kernel tells it also when that process is long gone.
    pub parent_process_id: Option<u32>,
    /// The session.
    pub session_id: Option<u32>,
    /// As it exited; means something only then.
    pub exit_status: Option<u32>,
    /// The user.
    pub user: Option<Sid<'a>>,
    /// The file's name, in the machine's code page; that of an exit, as the provider tells it, is cut.
    pub name: &'a [u8],
    /// The program's path, in UTF-16, where it is told.
    pub path: Option<&'a [u8]>,
    /// The command line, in UTF-16, where it is told.
    pub command_line: Option<&'a [u8]>,
    /// When it was created, as a `FILETIME`.
    pub created: Option<i64>,
    /// When it exited, as a `FILETIME`, of what ended before.
    pub exited: Option<i64>,
    /// The last part of its mandatory label.
    pub integrity_level: Option<u32>,
    /// Whether its token is elevated.
    pub elevated: Option<bool>,
}

impl<'a> Process<'a> {
    /// Whether it has no user mode: Idle and System, and those System made without a command line
    /// (Registry, Memory Compression).
    pub fn is_kernel(&self) -> bool {
        let is_of_system = self.parent_process_id == Some(SYSTEM);
        let has_no_command_line = self.command_line.is_some_and(<[u8]>::is_empty);
        matches!(self.process_id, IDLE | SYSTEM) || (is_of_system && has_no_command_line)
    }

    /// Whether the kernel most likely cut its command line.
    pub fn has_cut_command_line(&self) -> bool {
        let size = self.command_line.map_or(0, <[u8]>::len);
        COMMAND_LINE_CUTS.contains(&(size / 2))
    }

    /// The session it is in; `None` where it is in none, or that is not told.
    pub fn session(&self) -> Option<u32> {
        self.session_id.filter(|id| *id != NO_SESSION)
    }

    /// What the kernel's class tells (`Process_V0_TypeGroup1` to `Process_V4_TypeGroup1`).
    pub(super) fn read(
        version: u8,
        act: Act,
        pointer_size: PointerSize,
        fields: &mut Fields<'a>,
    ) -> Result<Self, Invalid> {
        let mut process = Self::default();
        if version == 0 {
            let [process_id, parent] =
                [fields.pointer(pointer_size)?, fields.pointer(pointer_size)?];
            process.process_id = id(process_id)?;
            process.parent_process_id = Some(id(parent)?);
        } else {
            // Up to version 1 the page directory, later an address that is used again; no identity.
            fields.pointer(pointer_size)?;
            process.process_id = fields.u32()?;
            process.parent_process_id = Some(fields.u32()?);
            process.session_id = Some(fields.u32()?);
            process.exit_status = Some(fields.u32()?);
        }
        if version >= 3 {
            let _page_directory = fields.pointer(pointer_size)?;
        }
        if version >= 4 {
            let _flags = fields.u32()?;
        }
        // Where there is no user four zeroes say so; but some write the two pointers of a `TOKEN_USER`
        // as zeroes and a SID behind them. Which it is shows in whether the rest fits.
        let begin = *fields;
        let rest = process.read_texts(version, act, UserForm::None, pointer_size, fields);
        if rest.is_ok() && fields.rest().is_empty() {
            return Ok(process);
        }
        let without = (process, *fields);
        *fields = begin;
        let form = UserForm::Token;
        if process
            .read_texts(version, act, form, pointer_size, fields)
            .is_ok()
        {
            return Ok(process);
        }
        rest?;
        *fields = without.1;
        Ok(without.0)
    }

    fn read_texts(
        &mut self,
        version: u8,
        act: Act,
        form: UserForm,
        pointer_size: PointerSize,
        fields: &mut Fields<'a>,
    ) -> Result<(), Invalid> {
        self.user = match form {
            UserForm::None if fields.u32()? == 0 => None,
            UserForm::None => return Err(Invalid),
            UserForm::Token => {
                // The address of the SID, and the attributes of a group; then the SID itself.
                fields.bytes(2 * pointer_size.bytes())?;
                Some(fields.sid()?)
            }
        };
        self.name = fields.narrow_text()?;
        if version >= 2 {
            self.command_line = Some(fields.wide_text()?);
        }
        if version >= 4 {
            let (_package, _application) = (fields.wide_text()?, fields.wide_text()?);
        }
        if act == Act::Defunct {
            // It was over long before, and has no command line any more.
            self.command_line = None;
            if version >= 5 {
                self.exited = Some(fields.i64()?);
            }
        }
        Ok(())
    }

    /// What the provider tells.
    pub(super) fn read_provider(
        version: u8,
        act: Act,
        fields: &mut Fields<'a>,
    ) -> Result<Self, Invalid> {
        if act == Act::Ended {
            return Self::read_provider_exit(version, fields);
        }
        let mut process = Self {
            process_id: fields.u32()?,
            ..Self::default()
        };
        // The rundown has a count of versions of its own, which began two later.
        let behind = if act == Act::ThereAtBegin { 2 } else { 0 };
        let version = version.saturating_add(behind);
        let is_numbered = version >= 3;
        if is_numbered {
            let _number = fields.u64()?;
        }
        process.created = Some(fields.i64()?);
        process.parent_process_id = Some(fields.u32()?);
        if is_numbered {
            let _parent_number = fields.u64()?;
        }
        process.session_id = Some(fields.u32()?);
        if version >= 1 {
            let _flags = fields.u32()?;
        }
        if is_numbered {
            let _elevation_type = fields.u32()?;
            process.elevated = Some(fields.u32()? != 0);
            process.integrity_level = fields.sid()?.last_part();
        }
        process.path = Some(fields.wide_text()?);
        if version >= 2 {
            let (_checksum, _stamp) = (fields.u32()?, fields.u32()?);
            let (_package, _application) = (fields.wide_text()?, fields.wide_text()?);
        }
        Ok(process)
    }

    fn read_provider_exit(version: u8, fields: &mut Fields<'a>) -> Result<Self, Invalid> {
        let process_id = fields.u32()?;
        if version >= 2 {
            let _number = fields.u64()?;
        }
        let created = fields.i64()?;
        let exited = fields.i64()?;
        let exit_status = fields.u32()?;
        // The elevation, handles, what it had committed; from version 1 on what it read and wrote.
        fields.bytes(4 + 4 + 8 + 8)?;
        if version >= 1 {
            fields.bytes(8 + 5 * 4)?;
        }
        Ok(Self {
            process_id,
            exit_status: Some(exit_status),
            created: Some(created),
            exited: Some(exited),
            name: fields.narrow_text()?,
            ..Self::default()
        })
    }
}

/// How the user of a process stands in an event.
#[derive(Clone, Copy)]
enum UserForm {
    None,
    Token,
}

/// An id that was told as a pointer.
fn id(number: u64) -> Result<u32, Invalid> {
    u32::try_from(number).map_err(|_too_large| Invalid)
}
