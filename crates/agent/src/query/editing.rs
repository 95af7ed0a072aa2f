//! What whoever types queries needs: whether one is whole, and what a word that was begun may become.

use super::EXAMPLES;
use crate::store::views;

/// Words of SQL that a query of the store has use for.
const KEYWORDS: [&str; 34] = [
    "AND", "AS", "ASC", "BETWEEN", "BY", "CASE", "COUNT", "CROSS", "DESC", "DISTINCT", "ELSE",
    "END", "EXISTS", "FROM", "GLOB", "GROUP", "HAVING", "IN", "IS", "JOIN", "LEFT", "LIKE",
    "LIMIT", "NOT", "NULL", "OFFSET", "ON", "OR", "ORDER", "REGEXP", "SELECT", "UNION", "WHERE",
    "WITH",
];

/// Tables that take an argument.
const FUNCTIONS: [&str; 2] = ["ancestors(", "descendants("];

/// A command of the shell, which is no SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// With its point.
    pub name: &'static str,
    /// What stands behind it.
    pub argument: &'static str,
    /// What it does.
    pub about: &'static str,
}

const fn command(name: &'static str, argument: &'static str, about: &'static str) -> Command {
    Command {
        name,
        argument,
        about,
    }
}

/// All of them.
pub const COMMANDS: [Command; 6] = [
    command(".example", "NUMBER", "ask that one of the examples"),
    command(".examples", "", "queries worth knowing"),
    command(
        ".format",
        "NAME",
        "how rows are printed: table, json, jsonl or csv",
    ),
    command(".help", "", "this"),
    command(".quit", "", "end; so does Ctrl-D"),
    command(".schema", "[VIEW]", "the views and their columns"),
];

/// Whether that is all of a query, or a command: it ends with `;`, or with an empty line, and no quote or
/// comment is open.
pub fn is_whole(text: &str) -> bool {
    if text.starts_with('.') || text.trim().is_empty() {
        return true;
    }
    match rest_of(text) {
        Rest::Open => false,
        Rest::Ended => true,
        Rest::Goes => has_empty_end(text),
    }
}

/// Whether its last line is empty, and not its only one.
fn has_empty_end(text: &str) -> bool {
    let last = text.rsplit_once('\n').map(|(_, last)| last);
    last.is_some_and(|last| last.trim().is_empty())
}

/// Where a text of SQL is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// In a quote or a comment.
    Open,
    /// Behind a `;`.
    Ended,
    /// In the middle of a query.
    Goes,
}

fn rest_of(text: &str) -> Rest {
    let mut rest = text;
    let mut state = Rest::Goes;
    while let Some(first) = rest.chars().next() {
        let (begin, end, is_quote) = match first {
            '\'' => ("'", "'", true),
            '"' => ("\"", "\"", true),
            '`' => ("`", "`", true),
            '[' => ("[", "]", true),
            '-' if rest.starts_with("--") => ("--", "\n", false),
            '/' if rest.starts_with("/*") => ("/*", "*/", false),
            other => {
                if !other.is_whitespace() {
                    state = if other == ';' {
                        Rest::Ended
                    } else {
                        Rest::Goes
                    };
                }
                rest = rest.get(other.len_utf8()..).unwrap_or_default();
                continue;
            }
        };
        if is_quote {
            state = Rest::Goes;
        }
        let inside = rest.get(begin.len()..).unwrap_or_default();
        rest = match inside.split_once(end) {
            Some((_, behind)) => behind,
            // The comment of a line ends with the text.
            None if end == "\n" => "",
            None => return Rest::Open,
        };
    }
    state
}

/// What the word at the end of `text` may become, and where that word begins.
pub fn candidates(text: &str) -> (usize, Vec<String>) {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let line = text.trim_start();
    if line.starts_with('.') && !line.contains(char::is_whitespace) {
        let begin = text.len() - line.len();
        let names = COMMANDS.iter().map(|command| command.name);
        return (begin, beginning(names, line));
    }
    let before = text.trim_end_matches(is_part);
    let word = text.get(before.len()..).unwrap_or_default();
    (before.len(), candidates_behind(before, word))
}

fn candidates_behind(before: &str, word: &str) -> Vec<String> {
    let last = before.split_whitespace().next_back().unwrap_or_default();
    let names = views().iter().map(|view| view.name);
    if last == ".format" {
        return beginning(super::Format::NAMES.iter().map(|(name, _)| *name), word);
    }
    if last == ".schema" {
        return beginning(names, word);
    }
    if last == ".example" {
        let numbers: Vec<String> = (1..=EXAMPLES.len())
            .map(|number| number.to_string())
            .collect();
        return beginning(numbers.iter().map(String::as_str), word);
    }
    let is_table = ["from", "join"]
        .iter()
        .any(|keyword| last.eq_ignore_ascii_case(keyword));
    if is_table {
        return beginning(names.chain(FUNCTIONS), word);
    }
    if word.is_empty() {
        return Vec::new();
    }
    let mut found = beginning(columns(before), word);
    found.extend(beginning(names, word));
    let is_lower = word
        .chars()
        .all(|character| !character.is_ascii_uppercase());
    let keywords = beginning(KEYWORDS.into_iter(), word);
    found.extend(keywords.into_iter().map(|keyword| {
        if is_lower {
            keyword.to_lowercase()
        } else {
            keyword
        }
    }));
    found
}

/// The columns of the views that are named before, or of all.
fn columns(before: &str) -> impl Iterator<Item = &'static str> {
    let is_named = |name: &str| {
        let mut words = before.split(|character: char| !character.is_ascii_alphanumeric());
        words.any(|word| word.eq_ignore_ascii_case(name))
    };
    let named: Vec<&str> = views()
        .iter()
        .map(|view| view.name)
        .filter(|name| is_named(name))
        .collect();
    let asked = views()
        .iter()
        .filter(|view| named.is_empty() || named.contains(&view.name));
    let columns = asked
        .flat_map(|view| &view.columns)
        .map(|column| column.name);
    let columns: std::collections::BTreeSet<&'static str> = columns.collect();
    columns.into_iter()
}

/// Those that begin so, whatever the case.
fn beginning<'n>(names: impl Iterator<Item = &'n str>, word: &str) -> Vec<String> {
    let begins = |name: &&str| {
        let begin = name.get(..word.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(word))
    };
    names.filter(begins).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_whole_behind_its_semicolon_or_an_empty_line() {
        for whole in [
            "SELECT 1;",
            "SELECT 1 ; -- done",
            "SELECT ';' ;\n",
            "SELECT 1\n",
            "SELECT 1\nFROM events\n  ",
            "",
            "  ",
            ".schema events",
            "SELECT 1; /* a */",
        ] {
            assert!(is_whole(whole), "{whole:?}");
        }
        for open in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 'a\n\n",
            "SELECT 1 -- ;",
            "SELECT 1 /* ;",
            "SELECT 1\nFROM",
            "SELECT \"a;",
            "SELECT [a;",
            "SELECT 1; SELECT 2",
        ] {
            assert!(!is_whole(open), "{open:?}");
        }
    }

    #[test]
    fn a_word_becomes_what_may_stand_there() {
        let of = |text| candidates(text).1;
        assert_eq!(of("SEL"), ["SELECT"]);
        assert_eq!(of("sel"), ["select"]);
        assert_eq!(of("SELECT * FROM proc"), ["processes"]);
        assert_eq!(of("select * from desc"), ["descendants("]);
        assert_eq!(of("SELECT * FROM ").len(), views().len() + FUNCTIONS.len());
        assert_eq!(of("SELECT * FROM images WHERE image_b"), ["image_base"]);
        assert_eq!(of("SELECT p.exit_c"), ["exit_code"]);
        assert_eq!(of("SELECT "), [""; 0]);
        assert_eq!(of(".ex"), [".example", ".examples"]);
        assert_eq!(of(".schema ev"), ["events"]);
        assert_eq!(of(".format js"), ["json", "jsonl"]);
        assert_eq!(of("SELECT é"), [""; 0]);
        assert_eq!(candidates("SELECT command_l").0, 7);
        // What stands behind the word before the cursor does not matter here.
        assert_eq!(of("SELECT x_nothing_begins_so"), [""; 0]);
    }
}
