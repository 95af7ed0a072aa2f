//! Image load and unload.

use event::{Extension, Flags, Header, image};

use super::image_path::{self, ImagePath};
use super::parent::Notes;
use super::{Enriched, Enricher};
use crate::image_hash::FileKey;
use crate::trail::{self, Body, missing};
use crate::trust;

impl Enricher {
    /// The same, and events say which files their images are.
    #[must_use]
    pub const fn with_files(mut self, tells_files: bool) -> Self {
        self.tells_files = tells_files;
        self
    }

    /// Which file an image is, where that is asked for.
    pub(super) fn file(&self, image: &[u8], header: &Header) -> Option<FileKey> {
        self.tells_files
            .then(|| image_path::file(image, header.flags))
            .flatten()
    }

    pub(super) fn image_load(
        &mut self,
        header: &Header,
        load: &image::Load<'_>,
        extension: &Extension<'_>,
    ) -> Enriched {
        let signature = match extension {
            Extension::Signature(signature) => Some(signature),
            _ => None,
        };
        let ImagePath {
            text,
            scope,
            device,
            inode,
            mount_namespace,
        } = self.loaded_path(header, load);
        let image = text;
        let mut notes = Notes::default();
        if image.is_none() {
            notes.lacks("image", missing::GONE);
        }
        if header.flags.contains(Flags::IMAGE_TRUNCATED) {
            notes.truncated.push("image".into());
        }
        let process_image = if header.flags.contains(Flags::EXECUTING) {
            self.new_process_image(header, image.as_ref(), &mut notes)
        } else {
            self.process_image(header, &mut notes)
        };
        let body = Body::ImageLoad(trail::ImageLoad {
            image,
            image_deleted: header.flags.contains(Flags::IMAGE_DELETED),
            path_scope: scope,
            device,
            inode,
            mount_namespace,
            process_image,
            image_base: load.image_base,
            image_size: load.image_size,
            kernel_image: header.flags.contains(Flags::KERNEL_IMAGE),
            signature_level: signature.map(|signature| trust::signature_level(signature.level)),
            signature_type: signature.map(|signature| trust::signature_type(signature.kind)),
            existing: header.flags.contains(Flags::EXISTING),
            details: None,
        });
        // Not as an update of another: that is a copy more of all of it.
        let mut enriched = self.about(header, body, notes);
        enriched.file = self.file(load.image, header);
        enriched
    }

    pub(super) fn image_unload(&mut self, header: &Header, unload: &image::Unload<'_>) -> Enriched {
        let image = self.images.path(unload.image, header.flags).text;
        let mut notes = Notes::default();
        if image.is_none() {
            notes.lacks("image", missing::GONE);
        }
        let body = Body::ImageUnload(trail::ImageUnload {
            image,
            image_base: unload.image_base,
            image_size: unload.image_size,
            kernel_image: header.flags.contains(Flags::KERNEL_IMAGE),
        });
        self.about(header, body, notes)
    }

    /// The path of an image. A sensor that looks for it later may know the file alone; that of the
    /// process itself is known then, for its exec told the path.
    fn loaded_path(&mut self, header: &Header, load: &image::Load<'_>) -> ImagePath {
        let path = self.images.path(load.image, header.flags);
        if path.text.is_some() {
            return path;
        }
        let process = self.processes.get(header.process_id, header.start_time);
        let own = process.and_then(|process| process.program.path_of(&path));
        own.unwrap_or(path)
    }
}
