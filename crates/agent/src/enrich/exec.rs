//! What a process tried to run and could not.

use std::borrow::Cow;

use event::{Flags, Header, exec};

use super::parent::Notes;
use super::{Enriched, Enricher};
use crate::trail::{self, Body, missing};

/// The errors of `execve(2)` by their numbers (`errno-base.h`, `errno.h`), which are the same on every
/// machine but for MIPS, SPARC, Alpha and PA-RISC.
const ERRORS: [(u32, &str); 25] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (26, "ETXTBSY"),
    (36, "ENAMETOOLONG"),
    (40, "ELOOP"),
    (80, "ELIBBAD"),
    (116, "ESTALE"),
    (129, "EKEYREJECTED"),
];

impl Enricher {
    pub(super) fn exec_failed(&self, header: &Header, failed: &exec::Failed<'_>) -> Enriched {
        let mut notes = Notes::default();
        let is_there = !header.flags.contains(Flags::IMAGE_UNAVAILABLE);
        if !is_there {
            notes.lacks("path", missing::GONE);
        }
        if header.flags.contains(Flags::IMAGE_TRUNCATED) {
            notes.truncated.push("path".into());
        }
        let body = Body::ExecFailed(trail::ExecFailed {
            path: is_there.then(|| trail::Text::from_bytes(failed.path)),
            error: name_of(failed.error),
            process_image: self.process_image(header, &mut notes),
        });
        self.about(header, body, notes)
    }
}

fn name_of(error: u32) -> Cow<'static, str> {
    let known = ERRORS.iter().find(|(number, _)| *number == error);
    known.map_or_else(|| error.to_string().into(), |(_, name)| (*name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    use event::{Event, Extension, Record};

    use crate::enrich::Limits;
    use crate::rules::Rules;

    fn enriched(flags: Flags, error: u32, path: &[u8]) -> (trail::ExecFailed, Enriched) {
        let mut enricher = Enricher::new([0; 16], Rules::default(), Limits::default());
        let header = Header {
            kind: event::Kind::EXEC_FAILED,
            flags,
            // Nobody has this id.
            process_id: u32::MAX,
            time: 1,
            ..Header::default()
        };
        let told = enricher.enrich(&Record {
            header,
            event: Event::ExecFailed(exec::Failed { error, path }),
            extension: Extension::None,
        });
        let told = told.unwrap();
        let Body::ExecFailed(failed) = &told.body else {
            panic!("{:?}", told.body);
        };
        (failed.clone(), told)
    }

    #[test]
    fn an_error_has_its_name_or_its_number() {
        let (failed, _) = enriched(Flags::NONE, 2, b"./nothing");
        assert_eq!(failed.error, "ENOENT");
        assert_eq!(failed.path.unwrap().shown(), "./nothing");
        assert_eq!(enriched(Flags::NONE, 4000, b"x").0.error, "4000");
    }

    #[test]
    fn a_path_that_could_not_be_read_is_gone_and_no_empty_text() {
        let (failed, enriched) = enriched(Flags::IMAGE_UNAVAILABLE, 14, b"");
        assert_eq!(failed.path, None);
        assert!(enriched.missing.contains(&("path".into(), "gone".into())));
        // A program can ask for the empty path, which is another thing.
        assert!(self::enriched(Flags::NONE, 2, b"").0.path.is_some());
    }

    #[test]
    fn a_path_that_was_cut_is_said_to_be() {
        let (_, enriched) = enriched(Flags::IMAGE_TRUNCATED, 36, &[b'a'; 4096]);
        assert_eq!(enriched.truncated, ["path"]);
    }
}
