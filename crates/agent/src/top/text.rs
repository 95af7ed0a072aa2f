//! Text for cells of the screen. Whatever a process calls itself, a cell has what it seems to have:
//! what a terminal would act on, show nothing for, or give another width than we do is shown as an
//! escape.

use ratatui_core::text::Span;

use crate::shown;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Everything.
    Utf8,
    /// Nothing beyond ASCII: the locale says so.
    Ascii,
}

impl Charset {
    /// That of the locale: the first variable that says something decides.
    pub fn of_locale(variable_fn: impl Fn(&str) -> Option<String>) -> Self {
        let said = ["LC_ALL", "LC_CTYPE", "LANG"].iter();
        let mut said = said.filter_map(|name| variable_fn(name).filter(|said| !said.is_empty()));
        let is_utf8 = said.next().is_some_and(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        if is_utf8 { Self::Utf8 } else { Self::Ascii }
    }

    /// Stands where something was cut.
    pub(super) const fn cut_mark(self) -> char {
        match self {
            Self::Utf8 => '…',
            Self::Ascii => '~',
        }
    }
}

/// `text` as it can be shown in `width` columns, cut with a mark where it is longer; and the columns it
/// takes.
pub(super) fn fitted(text: &str, width: usize, charset: Charset) -> (String, usize) {
    let mut fitted = String::new();
    let mut column = 0;
    // Where the text that leaves room for the mark ends, in bytes and columns.
    let mut cut = (0, 0);
    for character in text.chars() {
        let (shown, columns) = shown_as(character, charset);
        if column + columns > width {
            let (end, at) = cut;
            fitted.truncate(end);
            if width == 0 {
                return (String::new(), 0);
            }
            fitted.push(charset.cut_mark());
            return (fitted, at + 1);
        }
        match shown {
            Shown::AsItIs => fitted.push(character),
            Shown::Escaped(escape) => fitted.push_str(&escape),
        }
        column += columns;
        if column < width {
            cut = (fitted.len(), column);
        }
    }
    (fitted, column)
}

/// `text` in lines of at most `width` columns, broken at a blank where that leaves no line half empty.
pub(super) fn wrapped(text: &str, width: usize, charset: Charset) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut column) = (String::new(), 0);
    for character in text.chars() {
        let (shown, columns) = shown_as(character, charset);
        if column + columns > width && column > 0 {
            let blank = line.rfind(' ').map(|blank| blank + 1);
            let rest = blank
                .filter(|blank| character != ' ' && *blank > line.len() / 2)
                .map_or_else(String::new, |blank| line.split_off(blank));
            column = Span::raw(rest.as_str()).width();
            lines.push(std::mem::replace(&mut line, rest));
        }
        match shown {
            Shown::AsItIs => line.push(character),
            Shown::Escaped(escape) => line.push_str(&escape),
        }
        column += columns;
    }
    lines.push(line);
    lines
}

enum Shown {
    AsItIs,
    Escaped(String),
}

/// How a character is shown, and in how many columns.
fn shown_as(character: char, charset: Charset) -> (Shown, usize) {
    if character.is_ascii() && !character.is_ascii_control() {
        return (Shown::AsItIs, 1);
    }
    if charset == Charset::Utf8 && is_safe(character) {
        let mut bytes = [0; 4];
        return (
            Shown::AsItIs,
            shown::width(character.encode_utf8(&mut bytes)),
        );
    }
    let escape: String = character.escape_default().collect();
    let columns = escape.len();
    (Shown::Escaped(escape), columns)
}

/// Whether every terminal shows it alike, as far as that can be known: it is nothing that is acted on or
/// hidden, two tables agree on its width, and it does not change the character before it into another.
fn is_safe(character: char) -> bool {
    /// Skin tones, and what asks for a picture or a letter.
    const fn changes_another(character: char) -> bool {
        matches!(character, '\u{1f3fb}'..='\u{1f3ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
    }
    let mut bytes = [0; 4];
    let text: &str = character.encode_utf8(&mut bytes);
    !shown::is_escaped(character)
        && !changes_another(character)
        && Span::raw(text).width() == shown::width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(text: &str, width: usize) -> String {
        let (fitted, columns) = fitted(text, width, Charset::Utf8);
        assert_eq!(Span::raw(fitted.as_str()).width(), columns, "{fitted}");
        assert!(columns <= width, "{fitted}");
        fitted
    }

    #[test]
    fn what_fits_is_whole_and_what_does_not_has_a_mark() {
        assert_eq!(fit("make -j2", 8), "make -j2");
        assert_eq!(fit("make -j2", 7), "make -…");
        assert_eq!(fit("make", 1), "…");
        assert_eq!(fit("make", 0), "");
        assert_eq!(fit("", 3), "");
        assert_eq!(fitted("make -j2", 7, Charset::Ascii).0, "make -~");
        assert_eq!(wrapped("abcdef", 4, Charset::Utf8), ["abcd", "ef"]);
        assert_eq!(wrapped("日本語", 4, Charset::Utf8), ["日本", "語"]);
        assert_eq!(wrapped("日本", 1, Charset::Utf8), ["日", "本"]);
        assert_eq!(wrapped("two words", 6, Charset::Utf8), ["two ", "words"]);
        assert_eq!(wrapped("more words", 8, Charset::Utf8), ["more ", "words"]);
        assert_eq!(
            wrapped("   日本語日本語", 8, Charset::Utf8),
            ["   日本", "語日本語"]
        );
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_gets_through() {
        for (text, shown) in [
            ("a\x01b", "a\\u{1}b"),
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            ("a\0b\nc", "a\\u{0}b\\nc"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{200b}b", "a\\u{200b}b"),
        ] {
            assert_eq!(fit(text, 80), shown);
        }
    }

    /// Frames shift where the terminal gives a character another width than we do.
    #[test]
    fn wide_and_joined_characters_keep_their_columns() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("cafe\u{301}", 4), "cafe\u{301}");
        assert_eq!(fit("👩‍🔬", 80), "👩\\u{200d}🔬");
        assert_eq!(fit("❤\u{fe0f}", 80), "❤\\u{fe0f}");
        assert_eq!(fit("👍🏽", 80), "👍\\u{1f3fd}");
        assert_eq!(fit("日本", 80), "日本");
        let ascii = fitted("日é", 80, Charset::Ascii);
        assert_eq!(ascii.0, "\\u{65e5}\\u{e9}");
    }

    #[test]
    fn a_long_text_is_read_no_further_than_it_is_shown() {
        let long = "a".repeat(32 << 10);
        assert_eq!(fit(&long, 10), "aaaaaaaaa…");
        let marks = "\u{301}".repeat(1_000);
        let _fitted = fit(&marks, 3);
    }

    #[test]
    fn the_locale_says_what_can_be_shown() {
        let of = |set: &[(&str, &str)]| {
            Charset::of_locale(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("LANG", "C.UTF-8")]), Charset::Utf8);
        assert_eq!(of(&[("LANG", "de_DE.utf8"), ("LC_ALL", "")]), Charset::Utf8);
        assert_eq!(of(&[("LANG", "C.UTF-8"), ("LC_ALL", "C")]), Charset::Ascii);
        assert_eq!(of(&[("LC_CTYPE", "POSIX")]), Charset::Ascii);
        assert_eq!(of(&[]), Charset::Ascii);
    }
}
