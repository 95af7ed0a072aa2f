//! A long result goes through the reader's pager, where there is one and somebody sits there.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::process::{Child, Command, Stdio};

use systrail::query::{Format, Output};

use super::console;

/// The pager where none is named, and the shell that starts one.
const DEFAULT: &str = if cfg!(windows) { "more" } else { "less" };
const SHELL: (&str, &str) = if cfg!(windows) {
    ("cmd", "/C")
} else {
    ("sh", "-c")
};

/// Where results go: through a pager, or straight to standard output.
#[derive(Debug)]
pub(super) enum Out {
    /// Straight.
    Plain(io::BufWriter<io::Stdout>),
    /// To the pager; dropping it waits until the reader has seen enough.
    Paged(Child),
}

impl Out {
    /// Standard output, through `$PAGER` (else `less`) where it is a terminal and that is wanted.
    /// `PAGER=cat` or an empty one is none.
    pub(super) fn open(is_wanted: bool) -> Self {
        let plain = || Self::Plain(io::BufWriter::new(io::stdout()));
        if !is_wanted || !io::stdout().is_terminal() {
            return plain();
        }
        let pager = env::var_os("PAGER").unwrap_or_else(|| OsString::from(DEFAULT));
        if pager.is_empty() || pager == "cat" {
            return plain();
        }
        // The shell takes apart a pager with arguments, as every program does that has one.
        let mut command = Command::new(SHELL.0);
        command.arg(SHELL.1).arg(pager).stdin(Stdio::piped());
        if env::var_os("LESS").is_none() {
            // Leave when it fits one screen, keep colours, chop long lines, keep the screen.
            command.env("LESS", "FRSX");
        }
        command
            .spawn()
            .map_or_else(|_no_pager| plain(), Self::Paged)
    }

    /// Rows of an answer on their way there, as wide as a terminal and in its colours where it is one.
    pub(super) fn rows(&mut self, format: Format) -> Output<'_> {
        let width = if self.is_paged() {
            None
        } else {
            console::width_of_standard_output()
        };
        let colour = console::colour_on_standard_output();
        Output::new(self, format, io::stdout().is_terminal()).styled(colour, width)
    }

    /// Whether lines are cut where the terminal ends: a pager shows their rest.
    pub(super) const fn is_paged(&self) -> bool {
        matches!(self, Self::Paged(_))
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Paged(child) => match &mut child.stdin {
                Some(stdin) => stdin.write(bytes),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            // A pipe holds nothing back.
            Self::Paged(_) => Ok(()),
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if let Self::Paged(child) = self {
            drop(child.stdin.take());
            // It ends when its reader says so; how is its own affair.
            let _ended = child.wait();
        }
    }
}
