//! What Windows' token says of a process that starts.

use event::process::{Token, Unavailable};
use event::{Extension, Flags, Header};

use super::image_path::ImagePaths;
use crate::trail::{Name, StartDetails, Text, missing};
use crate::trust;

/// The fields that the token of a start fills, and the fact of each.
const FIELDS: [(&str, Unavailable); 4] = [
    ("integrity_level", Unavailable::INTEGRITY_LEVEL),
    ("elevated", Unavailable::ELEVATED),
    ("logon_id", Unavailable::LOGON),
    ("protection_level", Unavailable::PROTECTION),
];

/// The token of a start that was seen. That of a process that was there before is asked for its user
/// alone.
pub(super) fn of_start<'t>(header: &Header, extension: &'t Extension<'t>) -> Option<&'t Token<'t>> {
    match extension {
        Extension::Token(token) if !header.flags.contains(Flags::EXISTING) => Some(token),
        _ => None,
    }
}

/// Whether the session of a start is told, as far as the token says.
pub(super) const fn has_session(extension: &Extension<'_>) -> bool {
    match extension {
        Extension::Token(token) => !token.unavailable.contains(Unavailable::SESSION),
        _ => true,
    }
}

/// A fact of the token, where it could be had.
pub(super) fn fact<T>(token: Option<&Token<'_>>, fact: Unavailable, value: T) -> Option<T> {
    token
        .filter(|token| !token.unavailable.contains(fact))
        .map(|_token| value)
}

/// The details of a start that Windows' driver knows.
pub(super) fn details(
    header: &Header,
    token: Option<&Token<'_>>,
    image: Option<&Text>,
    paths: &mut ImagePaths,
) -> Option<Box<StartDetails>> {
    let token = token?;
    let details = StartDetails {
        logon_id: fact(Some(token), Unavailable::LOGON, token.logon_id),
        image_opened: image_opened(header, token, image, paths),
        subsystem: trust::subsystem(token.subsystem),
        protection_level: fact(Some(token), Unavailable::PROTECTION, token.protection)
            .and_then(trust::protection),
        // An NTSTATUS that is an error or a warning is negative.
        creation_status: Some(token.creation_status).filter(|status| status.cast_signed() < 0),
        ..StartDetails::default()
    };
    (details != StartDetails::default()).then(|| Box::new(details))
}

/// What was typed, where that is another path than the file's. Where the file's could not be had,
/// `image` is what was typed, and this says so.
fn image_opened(
    header: &Header,
    token: &Token<'_>,
    image: Option<&Text>,
    paths: &mut ImagePaths,
) -> Option<Text> {
    if token.unavailable.contains(Unavailable::IMAGE_PATH) {
        return image.cloned();
    }
    if token.image_opened.is_empty() {
        return None;
    }
    let is_cut = header.flags.contains(Flags::IMAGE_OPENED_TRUNCATED);
    let flags = if is_cut {
        Flags::UTF_16.with(Flags::IMAGE_TRUNCATED)
    } else {
        Flags::UTF_16
    };
    let opened = paths.path(token.image_opened, flags).text?;
    // File systems here do not tell letters by their case.
    let is_same = image.is_some_and(|image| {
        image.shown() == opened.shown()
            || image.shown().to_lowercase() == opened.shown().to_lowercase()
    });
    (is_cut || !is_same).then_some(opened)
}

/// What of the token could not be had, with the reason, on a system that has tokens.
pub(super) fn missing(header: &Header, token: Option<&Token<'_>>) -> Vec<(Name, Name)> {
    let fields = FIELDS.iter().filter(|(_field, fact)| {
        header.flags.contains(Flags::UTF_16)
            && token.is_none_or(|token| token.unavailable.contains(*fact))
    });
    fields
        .map(|(field, _fact)| ((*field).into(), missing::UNAVAILABLE.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use event::{Event, Record, process};

    use super::*;
    use crate::enrich::{Enricher, Limits};
    use crate::rules::Rules;
    use crate::trail::{Body, ProcessStart};

    /// What becomes of a start on Windows with this token, and the names of what it lacks.
    fn start(flags: Flags, token: Token<'_>) -> (ProcessStart, Vec<String>) {
        let start = process::Start {
            session_id: 3,
            image: b"a\0",
            ..process::Start::default()
        };
        let header = Header {
            process_id: 10,
            time: 1_000,
            start_time: 900,
            flags: flags.with(Flags::UTF_16),
            ..Header::default()
        };
        let record = Record {
            header,
            event: Event::ProcessStart(start),
            extension: Extension::Token(token),
        };
        let mut enricher = Enricher::new([0; 16], Rules::default(), Limits::default());
        let told = enricher.enrich(&record).unwrap();
        let missing = told.missing.iter();
        let missing = missing.map(|(field, _reason)| field.to_string()).collect();
        match told.body {
            Body::ProcessStart(start) => (*start, missing),
            body => panic!("{body:?}"),
        }
    }

    fn token(unavailable: Unavailable) -> Token<'static> {
        Token {
            integrity_level: 0x3000,
            elevated: 1,
            user_sid: &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
            unavailable,
            logon_id: 0x3e7,
            protection: 0x31,
            ..Token::default()
        }
    }

    /// One fact that was refused cost the user and the session as well.
    #[test]
    fn each_fact_of_a_token_is_told_or_missing_for_itself() {
        let cases = [
            (Unavailable::INTEGRITY_LEVEL, "integrity_level"),
            (Unavailable::ELEVATED, "elevated"),
            (Unavailable::SESSION, "session_id"),
            (Unavailable::LOGON, "logon_id"),
            (Unavailable::PROTECTION, "protection_level"),
            (Unavailable::default(), ""),
        ];
        for (unavailable, lacking) in cases {
            let (start, missing) = start(Flags::NONE, token(unavailable));
            let details = start.details.unwrap();
            let has = [
                ("integrity_level", start.integrity_level.is_some()),
                ("elevated", start.elevated == Some(true)),
                ("session_id", start.session_id == Some(3)),
                ("logon_id", details.logon_id == Some(0x3e7)),
                (
                    "protection_level",
                    details.protection_level.as_deref() == Some("light_antimalware"),
                ),
            ];
            for (field, has) in has {
                assert_eq!(has, field != lacking, "{field} without {lacking}");
                assert_eq!(
                    missing.iter().any(|name| name == field),
                    !has,
                    "{missing:?}"
                );
            }
            assert!(start.program.user_id.is_some());
        }
    }

    #[test]
    fn a_process_that_was_there_lacks_what_only_its_start_tells() {
        let (start, missing) = start(Flags::EXISTING, token(Unavailable::default()));
        assert_eq!((start.integrity_level, start.elevated), (None, None));
        for field in ["integrity_level", "elevated", "logon_id"] {
            assert!(missing.iter().any(|name| name == field), "{field}");
        }
        assert_eq!(start.session_id, Some(3));
    }

    /// What the creator typed was told as the image: rules of paths were one `subst` away from being
    /// passed by.
    #[test]
    fn what_was_typed_stands_beside_the_image_where_it_is_another() {
        let opened = |typed: &str, unavailable, flags| {
            let typed: Vec<u8> = typed.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let token = Token {
                image_opened: &typed,
                ..token(unavailable)
            };
            let (start, _missing) = start(flags, token);
            assert_eq!(start.program.image.unwrap().shown(), "a");
            let details = start.details.unwrap();
            details.image_opened.map(|text| text.shown().to_owned())
        };
        let all = Unavailable::default();
        let typed = r"\??\Z:\b";
        assert_eq!(opened(typed, all, Flags::NONE).as_deref(), Some(r"Z:\b"));
        assert_eq!(opened("A", all, Flags::NONE), None, "the case alone");
        assert_eq!(opened("", all, Flags::NONE), None);
        let cut = Flags::IMAGE_OPENED_TRUNCATED;
        assert_eq!(opened("a", all, cut).as_deref(), Some("a"), "a part of it");
        let path = Unavailable::IMAGE_PATH;
        assert_eq!(opened("", path, Flags::NONE).as_deref(), Some("a"));
    }

    #[test]
    fn another_subsystem_and_a_refused_start_are_told() {
        let told = |subsystem, creation_status| {
            let token = Token {
                subsystem,
                creation_status,
                ..token(Unavailable::default())
            };
            let (start, _missing) = start(Flags::NONE, token);
            let details = start.details.unwrap();
            (details.subsystem, details.creation_status)
        };
        assert_eq!(told(0, 0), (None, None));
        assert_eq!(told(1, 0x103), (Some("linux".into()), None));
        let refused = told(Token::OTHER_SUBSYSTEM, 0xc000_0022);
        assert_eq!(refused, (Some("other".into()), Some(0xc000_0022)));
    }
}
