//! Standard error and standard output, as a person or a script sees them.
//!
//! Writing may fail (a closed pipe, a full disk behind a redirection). Nobody could be told, so
//! such failures are let go; a recording must not end because nobody reads its remarks, nor wait for
//! one who has stopped to read them (`messages.rs`).

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use systrail::shown;
use tracing_subscriber::fmt::MakeWriter;

use super::messages::{Messages, Said};

/// Says one line on standard error, after the program's name.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::console::line(format_args!("systrail: {}", format_args!($($text)*)))
    };
}
pub(super) use say;

/// Whether the live line stands on the terminal now. Whoever writes a line takes it away first.
static LIVE_LINE: Mutex<bool> = Mutex::new(false);

/// Back to the first column, and nothing to the right of it.
const ERASE_LINE: &str = "\r\x1b[K";

/// How something is said where there are words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// It is as it should be.
    Remark,
    /// Something is lost or odd.
    Warning,
    /// It does not work.
    Failure,
}

/// Where lines wait for standard error; without it they are written at once.
static MESSAGES: OnceLock<Messages> = OnceLock::new();

/// How long the end of the program waits for whoever reads its last words.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(1);

type Voice = Box<dyn Fn(Tone, &str) + Send + Sync>;

/// Where lines go instead of standard error, which a service does not have.
static VOICE: OnceLock<Voice> = OnceLock::new();

/// Has everything that would go to standard error go through `voice_fn`, for good.
#[cfg_attr(
    not(windows),
    expect(dead_code, reason = "a service of another system has a standard error")
)]
pub(super) fn speak_through(voice_fn: impl Fn(Tone, &str) + Send + Sync + 'static) {
    // Only the first is heard; a process is started as one thing.
    let _first = VOICE.set(Box::new(voice_fn));
}

/// Where lines go instead, while that takes them.
type Diversion = Box<dyn Fn(&str) -> bool + Send + Sync>;
static DIVERSION: OnceLock<Diversion> = OnceLock::new();

/// Has `taken_fn` see every line before standard error does, which does not see those it takes.
#[cfg_attr(
    not(all(feature = "top", target_os = "linux")),
    expect(dead_code, reason = "for who draws on the terminal")
)]
pub(super) fn divert(taken_fn: impl Fn(&str) -> bool + Send + Sync + 'static) {
    // Only the first is asked; a process is started as one thing.
    let _first = DIVERSION.set(Box::new(taken_fn));
}

/// Has nothing that is said wait for whoever reads it, for good. What a command prints on standard
/// output can then come before what it said earlier.
pub(super) fn wait_for_nobody() {
    if VOICE.get().is_some() || MESSAGES.get().is_some() {
        return;
    }
    match Messages::start(write) {
        Ok(messages) => {
            let _only = MESSAGES.set(messages);
        }
        Err(error) => say!("messages may hold up the recording: starting their thread: {error}"),
    }
}

/// Gives what was said last a moment to be read. The last call of a program.
pub(super) fn finish() {
    if let Some(messages) = MESSAGES.get() {
        messages.wait(LAST_WORDS_TIME_MAX);
    }
}

/// Writes one line to standard error.
pub(super) fn line(text: fmt::Arguments<'_>) {
    speak(Tone::Remark, text);
}

/// Says why a command broke off.
pub(super) fn fail(error: &anyhow::Error) {
    // Each error names its causes itself; the chain would say them twice.
    speak(Tone::Failure, format_args!("systrail: {error}"));
}

fn speak(tone: Tone, text: fmt::Arguments<'_>) {
    // A path, or a message of SQLite about a file that somebody else made, can hold anything.
    let text = shown::safe(&text.to_string());
    if let Some(voice_fn) = VOICE.get() {
        return voice_fn(tone, &text);
    }
    if DIVERSION.get().is_some_and(|taken_fn| taken_fn(&text)) {
        return;
    }
    say_in_turn(Said::Line(text));
}

/// Replaces the live line. Call it on a terminal only.
pub(super) fn live_line(text: &str) {
    say_in_turn(Said::Live(text.to_owned()));
}

/// Takes the live line away, if one stands there.
pub(super) fn end_live_line() {
    live_line("");
}

fn say_in_turn(said: Said) {
    match MESSAGES.get() {
        Some(messages) => messages.push(said),
        None => write(&said),
    }
}

fn write(said: &Said) {
    let mut is_live = LIVE_LINE.lock().unwrap_or_else(PoisonError::into_inner);
    let was_live = std::mem::take(&mut *is_live);
    // One write, so that lines of several processes do not mix.
    let text = match said {
        Said::Line(text) if was_live => format!("{ERASE_LINE}{text}\n"),
        Said::Line(text) => format!("{text}\n"),
        Said::Live(text) if text.is_empty() && !was_live => return,
        Said::Live(text) => format!("{ERASE_LINE}{text}"),
    };
    *is_live = matches!(said, Said::Live(text) if !text.is_empty());
    let _nobody_to_tell = io::stderr().write_all(text.as_bytes());
}

/// Writes a result to standard output. Whoever closed the pipe has seen enough.
pub(super) fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes text for a person, which is safe to show, to standard error.
pub(super) fn told(text: &[u8]) {
    end_live_line();
    finish();
    let _nobody_to_tell = io::stderr().write_all(text);
}

/// What writing to standard output came to. Whoever closed the pipe has seen enough.
pub(super) fn printed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| named(&error)),
    }
}

/// An error of standard output that says whose it is.
pub(super) fn named(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output: {error}"))
}

/// Whether colour is welcome on standard output: on a terminal, and never with `NO_COLOR`.
pub(super) fn colour_on_standard_output() -> bool {
    colour_is_allowed() && io::stdout().is_terminal()
}

/// How wide lines on standard output may be; as long as they are where it is no terminal.
pub(super) fn width_of_standard_output() -> Option<u16> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0)
}

/// The same of standard error.
pub(super) fn colour_on_standard_error() -> bool {
    colour_is_allowed() && io::stderr().is_terminal()
}

/// How wide lines on standard error may be.
pub(super) fn width_of_standard_error() -> Option<u16> {
    terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| width.0)
}

fn colour_is_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Has the library's remarks written to standard error, warnings and worse.
pub(super) fn log_to_standard_error() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        // What is said is looked at for what a terminal acts on, and a colour is such a thing.
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(StandardError)
        .init();
}

/// Standard error for `tracing`, which hands over a whole line in one write.
#[derive(Clone, Copy, Debug)]
struct StandardError;

impl io::Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        speak(Tone::Warning, format_args!("systrail: {}", text.trim()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for StandardError {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}
