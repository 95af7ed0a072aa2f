//! What one system knows of an event beyond the fields that all have.
//!
//! An extension stands right after the body and is there when [`Flags::EXTENDED`] is set. A reader
//! that does not know it ignores it, as it ignores all bytes after a body. The bodies of kinds that
//! can be extended therefore never grow; their extensions do.

use crate::wire::{Invalid, Reader, Writer};
use crate::{Event, Flags, Header, Kind, image, kind_and_size, process};

/// The bytes after a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extension<'a> {
    /// There are none, or none this reader knows.
    #[default]
    None,
    /// After a process start or exec on Linux.
    Users(process::Users),
    /// The same with where the process runs.
    Origin(process::Users, process::Setting),
    /// The same with what surrounds the process.
    Context(process::Users, process::Setting, process::Context<'a>),
    /// After a process exit on Linux.
    Session(process::Session),
    /// The same with what the process used.
    Ending(process::Session, process::Usage),
    /// After a process start on Windows.
    Token(process::Token<'a>),
    /// After an image load.
    Signature(image::Signature),
}

const ORIGIN_SIZE: usize = process::Users::SIZE.wrapping_add(process::Setting::SIZE);

impl<'a> Extension<'a> {
    /// Who asked for what a process runs on Linux, where it is told.
    pub const fn users(&self) -> Option<&process::Users> {
        match self {
            Self::Users(users) | Self::Origin(users, _) | Self::Context(users, ..) => Some(users),
            _ => None,
        }
    }

    /// Where a process runs on Linux, where it is told.
    pub const fn setting(&self) -> Option<&process::Setting> {
        match self {
            Self::Origin(_, setting) | Self::Context(_, setting, _) => Some(setting),
            _ => None,
        }
    }

    /// What surrounds a process on Linux, where it is told.
    pub const fn context(&self) -> Option<&process::Context<'a>> {
        match self {
            Self::Context(.., context) => Some(context),
            _ => None,
        }
    }

    /// Bytes of the extension.
    #[inline(always)]
    pub fn size(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Users(_) => process::Users::SIZE,
            Self::Origin(..) => ORIGIN_SIZE,
            Self::Context(.., context) => ORIGIN_SIZE.saturating_add(context.size()),
            Self::Session(_) => process::Session::SIZE,
            Self::Ending(..) => process::Session::SIZE.wrapping_add(process::Usage::SIZE),
            Self::Token(token) => token.size(),
            Self::Signature(_) => image::Signature::SIZE,
        }
    }

    #[inline(always)]
    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::None => {}
            Self::Users(users) => users.write(writer),
            Self::Origin(users, setting) => {
                users.write(writer);
                setting.write(writer);
            }
            Self::Context(users, setting, context) => {
                users.write(writer);
                setting.write(writer);
                context.write(writer);
            }
            Self::Session(session) => session.write(writer),
            Self::Ending(session, usage) => {
                session.write(writer);
                usage.write(writer);
            }
            Self::Token(token) => token.write(writer),
            Self::Signature(signature) => signature.write(writer),
        }
    }
}

/// Bytes of the record of `event` with `extension`, header included; `None` for
/// [`Event::Unknown`].
#[inline(always)]
pub fn size_extended(event: &Event<'_>, extension: &Extension<'_>) -> Option<usize> {
    let (_kind, size) = kind_and_size(event)?;
    size.checked_add(extension.size())
}

/// Writes one record with its extension and returns its bytes, or `None` when it does not fit
/// `buffer`. Size, kind and [`Flags::EXTENDED`] are filled in.
#[inline(always)]
pub fn write_extended<'b>(
    header: Header,
    event: &Event<'_>,
    extension: &Extension<'_>,
    buffer: &'b mut [u8],
) -> Option<&'b [u8]> {
    let (kind, plain_size) = kind_and_size(event)?;
    if *extension == Extension::None {
        return crate::write(header, event, buffer);
    }
    let size = size_extended(event, extension)?;
    let record = buffer.get_mut(..size)?;
    let (plain, rest) = record.split_at_mut_checked(plain_size)?;
    crate::write(header, event, plain)?;
    let mut writer = Writer::new(rest);
    extension.write(&mut writer);
    writer.finish()?;
    // Once more, over the header of the record without extension.
    let header = Header {
        size: u32::try_from(size).ok()?,
        kind,
        flags: header.flags.with(Flags::EXTENDED),
        ..header
    };
    header.write(&mut Writer::new(plain));
    Some(record)
}

/// Reads the extension that follows the body of `header`'s record.
pub(crate) fn read<'a>(header: &Header, reader: &mut Reader<'a>) -> Result<Extension<'a>, Invalid> {
    if !header.flags.contains(Flags::EXTENDED) {
        return Ok(Extension::None);
    }
    match header.kind {
        // Of the two systems one has texts in UTF-16.
        Kind::PROCESS_START if header.flags.contains(Flags::UTF_16) => {
            process::Token::read(reader).map(Extension::Token)
        }
        Kind::PROCESS_START | Kind::PROCESS_EXEC => {
            let users = process::Users::read(reader)?;
            // Older sensors tell no more, and neither do those that cannot.
            if reader.is_empty() {
                return Ok(Extension::Users(users));
            }
            let setting = process::Setting::read(reader)?;
            if reader.is_empty() {
                return Ok(Extension::Origin(users, setting));
            }
            let context = process::Context::read(reader)?;
            Ok(Extension::Context(users, setting, context))
        }
        Kind::PROCESS_EXIT => {
            let session = process::Session::read(reader)?;
            // Older sensors tell no more, and neither do those that cannot.
            if reader.is_empty() {
                return Ok(Extension::Session(session));
            }
            let usage = process::Usage::read(reader)?;
            Ok(Extension::Ending(session, usage))
        }
        Kind::IMAGE_LOAD => image::Signature::read(reader).map(Extension::Signature),
        _ => Ok(Extension::None),
    }
}
