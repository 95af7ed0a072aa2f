//! A picture of a screen: what a program shows on a terminal, as a page.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::command::read;

/// Columns and lines of the terminal.
const SIZE: (u16, u16) = (120, 30);

/// The session's name, which nobody else has.
const SESSION: &str = "systrail-pictures";

/// What a command shows on a terminal once `sign` stands there, after keys that were pressed at the sign before
/// it, as a page of its own.
fn page_of(command: &str, (before, keys, sign): (&str, &[&str], &str)) -> Result<String> {
    let (columns, lines) = (SIZE.0.to_string(), SIZE.1.to_string());
    let started = tmux(&[
        "new-session",
        "-d",
        "-s",
        SESSION,
        "-x",
        &columns,
        "-y",
        &lines,
        command,
    ]);
    started.context("no terminal")?;
    let shown = wait_for(before).and_then(|_| {
        tmux(&[&["send-keys", "-t", SESSION], keys].concat())?;
        wait_for(sign)
    });
    // It may have ended by itself.
    drop(tmux(&["kill-session", "-t", SESSION]));
    Ok(page(&shown?))
}

fn wait_for(sign: &str) -> Result<String> {
    const LOOK_COUNT: u32 = 100;
    let mut shown = String::new();
    for _ in 0..LOOK_COUNT {
        std::thread::sleep(Duration::from_millis(100));
        shown = tmux(&["capture-pane", "-e", "-p", "-t", SESSION])?;
        if shown.contains(sign) {
            return Ok(shown);
        }
    }
    anyhow::bail!("{sign:?} was never shown, but:\n{shown}")
}

fn tmux(arguments: &[&str]) -> Result<String> {
    // A server of our own, whatever the user's one is told to do.
    read(
        Command::new("tmux")
            .args(["-L", SESSION, "-f", "/dev/null"])
            .args(arguments),
    )
}

/// Writes such a page to a file.
pub(super) fn write(command: &str, signs: (&str, &[&str], &str), path: &Path) -> Result<()> {
    let page = page_of(command, signs)?;
    ensure!(page.contains("<pre>"), "nothing is shown");
    super::write(path, &page)
}

/// How text stands on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    reverse: bool,
    /// One of the sixteen.
    colour: Option<u8>,
}

/// The sixteen colours on a light page, dark enough to be read.
const COLOURS: [&str; 16] = [
    "#1f1f28", "#b3261e", "#1b6e3c", "#8a5a00", "#2457a8", "#7b3fa0", "#00697a", "#5c5c66",
    "#44444c", "#b3261e", "#1b6e3c", "#8a5a00", "#2457a8", "#7b3fa0", "#00697a", "#1f1f28",
];

impl Style {
    /// What a sequence that sets a style (`CSI … m`) makes of it.
    fn after(mut self, parameters: &str) -> Self {
        for parameter in parameters.split(';') {
            match parameter.parse::<u8>().unwrap_or(0) {
                0 => self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                27 => self.reverse = false,
                code @ 30..=37 => self.colour = Some(code - 30),
                39 => self.colour = None,
                code @ 90..=97 => self.colour = Some(code - 90 + 8),
                _ => {}
            }
        }
        self
    }

    fn css(self) -> String {
        let mut css = Vec::new();
        if self.bold {
            css.push("font-weight:bold".to_owned());
        }
        if self.dim {
            css.push("color:#6a6a75".to_owned());
        }
        if let Some(colour) = self.colour.and_then(|it| COLOURS.get(usize::from(it))) {
            css.push(format!("color:{colour}"));
        }
        if self.reverse {
            css.push("background:#1f1f28;color:#ffffff".to_owned());
        }
        css.join(";")
    }
}

/// A terminal's text as a page.
fn page(shown: &str) -> String {
    let mut body = String::new();
    let mut style = Style::default();
    for (at, piece) in shown.split("\x1b[").enumerate() {
        let text = match piece.split_once('m') {
            Some((parameters, text)) if at > 0 => {
                style = style.after(parameters);
                text
            }
            _ => piece,
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let css = style.css();
        if css.is_empty() || text.is_empty() {
            body.push_str(&text);
        } else {
            body.extend(["<span style=\"", &css, "\">", &text, "</span>"]);
        }
    }
    format!(
        "<!doctype html><meta charset=\"utf-8\"><style>body{{margin:12px;background:#fff;color:#1f1f28}}\
         pre{{font:15px/1.35 \"DejaVu Sans Mono\",monospace;margin:0}}</style><pre>{body}</pre>"
    )
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn colours_and_signs_of_a_terminal_become_those_of_a_page() {
        let page = page("a<b \x1b[1;31mfailed\x1b[0m & \x1b[7mhere\x1b[27m \x1b[2m\x1b[0mend");
        let body = page.split_once("<pre>").unwrap().1;
        let failed = "<span style=\"font-weight:bold;color:#b3261e\">failed</span>";
        let here = "<span style=\"background:#1f1f28;color:#ffffff\">here</span>";
        assert_eq!(body, format!("a&lt;b {failed} &amp; {here} end</pre>"));
    }
}
