//! Which events to keep.

use event::Kind;

use crate::trail::{Program, Text};

/// The rules of a configuration. The default keeps everything.
#[derive(Clone, Debug, Default)]
pub struct Rules {}

/// What the rules say of a process's events, judged once for each program it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {}

impl Rules {
    /// Judges what a process runs.
    pub fn judge(&self, _program: &Program) -> Verdict {
        Verdict {}
    }

    /// Whether an image load of a process so judged is kept.
    pub fn keeps_image(&self, verdict: Verdict, _image: Option<&Text>) -> bool {
        verdict.keeps(Kind::IMAGE_LOAD)
    }
}

impl Verdict {
    /// Whether events of this kind are kept.
    pub fn keeps(self, _kind: Kind) -> bool {
        true
    }
}
