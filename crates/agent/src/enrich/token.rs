//! What Windows' token says of a process that starts.

use event::process::{Token, Unavailable};
use event::{Flags, Header};

use crate::trail::{Name, StartDetails, missing};

/// The fields that the token of a start fills, and the fact of each.
const FIELDS: [(&str, Unavailable); 3] = [
    ("integrity_level", Unavailable::INTEGRITY_LEVEL),
    ("elevated", Unavailable::ELEVATED),
    ("logon_id", Unavailable::LOGON),
];

/// A fact of the token, where it could be had.
pub(super) fn fact<T>(token: Option<&Token<'_>>, fact: Unavailable, value: T) -> Option<T> {
    token
        .filter(|token| !token.unavailable.contains(fact))
        .map(|_token| value)
}

/// The details of a start that the token has.
pub(super) fn details(token: Option<&Token<'_>>) -> Option<Box<StartDetails>> {
    let logon_id = fact(token, Unavailable::LOGON, token?.logon_id)?;
    Some(Box::new(StartDetails {
        logon_id: Some(logon_id),
        ..StartDetails::default()
    }))
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
    use event::{Event, Extension, Record, process};

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
            (Unavailable::default(), ""),
        ];
        for (unavailable, lacking) in cases {
            let (start, missing) = start(Flags::NONE, token(unavailable));
            let has = [
                ("integrity_level", start.integrity_level.is_some()),
                ("elevated", start.elevated == Some(true)),
                ("session_id", start.session_id == Some(3)),
                (
                    "logon_id",
                    start.details.is_some_and(|it| it.logon_id == Some(0x3e7)),
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
}
