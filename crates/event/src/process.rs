//! Process start, exec and exit.

use crate::Flags;
use crate::wire::{Invalid, Reader, Writer, size_of_text};

/// A process was created. The header names the new process; its thread is the first one.
///
/// On Linux this is `fork`, `vfork` or `clone`: the child runs its parent's program until it execs,
/// so both texts are empty but for the snapshot, which sees the program that runs now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start<'a> {
    /// The process that will be told of the exit.
    pub parent_process_id: u32,
    /// The process that made the call; it differs from the parent under `CLONE_PARENT`.
    pub creator_process_id: u32,
    /// The thread that made the call.
    pub creator_thread_id: u32,
    /// The session (Linux: `setsid`; Windows: terminal services).
    pub session_id: u32,
    /// The effective user id (Linux); 0 on Windows, where the user has a SID.
    pub user_id: u32,
    /// When the parent started, on the sensor's clock; 0 where it is not known.
    pub parent_start_time: u64,
    /// When the creator started, on the sensor's clock; 0 where it is not known.
    pub creator_start_time: u64,
    /// The image path, as bytes of the system's own encoding; of a process with
    /// [`Flags::KERNEL_PROCESS`](crate::Flags::KERNEL_PROCESS), which has none, its name where the
    /// sensor has that.
    pub image: &'a [u8],
    /// The command line. On Linux the arguments, each ended by a NUL byte.
    pub command_line: &'a [u8],
}

impl<'a> Start<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 44;

    /// Bytes of the body.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::FIXED_SIZE
            .saturating_add(self.image.len())
            .saturating_add(self.command_line.len())
    }

    /// Writes the fixed fields, for texts of these sizes in the order of the fields.
    #[inline(always)]
    pub fn write_fixed(&self, writer: &mut Writer<'_>, [image, command_line]: [u32; 2]) {
        writer.u32(self.parent_process_id);
        writer.u32(self.creator_process_id);
        writer.u32(self.creator_thread_id);
        writer.u32(self.session_id);
        writer.u32(self.user_id);
        writer.u64(self.parent_start_time);
        writer.u64(self.creator_start_time);
        writer.u32(image);
        writer.u32(command_line);
    }

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        let sizes = [size_of_text(self.image), size_of_text(self.command_line)];
        self.write_fixed(writer, sizes);
        writer.bytes(self.image);
        writer.bytes(self.command_line);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let mut start = Self {
            parent_process_id: reader.u32()?,
            creator_process_id: reader.u32()?,
            creator_thread_id: reader.u32()?,
            session_id: reader.u32()?,
            user_id: reader.u32()?,
            parent_start_time: reader.u64()?,
            creator_start_time: reader.u64()?,
            image: &[],
            command_line: &[],
        };
        let (image_size, command_line_size) = (reader.u32()?, reader.u32()?);
        start.image = reader.bytes(image_size)?;
        start.command_line = reader.bytes(command_line_size)?;
        Ok(start)
    }
}

/// A process replaced its program (Linux `execve`). The header's thread is the one that called it;
/// it is the process's only thread now and has taken over the process id as its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exec<'a> {
    /// The effective user id after the exec, set-user-id honoured.
    pub user_id: u32,
    /// The session.
    pub session_id: u32,
    /// The image path as the kernel resolved it; for a script that of its interpreter.
    pub image: &'a [u8],
    /// The arguments, each ended by a NUL byte.
    pub command_line: &'a [u8],
    /// For a script: the script's path as the caller gave it; for one that was given by a descriptor
    /// `/dev/fd/N`, or `/dev/fd/N/` and a path below it. Empty otherwise.
    pub script: &'a [u8],
    /// For a script: where that path begins, encoded as the image is. The working directory, what the
    /// descriptor leads to, or the root of the process.
    pub directory: &'a [u8],
}

impl<'a> Exec<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 24;

    /// Bytes of the body.
    #[inline(always)]
    pub fn size(&self) -> usize {
        [self.image, self.command_line, self.script, self.directory]
            .into_iter()
            .fold(Self::FIXED_SIZE, |size, text| {
                size.saturating_add(text.len())
            })
    }

    /// Writes the fixed fields, for texts of these sizes in the order of the fields.
    #[inline(always)]
    pub fn write_fixed(&self, writer: &mut Writer<'_>, sizes: [u32; 4]) {
        let [image, command_line, script, directory] = sizes;
        writer.u32(self.user_id);
        writer.u32(self.session_id);
        writer.u32(image);
        writer.u32(command_line);
        writer.u32(script);
        writer.u32(directory);
    }

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        let texts = [self.image, self.command_line, self.script, self.directory];
        self.write_fixed(writer, texts.map(size_of_text));
        writer.bytes(self.image);
        writer.bytes(self.command_line);
        writer.bytes(self.script);
        writer.bytes(self.directory);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (user_id, session_id) = (reader.u32()?, reader.u32()?);
        let (image_size, command_line_size) = (reader.u32()?, reader.u32()?);
        let (script_size, directory_size) = (reader.u32()?, reader.u32()?);
        Ok(Self {
            user_id,
            session_id,
            image: reader.bytes(image_size)?,
            command_line: reader.bytes(command_line_size)?,
            script: reader.bytes(script_size)?,
            directory: reader.bytes(directory_size)?,
        })
    }
}

/// A process ended: the last of its threads exited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// As the kernel keeps it. Linux: the wait status, exit code in bits 8 to 15, signal in bits 0
    /// to 6, core dump in bit 7. Windows: the NTSTATUS.
    pub exit_status: u32,
    /// The parent at the time of the exit.
    pub parent_process_id: u32,
}

impl Exit {
    /// Bytes of the body.
    pub const SIZE: usize = 8;

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.exit_status);
        writer.u32(self.parent_process_id);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            exit_status: reader.u32()?,
            parent_process_id: reader.u32()?,
        })
    }
}

/// Who asked for what a process runs (Linux). It follows [`Start`] and [`Exec`] in the record as their
/// [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The real user id: who started a set-user-id program.
    pub real_user_id: u32,
    /// The audit login user id, which stays through `su` and `sudo`; [`Users::NOBODY`] where none was
    /// set.
    pub login_user_id: u32,
}

impl Users {
    /// Bytes of the extension.
    pub const SIZE: usize = 8;
    /// No user has this id (`INVALID_UID`).
    pub const NOBODY: u32 = u32::MAX;

    /// Writes the extension.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.real_user_id);
        writer.u32(self.login_user_id);
    }

    /// Reads the extension.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            real_user_id: reader.u32()?,
            login_user_id: reader.u32()?,
        })
    }
}

/// Where a process runs (Linux). It follows [`Users`] in the record, as a part of the same
/// [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The id of its control group in the unified hierarchy (version 2), which is the inode of the
    /// group's directory; 0 where not known.
    pub cgroup_id: u64,
}

impl Setting {
    /// Bytes of this part of the extension.
    pub const SIZE: usize = 8;

    /// Writes this part of the extension.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.cgroup_id);
    }

    /// Reads this part of the extension.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            cgroup_id: reader.u64()?,
        })
    }
}

/// What surrounds a process (Linux): where it works, what it was given, who can type to it. It follows
/// [`Setting`] in the record, as a part of the same [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context<'a> {
    /// How good the texts are: of the directory what a record's flags say of its image, of the
    /// environment what they say of its command line.
    pub flags: Flags,
    /// The device of its controlling terminal, as [`Place::device`](crate::Place) has one; 0 where it
    /// has none.
    pub terminal: u32,
    /// The working directory.
    pub directory: &'a [u8],
    /// Variables that were asked for, `NAME=value`, each ended by a NUL byte. There may be others with
    /// them, and the last one may be cut.
    pub environment: &'a [u8],
}

impl<'a> Context<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 16;

    /// Where no more than the terminal is told.
    pub const fn of_terminal(terminal: u32) -> Self {
        Self {
            flags: Flags::IMAGE_UNAVAILABLE.with(Flags::COMMAND_LINE_UNAVAILABLE),
            terminal,
            directory: &[],
            environment: &[],
        }
    }

    /// Bytes of this part of the extension.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::FIXED_SIZE
            .saturating_add(self.directory.len())
            .saturating_add(self.environment.len())
    }

    /// Writes the fixed fields, for texts of these sizes in the order of the fields.
    #[inline(always)]
    pub fn write_fixed(&self, writer: &mut Writer<'_>, [directory, environment]: [u32; 2]) {
        writer.u32(self.flags.0);
        writer.u32(self.terminal);
        writer.u32(directory);
        writer.u32(environment);
    }

    /// Writes this part of the extension.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        let sizes = [size_of_text(self.directory), size_of_text(self.environment)];
        self.write_fixed(writer, sizes);
        writer.bytes(self.directory);
        writer.bytes(self.environment);
    }

    /// Reads this part of the extension.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (flags, terminal) = (Flags(reader.u32()?), reader.u32()?);
        let (directory_size, environment_size) = (reader.u32()?, reader.u32()?);
        Ok(Self {
            flags,
            terminal,
            directory: reader.bytes(directory_size)?,
            environment: reader.bytes(environment_size)?,
        })
    }
}

/// The session of a process at its end (Linux). It follows [`Exit`] in the record as its
/// [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub session_id: u32,
}

impl Session {
    /// Bytes of the extension.
    pub const SIZE: usize = 4;

    /// Writes the extension.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.session_id);
    }

    /// Reads the extension.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            session_id: reader.u32()?,
        })
    }
}

/// What a process used by its end, all its threads together (Linux). It follows [`Session`] in the
/// record, as a part of the same [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of processor time in user mode, as ticks of the clock found it there.
    pub user_time: u64,
    /// The same in kernel mode.
    pub system_time: u64,
    /// Nanoseconds of processor time, counted whenever it gave up a processor.
    pub run_time: u64,
    /// The most bytes of it that were in memory at once.
    pub peak_memory: u64,
    /// Bytes that were read from storage for it.
    pub read_bytes: u64,
    /// Bytes that it had written to storage.
    pub written_bytes: u64,
}

impl Usage {
    /// Bytes of this part of the extension.
    pub const SIZE: usize = 48;
    /// A number that this kernel does not keep, or that could not be had whole.
    pub const UNKNOWN: u64 = u64::MAX;

    /// Writes this part of the extension.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.user_time);
        writer.u64(self.system_time);
        writer.u64(self.run_time);
        writer.u64(self.peak_memory);
        writer.u64(self.read_bytes);
        writer.u64(self.written_bytes);
    }

    /// Reads this part of the extension.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            user_time: reader.u64()?,
            system_time: reader.u64()?,
            run_time: reader.u64()?,
            peak_memory: reader.u64()?,
            read_bytes: reader.u64()?,
            written_bytes: reader.u64()?,
        })
    }
}

/// What Windows tells of a starting process beyond the rest: of its token, and of the process. It
/// follows [`Start`] in the record as its [`Extension`](crate::Extension).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token<'a> {
    /// The relative id of the integrity level: `0x2000` is medium, `0x3000` high.
    pub integrity_level: u32,
    /// Whether the token is elevated: 0 or 1.
    pub elevated: u32,
    /// The user's SID as Windows stores it; empty when it could not be read.
    pub user_sid: &'a [u8],
    /// Which of these could not be had.
    pub unavailable: Unavailable,
    /// The logon session, a LUID.
    pub logon_id: u64,
    /// `SUBSYSTEM_INFORMATION_TYPE`: 0 is Win32, 1 the Windows Subsystem for Linux, version 1;
    /// [`Token::OTHER_SUBSYSTEM`] another one.
    pub subsystem: u32,
    /// `PS_PROTECTION`: the type in bits 0 to 2, the signer in bits 4 to 7.
    pub protection: u32,
    /// What other drivers have made of the start by now, an NTSTATUS: negative when it is refused.
    pub creation_status: u32,
    /// The name with which the image was opened, where it is exact and [`Start::image`] another one.
    pub image_opened: &'a [u8],
}

/// Facts of a [`Token`] that could not be had. Bits that are unknown are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unavailable(pub u32);

impl Unavailable {
    /// The user.
    pub const USER: Self = Self(1);
    /// The integrity level.
    pub const INTEGRITY_LEVEL: Self = Self(1 << 1);
    /// Whether the token is elevated.
    pub const ELEVATED: Self = Self(1 << 2);
    /// The session of the [`Start`].
    pub const SESSION: Self = Self(1 << 3);
    /// The logon session.
    pub const LOGON: Self = Self(1 << 4);
    /// The protection of the process.
    pub const PROTECTION: Self = Self(1 << 5);
    /// The path of the image's file; the [`Start`] has the name with which it was opened.
    pub const IMAGE_PATH: Self = Self(1 << 6);

    /// Whether every fact of `other` could not be had.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` and the facts of `other`.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` and the facts of `other` where that `is_so`.
    #[inline]
    #[must_use]
    pub const fn with_if(self, is_so: bool, other: Self) -> Self {
        if is_so { self.with(other) } else { self }
    }
}

impl<'a> Token<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 40;
    /// A subsystem of which no more is known than that it is not Win32.
    pub const OTHER_SUBSYSTEM: u32 = u32::MAX;

    /// Bytes of the extension.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::FIXED_SIZE
            .saturating_add(self.user_sid.len())
            .saturating_add(self.image_opened.len())
    }

    /// Writes the extension.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u32(self.integrity_level);
        writer.u32(self.elevated);
        writer.u32(size_of_text(self.user_sid));
        writer.bytes(self.user_sid);
        writer.u32(self.unavailable.0);
        writer.u64(self.logon_id);
        writer.u32(self.subsystem);
        writer.u32(self.protection);
        writer.u32(self.creation_status);
        writer.u32(size_of_text(self.image_opened));
        writer.bytes(self.image_opened);
    }

    /// Reads the extension. A driver that is older than the fields behind the SID had all before
    /// them, or wrote no extension.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (integrity_level, elevated) = (reader.u32()?, reader.u32()?);
        let size = reader.u32()?;
        let mut token = Self {
            integrity_level,
            elevated,
            user_sid: reader.bytes(size)?,
            unavailable: Unavailable::LOGON
                .with(Unavailable::PROTECTION)
                .with(Unavailable::IMAGE_PATH),
            ..Self::default()
        };
        if reader.is_empty() {
            return Ok(token);
        }
        token.unavailable = Unavailable(reader.u32()?);
        token.logon_id = reader.u64()?;
        token.subsystem = reader.u32()?;
        token.protection = reader.u32()?;
        token.creation_status = reader.u32()?;
        let size = reader.u32()?;
        token.image_opened = reader.bytes(size)?;
        Ok(token)
    }
}
