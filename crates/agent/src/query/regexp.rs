//! `TEXT REGEXP PATTERN`, which SQLite has the syntax of and leaves the function to others.
//!
//! A pattern is whoever's who asks, so its size is bounded, compiled and not; the time that it takes for a
//! text is in proportion to both.

use std::borrow::Cow;

use regex_automata::meta::{self, Regex};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

/// Bytes of a pattern at most.
const PATTERN_SIZE_MAX: usize = 4 << 10;

/// Bytes of a compiled pattern at most: it can be a thousand times as large as its text.
const COMPILED_SIZE_MAX: usize = 1 << 20;

/// Bytes that a pattern may use while it looks at a text.
const CACHE_SIZE: usize = 1 << 20;

/// What a query is told of its pattern.
#[derive(Debug, thiserror::Error)]
enum Invalid {
    #[error("the pattern of REGEXP is not a text; write it in single quotes")]
    NotText,
    #[error("the pattern of REGEXP is longer than {PATTERN_SIZE_MAX} bytes; ask for less at once")]
    TooLong,
    #[error(
        "the pattern of REGEXP is too large when it is compiled; repeat less, or ask for less at once"
    )]
    TooLarge,
    #[error("the pattern of REGEXP is none: {0}; put a backslash before what is meant as it is")]
    NoPattern(String),
}

/// Lets `connection` know the function. Nothing but a query itself can call it: no view that a segment brings.
pub(super) fn add(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function(c"regexp", 2, flags, |context| is_match(context))
}

/// `regexp(pattern, text)`; NULL where one of them is.
fn is_match(context: &Context<'_>) -> Result<Option<bool>> {
    if context.get_raw(0) == ValueRef::Null {
        return Ok(None);
    }
    let text: Cow<'_, [u8]> = match context.get_raw(1) {
        ValueRef::Null => return Ok(None),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.into(),
        ValueRef::Integer(number) => number.to_string().into_bytes().into(),
        ValueRef::Real(number) => number.to_string().into_bytes().into(),
    };
    // SQLite keeps it for as long as the statement runs, where the pattern is a constant.
    let regex = context.get_or_create_aux(0, compile)?;
    Ok(Some(regex.is_match(&*text)))
}

fn compile(pattern: ValueRef<'_>) -> std::result::Result<Regex, Invalid> {
    let pattern = pattern.as_str().map_err(|_other| Invalid::NotText)?;
    if pattern.len() > PATTERN_SIZE_MAX {
        return Err(Invalid::TooLong);
    }
    let bounds = meta::Config::new()
        .nfa_size_limit(Some(COMPILED_SIZE_MAX))
        .onepass_size_limit(Some(COMPILED_SIZE_MAX))
        .hybrid_cache_capacity(CACHE_SIZE);
    let built = Regex::builder().configure(bounds).build(pattern);
    built.map_err(|error| match error.syntax_error() {
        Some(error) => Invalid::NoPattern(reason(&error.to_string())),
        None => Invalid::TooLarge,
    })
}

/// The last line of what the library says; the others show the place.
fn reason(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
