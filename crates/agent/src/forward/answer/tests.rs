//! The meaning of what receivers say, at the words themselves.

use super::*;

fn judged(said: &Said<'_>) -> Answer {
    judge(said, "2026-12-01T00:00:00Z".parse().unwrap())
}

fn of_status(status: u16) -> Answer {
    let said = Said {
        status,
        is_whole: true,
        ..Said::default()
    };
    judged(&said)
}

fn is_later(answer: &Answer) -> bool {
    matches!(answer, Answer::Later { .. })
}

fn is_refused(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Refused {
            is_too_large: false,
            ..
        }
    )
}

#[test]
fn every_status_has_one_meaning() {
    for status in 100..=999 {
        let answer = of_status(status);
        match status {
            200..=299 => assert_eq!(answer, Answer::Accepted, "{status}"),
            400 | 422 => assert!(is_refused(&answer), "{status}"),
            413 => assert!(matches!(
                answer,
                Answer::Refused {
                    is_too_large: true,
                    ..
                }
            )),
            _ => assert!(is_later(&answer), "{status}"),
        }
    }
}

/// `ClickHouse` 23.x to 24.8 do so when something fails behind the headers.
#[test]
fn a_yes_with_an_error_in_it_is_none() {
    let yes = || Said {
        status: 200,
        is_whole: true,
        ..Said::default()
    };
    let of_rows = Said {
        exception_code: Some("27"),
        ..yes()
    };
    assert!(is_refused(&judged(&of_rows)));
    let of_memory = Said {
        exception_code: Some("241"),
        ..yes()
    };
    assert!(is_later(&judged(&of_memory)));
    let nonsense = Said {
        exception_code: Some("?"),
        ..yes()
    };
    assert!(is_later(&judged(&nonsense)));
    let behind = Said {
        body: b"Code: 241. DB::Exception: memory",
        ..yes()
    };
    assert!(is_later(&judged(&behind)));
    let cut = Said {
        is_whole: false,
        ..yes()
    };
    assert!(is_later(&judged(&cut)));
    let page = Said {
        content_type: Some("text/html; charset=utf-8"),
        ..yes()
    };
    assert!(is_later(&judged(&page)), "a portal that wants a log-in");
    let any = Said {
        body: b"\x00\xff garbage",
        ..yes()
    };
    assert_eq!(
        judged(&any),
        Answer::Accepted,
        "what it says beside yes is its own"
    );
}

#[test]
fn an_answer_for_each_event_is_read() {
    let bulk = |body: &[u8]| {
        judged(&Said {
            status: 200,
            is_whole: true,
            body,
            ..Said::default()
        })
    };
    let created = br#"{"took":1,"errors":false,"items":[{"create":{"status":201}}]}"#;
    assert_eq!(bulk(created), Answer::Accepted);
    let full = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":429}}]}"#;
    assert!(is_later(&bulk(full)));
    let wrong = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":400}}]}"#;
    assert!(is_refused(&bulk(wrong)));
    assert!(
        is_refused(&bulk(br#"{"errors":true}"#)),
        "which ones is found by halves"
    );
}

#[test]
fn waits_as_long_as_it_is_asked_to_in_seconds_or_until_a_date() {
    let asked = |text: &'static str| {
        let answer = judged(&Said {
            status: 429,
            retry_after: Some(text),
            ..Said::default()
        });
        match answer {
            Answer::Later { asked, .. } => asked,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asked("7"), Some(Duration::from_secs(7)));
    assert_eq!(
        asked("Tue, 01 Dec 2026 00:01:30 GMT"),
        Some(Duration::from_secs(90))
    );
    assert_eq!(
        asked("Mon, 30 Nov 2026 00:00:00 GMT"),
        Some(Duration::ZERO),
        "it is past"
    );
    for nonsense in ["", "-1", "soon", "9999999999999999999999"] {
        assert_eq!(asked(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn what_it_says_is_told_on_one_short_line() {
    let body = format!("no\n\x1b[31m{}", "x".repeat(10_000));
    let said = Said {
        status: 503,
        body: body.as_bytes(),
        ..Said::default()
    };
    let Answer::Later { why, .. } = judged(&said) else {
        panic!("503 is no yes");
    };
    assert!(why.starts_with("it answers 503: no "), "{why}");
    assert!(why.len() < 300 && !why.contains(['\n', '\x1b']), "{why}");
}
