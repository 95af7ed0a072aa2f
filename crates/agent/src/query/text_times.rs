//! A time compared with a text: SQLite calls every number less than every text, so such a comparison is
//! right for all rows or for none, without a word. Where the text is a point in time, the number of that
//! takes its place; where it is none the query is told, and so is a time given to a function that takes
//! seconds, which answers NULL.
//!
//! This reads a query only as far as it takes to see a comparison; what it does not understand is
//! left as it is, and not told of.

use std::borrow::Cow;

use crate::moment;
use crate::store::views;
use crate::trail::Time;

/// Functions of SQLite whose result is a time as a text.
const TEXT_FUNCTIONS: [&str; 4] = ["date", "time", "datetime", "strftime"];

/// Others that take a time.
const NUMBER_FUNCTIONS: [&str; 2] = ["julianday", "unixepoch"];

/// What is most likely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// The column is compared with that.
    Compared(&'static str, String),
    /// The column is given, as it is, to that function.
    Given(&'static str, String),
}

/// A piece of SQL, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    Name(&'s str),
    Text(&'s str),
    Symbol(&'s str),
}

/// The query in which a time is compared with numbers alone, at the moment `now`.
pub(super) fn with_numbers(sql: &str, now: Time) -> Cow<'_, str> {
    let tokens: Vec<Token<'_>> = tokens(sql).collect();
    let mut changed = String::new();
    let mut rest = 0;
    for (at, token) in tokens.iter().enumerate() {
        let Token::Text(text) = token else {
            continue;
        };
        let is_compared = compared_with(&tokens, at)
            .is_some_and(|column| !is_pattern(&tokens, at) && !is_renamed(&tokens, column));
        if is_compared && let Ok(Time(time)) = moment::parse(text, now) {
            // The text lies between two quotes.
            let begin = (text.as_ptr() as usize).wrapping_sub(sql.as_ptr() as usize) - 1;
            changed.push_str(sql.get(rest..begin).unwrap_or_default());
            changed.push_str(&time.to_string());
            rest = begin + text.len() + 2;
        }
    }
    if rest == 0 {
        return Cow::Borrowed(sql);
    }
    changed.push_str(sql.get(rest..).unwrap_or_default());
    Cow::Owned(changed)
}

/// Whether what stands at a place is a pattern.
fn is_pattern(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    is_word(before, "like") || is_word(before, "glob")
}

/// Whether the query calls something else by that name, which may be a text.
fn is_renamed(tokens: &[Token<'_>], column: &str) -> bool {
    let mut pairs = tokens.windows(2);
    pairs.any(|pair| is_word(pair.first(), "as") && is_word(pair.last(), column))
}

/// The first such thing in `sql`.
pub(super) fn find(sql: &str) -> Option<Odd> {
    let tokens: Vec<Token<'_>> = tokens(sql).collect();
    (0..tokens.len()).find_map(|at| given_to(&tokens, at).or_else(|| compared_at(&tokens, at)))
}

fn compared_at(tokens: &[Token<'_>], at: usize) -> Option<Odd> {
    let text = text_at(tokens, at)?;
    Some(Odd::Compared(compared_with(tokens, at)?, text))
}

/// The column at a place where it alone is an argument of a function that takes seconds.
fn given_to(tokens: &[Token<'_>], at: usize) -> Option<Odd> {
    let column = time_column(tokens.get(at))?;
    let symbol = |at: usize| match tokens.get(at) {
        Some(Token::Symbol(symbol)) => *symbol,
        _ => "",
    };
    // `e.time`
    let begin = if at >= 2 && symbol(at - 1) == "." {
        at - 2
    } else {
        at
    };
    let open = match symbol(begin.checked_sub(1)?) {
        "(" => begin - 1,
        // `strftime('%H', time, ...)`
        "," if symbol(begin.checked_sub(3)?) == "(" => begin - 3,
        _ => return None,
    };
    let Token::Name(name) = tokens.get(open.checked_sub(1)?)? else {
        return None;
    };
    let name = name.to_lowercase();
    let mut functions = TEXT_FUNCTIONS.iter().chain(&NUMBER_FUNCTIONS);
    let is_alone = matches!(symbol(at + 1), "," | ")");
    (is_alone && functions.any(|known| *known == name)).then_some(Odd::Given(column, name))
}

/// The text that is written at a place, or computed there.
fn text_at(tokens: &[Token<'_>], at: usize) -> Option<String> {
    match (tokens.get(at)?, tokens.get(at + 1)) {
        (Token::Text(text), _) => Some(format!("'{text}'")),
        (Token::Name(name), Some(Token::Symbol("("))) => {
            let name = name.to_lowercase();
            TEXT_FUNCTIONS
                .contains(&&*name)
                .then(|| format!("{name}()"))
        }
        _ => None,
    }
}

/// The column of times that what stands at a place is compared with.
fn compared_with(tokens: &[Token<'_>], at: usize) -> Option<&'static str> {
    let before = |count: usize| at.checked_sub(count).and_then(|at| tokens.get(at));
    // `NOT` may stand between a column and the word.
    let column = |count: usize| {
        let is_not = is_word(before(count), "not");
        time_column(before(count + usize::from(is_not)))
    };
    let words = ["between", "like", "glob"];
    if is_comparison(before(1)) || words.iter().any(|word| is_word(before(1), word)) {
        return column(2);
    }
    // `IN ('a', 'b')`
    let listed = (0..at / 2).take_while(|count| {
        let (comma, text) = (before(2 * count + 1), before(2 * count + 2));
        comma == Some(&Token::Symbol(",")) && matches!(text, Some(Token::Text(_)))
    });
    let first = 2 * listed.count();
    if before(first + 1) == Some(&Token::Symbol("(")) && is_word(before(first + 2), "in") {
        return column(first + 3);
    }
    // `BETWEEN 'a' AND 'b'`
    if is_word(before(1), "and") && is_word(before(3), "between") {
        return column(4);
    }
    // `'a' < e.time`: the last name is the column's.
    if matches!(tokens.get(at), Some(Token::Text(_))) && is_comparison(tokens.get(at + 1)) {
        let is_qualified = tokens.get(at + 3) == Some(&Token::Symbol("."));
        return time_column(tokens.get(at + if is_qualified { 4 } else { 2 }));
    }
    None
}

fn is_word(token: Option<&Token<'_>>, word: &str) -> bool {
    matches!(token, Some(Token::Name(name)) if name.eq_ignore_ascii_case(word))
}

fn is_comparison(token: Option<&Token<'_>>) -> bool {
    matches!(
        token,
        Some(Token::Symbol(
            "<" | ">" | "=" | "<=" | ">=" | "<>" | "!=" | "=="
        ))
    )
}

/// The column of times with that name: one that has its text beside it.
fn time_column(token: Option<&Token<'_>>) -> Option<&'static str> {
    let Some(Token::Name(name)) = token else {
        return None;
    };
    let mut columns = views().iter().flat_map(|view| &view.columns);
    let column = columns.find(|column| column.name.eq_ignore_ascii_case(name))?;
    let text = format!("{}_text", column.name);
    let mut columns = views().iter().flat_map(|view| &view.columns);
    let is_time = columns.any(|column| column.name == text);
    is_time.then_some(column.name)
}

fn tokens(sql: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            let first = rest.chars().next()?;
            if let Some(comment) = rest.strip_prefix("--") {
                rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = rest.strip_prefix("/*") {
                rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
            } else {
                let size = size_of(rest, first);
                let (token, behind) = rest.split_at_checked(size)?;
                rest = behind;
                return Some(read(token, first));
            }
        }
    })
}

/// The bytes of the token that `text` begins with.
fn size_of(text: &str, first: char) -> usize {
    let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
    match first {
        // A quote in a quoted text is doubled, and makes two tokens here, of which none is compared.
        '\'' | '"' | '`' => {
            let inside = text.get(1..).unwrap_or_default();
            inside.find(first).map_or(text.len(), |end| end + 2)
        }
        first if is_of_name(first) => text
            .find(|character| !is_of_name(character))
            .unwrap_or(text.len()),
        '<' | '>' | '=' | '!' => {
            let second = text.chars().nth(1);
            1 + usize::from(matches!(second, Some('=' | '>')))
        }
        other => other.len_utf8(),
    }
}

fn read(token: &str, first: char) -> Token<'_> {
    let inside = || token.trim_matches(first);
    match first {
        '\'' => Token::Text(inside()),
        '"' | '`' => Token::Name(inside()),
        first if first.is_alphanumeric() || first == '_' => Token::Name(token),
        _ => Token::Symbol(token),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Odd, find, with_numbers};
    use crate::trail::Time;

    #[test]
    fn a_comparison_of_a_time_with_a_text_is_found() {
        let found = [
            (
                "SELECT 1 FROM events WHERE time > '2026-11-28T19:44:00Z'",
                "time",
            ),
            (
                "SELECT 1 FROM events AS e WHERE e.time>='2026-11-28'",
                "time",
            ),
            ("SELECT 1 FROM events WHERE \"time\" = '2026'", "time"),
            (
                "SELECT 1 FROM processes WHERE '2026' < p.start_time",
                "start_time",
            ),
            (
                "select 1 from processes where EXIT_TIME<>'2026'",
                "exit_time",
            ),
            (
                "SELECT 1 FROM events WHERE time BETWEEN '2026-11-28' AND '2026-11-29'",
                "time",
            ),
            ("SELECT 1 FROM events WHERE time LIKE '2026%'", "time"),
            ("SELECT 1 FROM events WHERE e.time NOT IN ('2026')", "time"),
            (
                "SELECT 1 FROM events WHERE time BETWEEN 0 AND '2026'",
                "time",
            ),
            (
                "SELECT 1 FROM events WHERE time > datetime('now', '-1 hour')",
                "time",
            ),
            (
                "SELECT 1 /* it's */ FROM events -- 'a\n WHERE time < '2026'",
                "time",
            ),
        ];
        for (sql, column) in found {
            let found = find(sql);
            assert!(
                matches!(&found, Some(Odd::Compared(name, _)) if *name == column),
                "{sql}: {found:?}"
            );
        }
    }

    #[test]
    fn a_time_that_is_given_to_a_function_of_seconds_is_found() {
        for sql in [
            "SELECT datetime(time) FROM events",
            "SELECT datetime(e.time, 'unixepoch') FROM events AS e",
            "SELECT strftime('%H', e.time, 'unixepoch') FROM events AS e",
            "SELECT julianday ( time ) FROM events",
        ] {
            assert!(matches!(find(sql), Some(Odd::Given("time", _))), "{sql}");
        }
    }

    #[test]
    fn a_point_in_time_becomes_its_number() {
        const NOW: Time = Time(1_795_348_800_000_000_000);
        let same = [
            "SELECT 1 FROM events WHERE time_text > '2026-11-22'",
            "SELECT 1 FROM events WHERE time LIKE '2026-11-22'",
            "SELECT 1 FROM events WHERE time > 'never' AND image = '12:00'",
            "WITH t AS (SELECT time_text AS time FROM events) SELECT 1 FROM t WHERE time > '2026-11-22'",
            "SELECT '2026-11-22' -- time > '2026-11-22'",
        ];
        for sql in same {
            assert_eq!(with_numbers(sql, NOW), sql);
        }
        let changed = [
            (
                "time > '2026-11-22T12:00:00Z'",
                "time > 1795348800000000000",
            ),
            ("e.time>='-1h' AND 1", "e.time>=1795345200000000000 AND 1"),
            ("'now' < start_time", "1795348800000000000 < start_time"),
            (
                "time BETWEEN '2026-11-22' AND '12:00' OR image = 'é'",
                "time BETWEEN 1795305600000000000 AND 1795348800000000000 OR image = 'é'",
            ),
            (
                "EXIT_TIME NOT IN ('now', '1h')",
                "EXIT_TIME NOT IN (1795348800000000000, 1795345200000000000)",
            ),
            (
                "'é' = image AND time <= '12:00'",
                "'é' = image AND time <= 1795348800000000000",
            ),
        ];
        for (sql, expected) in changed {
            assert_eq!(with_numbers(sql, NOW), expected);
        }
    }

    #[test]
    fn what_is_right_is_not_told_of() {
        let right = [
            "SELECT 1 FROM events WHERE time > 1795348800000000000",
            "SELECT 1 FROM events WHERE time_text > '2026-11-28T19:44:00Z'",
            "SELECT 1 FROM events WHERE time > unixepoch('2026-11-28T19:44:00Z') * 1000000000",
            "SELECT 1 FROM events WHERE kind = 'process_start' AND time > 5",
            "SELECT 1 FROM events WHERE time > 5 AND 'exit' = kind",
            "SELECT ' time > ''2026'' ' FROM events",
            "SELECT 'it''s', time FROM events",
            "SELECT datetime(time / 1000000000, 'unixepoch') FROM events",
            "SELECT strftime('%H', time_text), max(time), kind FROM events",
            "SELECT (time), count(time) FROM events WHERE kind IN ('a', 'b') AND kind LIKE 'x'",
        ];
        for sql in right {
            assert_eq!(find(sql), None, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(sql in any::<String>()) {
            let _answer = find(&sql);
            let _changed = with_numbers(&sql, Time(0));
        }
    }
}
