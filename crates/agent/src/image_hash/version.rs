//! What events tell of version resources.

use super::pe;
use crate::trail::schema::Field;
use crate::trail::{Body, ImageDetails, Name, Text};

/// The fields, in the order in which a [`pe::Version`] has them.
const FIELDS: [Field; 5] = [
    ImageDetails::original_file_name,
    ImageDetails::description,
    ImageDetails::product,
    ImageDetails::company,
    ImageDetails::file_version,
];

/// What a version resource says; nothing where a file has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    texts: [Option<Text>; FIELDS.len()],
    is_cut: [bool; FIELDS.len()],
}

impl Version {
    pub(super) fn of(found: Option<&pe::Version>) -> Self {
        let mut version = Self::default();
        let texts = found.iter().flat_map(|found| &found.texts);
        let slots = version.texts.iter_mut().zip(&mut version.is_cut);
        for ((slot, is_cut), text) in slots.zip(texts) {
            if let Some((text, was_cut)) = text {
                (*slot, *is_cut) = (Some(Text::from_utf_16(text)), *was_cut);
            }
        }
        version
    }

    /// Puts it into an event.
    pub(super) fn put(&self, body: &mut Body, truncated: &mut Vec<Name>) {
        /// The same fields of different structures.
        macro_rules! fill {
            ($file:expr) => {{
                let file = $file;
                [
                    file.original_file_name,
                    file.description,
                    file.product,
                    file.company,
                    file.file_version,
                ] = self.texts.clone();
            }};
        }
        if self.texts.iter().all(Option::is_none) {
            return;
        }
        match body {
            Body::ProcessStart(start) => fill!(&mut start.details.get_or_insert_default().file),
            Body::ImageLoad(load) => fill!(&mut load.details.get_or_insert_default().file),
            Body::ImageDetails(details) => fill!(details),
            _ => return,
        }
        let cut = FIELDS.iter().zip(self.is_cut).filter(|(_, is_cut)| *is_cut);
        truncated.extend(cut.map(|(field, _)| Name::from(field.name)));
    }
}

/// Says why there is none.
pub(super) fn lacks(missing: &mut Vec<(Name, Name)>, reason: &'static str) {
    missing.extend(FIELDS.map(|field| (field.name.into(), reason.into())));
}
