//! Rust source without its comments and the insides of its string literals, lines kept, so that
//! rules about code do not stumble over words.
//!
//! A lexer of a few states is enough: it knows nested comments, raw strings, and the two ways to
//! write a quote as a character.

/// The text with everything blanked that is no code.
pub(super) fn code(text: &str) -> String {
    let mut lexer = Lexer {
        rest: text,
        before: ' ',
        state: State::Code,
    };
    let mut result = String::with_capacity(text.len());
    while !lexer.rest.is_empty() {
        let (size, is_code) = lexer.step();
        let size = size.min(lexer.rest.len());
        let (taken, rest) = lexer.rest.split_at(size);
        result.extend(taken.chars().map(|character| match character {
            '\n' => '\n',
            _ if is_code => character,
            _ => ' ',
        }));
        lexer.before = taken.chars().last().unwrap_or(' ');
        lexer.rest = rest;
    }
    result
}

/// What the lexer is in the middle of.
#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    /// With its depth.
    BlockComment(u32),
    Text,
    /// With the count of its `#`.
    RawText(usize),
}

struct Lexer<'a> {
    rest: &'a str,
    /// The character before `rest`.
    before: char,
    state: State,
}

impl Lexer<'_> {
    /// The size of the next piece and whether it is code. Changes the state.
    fn step(&mut self) -> (usize, bool) {
        match self.state {
            State::Code => self.in_code(),
            State::LineComment => (self.in_line_comment(), false),
            State::BlockComment(depth) => (self.in_block_comment(depth), false),
            State::Text => (self.in_text(), false),
            State::RawText(hashes) => (self.in_raw_text(hashes), false),
        }
    }

    fn in_code(&mut self) -> (usize, bool) {
        if self.rest.starts_with("//") {
            self.state = State::LineComment;
            return (2, false);
        }
        if self.rest.starts_with("/*") {
            self.state = State::BlockComment(1);
            return (2, false);
        }
        for quote in ["'\"'", "'\\\"'"] {
            if self.rest.starts_with(quote) {
                return (quote.len(), false);
            }
        }
        if self.rest.starts_with('"') {
            self.state = State::Text;
            return (1, false);
        }
        if let Some(hashes) = self.raw_text_begins() {
            self.state = State::RawText(hashes);
            return (hashes + 2, false);
        }
        (self.character_size(), true)
    }

    /// The count of `#` when `r"`, `r#"`, ... comes next.
    fn raw_text_begins(&self) -> Option<usize> {
        let is_in_word = self.before.is_alphanumeric() || self.before == '_';
        // `br"` is raw text as well.
        if is_in_word && self.before != 'b' {
            return None;
        }
        let after = self.rest.strip_prefix('r')?;
        let text = after.trim_start_matches('#');
        text.starts_with('"').then(|| after.len() - text.len())
    }

    fn in_line_comment(&mut self) -> usize {
        self.state = State::Code;
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    fn in_block_comment(&mut self, depth: u32) -> usize {
        if self.rest.starts_with("/*") {
            self.state = State::BlockComment(depth + 1);
            return 2;
        }
        if self.rest.starts_with("*/") {
            self.state = match depth {
                0 | 1 => State::Code,
                _ => State::BlockComment(depth - 1),
            };
            return 2;
        }
        self.character_size()
    }

    fn in_text(&mut self) -> usize {
        if let Some(escaped) = self.rest.strip_prefix('\\') {
            return 1 + escaped.chars().next().map_or(0, char::len_utf8);
        }
        if self.rest.starts_with('"') {
            self.state = State::Code;
        }
        self.character_size()
    }

    fn in_raw_text(&mut self, hashes: usize) -> usize {
        let end = format!("\"{}", "#".repeat(hashes));
        self.state = State::Code;
        self.rest
            .find(&end)
            .map_or(self.rest.len(), |position| position + end.len())
    }

    fn character_size(&self) -> usize {
        self.rest.chars().next().map_or(0, char::len_utf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let words: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
        words.join(" ")
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(words("a // b\nc"), "a c");
        assert_eq!(words("a /* b /* c */ d */ e"), "a e");
        assert_eq!(words("a // b"), "a");
    }

    #[test]
    fn the_insides_of_texts_are_no_code() {
        assert_eq!(words(r#"a "b \" c" d"#), "a d");
        assert_eq!(words(r##"a r#"b " c"# d"##), "a d");
        assert_eq!(words(r##"a br#"b " c"# d"##), "a b d");
        assert_eq!(words(r#"a r"b\" d"#), "a d");
        assert_eq!(words("a \"ü\\ü\" d"), "a d");
    }

    #[test]
    fn a_quote_character_begins_no_text() {
        assert_eq!(words(r#"a '"' b '\"' c"#), "a b c");
        assert_eq!(words("a 'x' <'b> r#type"), "a 'x' <'b> r#type");
    }

    #[test]
    fn lines_stay_where_they_are() {
        assert_eq!(code("a\n/*\n*/\nb").lines().count(), 4);
    }
}
