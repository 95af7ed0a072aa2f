//! Characters that terminals and text tools act on instead of showing.
//!
//! Paths and arguments are chosen by whoever starts a process. Wherever text leaves the agent, these
//! characters are escaped, so that neither a terminal nor a tool that splits text into lines can be
//! made to do or show something else.

/// Whether a character must never reach a terminal or a line of the log as it is: the C0 and C1
/// control characters and DEL, the line and paragraph separators (Python and JavaScript end lines
/// there), and the marks, embeddings, overrides and isolates that reorder text on the screen
/// (Unicode's `Bidi_Control`).
pub const fn is_control(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}
