//! The paths of images, which are the same few thousand again and again: each is put into a text once.

use std::collections::HashMap;

use super::super::survey::Survey;
use crate::trail::Text;

/// Paths that are kept, and bytes of them; beyond that all are forgotten.
const COUNT_MAX: usize = 8 * 1024;
const SIZE_MAX: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Texts {
    by_path: HashMap<Box<[u8]>, Text, foldhash::fast::RandomState>,
    size: usize,
}

impl Texts {
    /// The text of a path in UTF-16; none for an empty one.
    pub(super) fn text(&mut self, path: &[u8], survey: &Survey) -> Option<Text> {
        if path.is_empty() {
            return None;
        }
        if let Some(text) = self.by_path.get(path) {
            return Some(text.clone());
        }
        let text = survey.text(path);
        let size = path.len() + text.size();
        if self.by_path.len() >= COUNT_MAX || self.size + size > SIZE_MAX {
            self.by_path.clear();
            self.size = 0;
        }
        self.size += size;
        self.by_path.insert(path.into(), text.clone());
        Some(text)
    }
}
