//! What an answer means. Only a plain yes is one: an engine can say 200 and store nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it is there.
    Accepted,
    /// Something in it is not taken, ever.
    Refused {
        /// What was said.
        why: String,
        /// Whether it was too much at once.
        is_too_large: bool,
    },
    /// Not now; the same again later.
    Later {
        /// What was said.
        why: String,
        /// How long the receiver asks to wait.
        asked: Option<Duration>,
    },
}

/// What of an answer decides.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) status: u16,
    /// The header in which `ClickHouse` tells the number of an error.
    pub(super) exception_code: Option<&'a str>,
    pub(super) retry_after: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
    /// As much of the body as is read.
    pub(super) body: &'a [u8],
    /// Whether that is all of it.
    pub(super) is_whole: bool,
}

/// The most that is told of what a receiver says.
const TOLD_SIZE_MAX: usize = 200;

/// Errors of `ClickHouse` that are about the rows: the same rows never get through. Its status for many
/// of them is 500.
const OF_ROWS: [u32; 16] = [
    6, 25, 26, 27, 38, 41, 53, 70, 72, 117, 130, 131, 190, 349, 407, 469,
];

/// The status of an item whose document is there already: it came before.
const THERE_ALREADY: u16 = 409;

/// Judges an answer at the time `now`.
pub(super) fn judge(said: &Said<'_>, now: Timestamp) -> Answer {
    let asked = said.retry_after.and_then(|text| retry_after(text, now));
    let later = |why: String| Answer::Later { why, asked };
    let refused = |why: String, is_too_large| Answer::Refused { why, is_too_large };
    if let Some(code) = said.exception_code {
        let why = format!("the engine has an error {code}: {}", told(said));
        let code = code.trim().parse().unwrap_or(0);
        return if OF_ROWS.contains(&code) {
            refused(why, false)
        } else {
            later(why)
        };
    }
    let told = told(said);
    match said.status {
        200..=299 => judge_yes(said, &told, later, |why| refused(why, false)),
        300..=399 => later(format!(
            "it answers {} and another address, which is not followed; name the right one as forward.url",
            said.status
        )),
        401 | 403 => later(format!(
            "it does not let us in ({told}); another token in forward.token_file is seen when it is there"
        )),
        413 => refused(told, true),
        400 | 422 => refused(told, false),
        404 | 405 | 410 => later(format!("{told}; is forward.url right?")),
        _ => later(told),
    }
}

/// A status that says yes, which is not to be believed by itself.
fn judge_yes(
    said: &Said<'_>,
    told: &str,
    later_fn: impl Fn(String) -> Answer,
    refused_fn: impl Fn(String) -> Answer,
) -> Answer {
    let has = |text: &[u8]| said.body.windows(text.len()).any(|part| part == text);
    if !said.is_whole {
        // Too long to be read is what a refusal of many events is.
        return if said.body.starts_with(b"{") && has(br#""errors":true"#) {
            refused_fn(format!(
                "it says yes and refuses some of the events: {told}"
            ))
        } else {
            later_fn("its answer broke off, or has no end".to_owned())
        };
    }
    if said
        .content_type
        .is_some_and(|content_type| content_type.starts_with("text/html"))
    {
        return later_fn(format!(
            "it answers with a page for people ({told}), as a portal or a proxy does; is forward.url right?"
        ));
    }
    if has(b"DB::Exception") {
        return later_fn(format!("it says yes and has an error: {told}"));
    }
    match items(said.body) {
        None => Answer::Accepted,
        Some(statuses)
            if statuses
                .iter()
                .any(|status| *status == 429 || *status >= 500) =>
        {
            later_fn("it says yes and has no room for some of the events".to_owned())
        }
        Some(_refused) => refused_fn(format!(
            "it says yes and refuses some of the events: {told}"
        )),
    }
}

/// The statuses of the items that failed, where an Elasticsearch says that some did; none of one that says
/// so and not which.
fn items(body: &[u8]) -> Option<Vec<u16>> {
    #[derive(Deserialize)]
    struct Bulk {
        #[serde(default)]
        errors: bool,
        #[serde(default)]
        items: Vec<BTreeMap<String, Item>>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        status: u16,
    }
    if body.first() != Some(&b'{') {
        return None;
    }
    let bulk: Bulk = serde_json::from_slice(body).ok()?;
    if !bulk.errors {
        return None;
    }
    let is_told = !bulk.items.is_empty();
    let statuses = bulk.items.into_iter().flat_map(BTreeMap::into_values);
    let statuses = statuses.map(|item| item.status);
    let failed: Vec<_> = statuses
        .filter(|status| *status >= 300 && *status != THERE_ALREADY)
        .collect();
    (!is_told || !failed.is_empty()).then_some(failed)
}

/// How long to wait: seconds, or until a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The status and the begin of the body, on one line.
fn told(said: &Said<'_>) -> String {
    let text = String::from_utf8_lossy(said.body.get(..TOLD_SIZE_MAX).unwrap_or(said.body));
    let words: Vec<&str> = text.split_whitespace().collect();
    let status = said.status;
    match words.join(" ") {
        words if words.is_empty() => format!("it answers {status}"),
        words => format!("it answers {status}: {}", crate::shown::safe(&words)),
    }
}

#[cfg(test)]
mod tests;
