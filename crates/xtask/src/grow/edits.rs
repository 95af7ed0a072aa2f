//! What a developer writes for a new field and for a new kind, as edits of the files at hand.
//!
//! Only product files count and stand here: tests, documents and what is generated are not what a
//! field or a kind should be cheap in.

/// Text that is put behind a place in a file.
pub(super) struct Edit {
    /// From the root, with `/`.
    pub(super) file: &'static str,
    /// What stands before the place; it is in the file exactly once.
    pub(super) anchor: &'static str,
    /// What comes there.
    pub(super) text: &'static str,
}

/// Something that is added, and what it may cost.
pub(super) struct Growth {
    /// What it is.
    pub(super) name: &'static str,
    /// The product files it may touch.
    pub(super) files_max: usize,
    pub(super) edits: &'static [Edit],
}

const fn edit(file: &'static str, anchor: &'static str, text: &'static str) -> Edit {
    Edit { file, anchor, text }
}

/// A field of a kind that there is.
pub(super) const FIELD: Growth = Growth {
    name: "field",
    files_max: 6,
    edits: &[
        edit(
            "crates/trail/src/process.rs",
            "        session_id: Option<u32> => Number in Row since 1, ocsf \"process.session.uid\";\n",
            "        /// what a check of this repository makes up
        grown_colour: Option<Text> => MaybeSystemText in Row since 2;\n",
        ),
        edit(
            "crates/agent/src/enrich.rs",
            "            session_id: has_session.then_some(start.session_id),\n",
            "            grown_colour: Some(trail::Text::from(\"green\")),\n",
        ),
    ],
};

/// A kind of a subject that there is, from the record to the person who reads it. The sensor that
/// writes the record is not part of it: what it costs is up to the system.
pub(super) const KIND: Growth = Growth {
    name: "kind",
    files_max: 12,
    edits: &[
        // The record.
        edit(
            "crates/event/src/kind.rs",
            "        IMAGE_LOAD = 32, \"image_load\", Image;\n",
            "        /// An image grew.
        IMAGE_GROW = 34, \"image_grow\", Image;\n",
        ),
        edit(
            "crates/event/src/image.rs",
            "use crate::wire::{Invalid, Reader, Writer, size_of_text};\n",
            "
/// A mapping grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grow<'a> {
    /// By so many bytes.
    pub grown_size: u64,
    /// How it is called.
    pub grown_name: &'a [u8],
}

impl<'a> Grow<'a> {
    /// Bytes of the fixed fields.
    pub const FIXED_SIZE: usize = 12;

    /// Bytes of the body.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::FIXED_SIZE.saturating_add(self.grown_name.len())
    }

    /// Writes the body.
    #[inline(always)]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.grown_size);
        writer.u32(size_of_text(self.grown_name));
        writer.bytes(self.grown_name);
    }

    /// Reads the body.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let grown_size = reader.u64()?;
        let size = reader.u32()?;
        Ok(Self {
            grown_size,
            grown_name: reader.bytes(size)?,
        })
    }
}\n",
        ),
        edit(
            "crates/event/src/lib.rs",
            "    ImageLoad(image::Load<'a>),\n",
            "    /// A mapping grew.
    ImageGrow(image::Grow<'a>),\n",
        ),
        edit(
            "crates/event/src/lib.rs",
            "        Kind::IMAGE_LOAD => Event::ImageLoad(image::Load::read(&mut reader)?),\n",
            "        Kind::IMAGE_GROW => Event::ImageGrow(image::Grow::read(&mut reader)?),\n",
        ),
        edit(
            "crates/event/src/lib.rs",
            "        Event::ImageLoad(load) => (Kind::IMAGE_LOAD, load.size()),\n",
            "        Event::ImageGrow(grow) => (Kind::IMAGE_GROW, grow.size()),\n",
        ),
        edit(
            "crates/event/src/lib.rs",
            "        Event::ImageLoad(load) => load.write(&mut writer),\n",
            "        Event::ImageGrow(grow) => grow.write(&mut writer),\n",
        ),
        // The event.
        edit(
            "crates/trail/src/image.rs",
            "use crate::schema::fields;\n",
            "
fields! {
    /// A mapping grew.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ImageGrow {
        /// by so many bytes
        grown_size: u64 => Number in Row since 2;
        /// how it is called
        grown_name: Option<Text> => SystemText in Shared since 2;
    }
}\n",
        ),
        edit(
            "crates/trail/src/lib.rs",
            "pub use image::{ImageDetails, ImageLoad, ImageUnload};\n",
            "pub use image::ImageGrow;\n",
        ),
        edit(
            "crates/trail/src/body.rs",
            "use crate::visit::{Form as _, MaybeGroup, Source, Visitor};\n",
            "use crate::ImageGrow;\n",
        ),
        edit(
            "crates/trail/src/body.rs",
            "    IMAGE_LOAD => ImageLoad(ImageLoad);\n",
            "    IMAGE_GROW => ImageGrow(ImageGrow);\n",
        ),
        // From the one to the other.
        edit(
            "crates/agent/src/enrich.rs",
            "            Event::ImageLoad(load) => self.image_load(header, load, extension),\n",
            "            Event::ImageGrow(grow) => {
                let body = Body::ImageGrow(trail::ImageGrow {
                    grown_size: grow.grown_size,
                    grown_name: Some(trail::Text::from_bytes(grow.grown_name)),
                });
                self.about(header, body, Notes::default())
            }\n",
        ),
        // How people are told.
        edit(
            "crates/agent/src/sink/terminal.rs",
            "        Body::ImageLoad(load) => image_load(row, load),\n",
            "        Body::ImageGrow(grow) => row.text(&format!(\"grew by {}\", grow.grown_size)),\n",
        ),
    ],
};
