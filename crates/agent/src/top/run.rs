//! The loop: keys, signals and what the trail tells come in, and the screen is drawn when something has
//! changed, or a second has passed.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use super::app::{App, Style};
use super::feed::{self, Ask, At, Source, Told};
use super::keys::{Key, Keys};
use super::screen::Screen;
use crate::moment;
use crate::sys::thread;
use crate::trail::Time;

/// Keys that wait; who types on is waited for.
const INPUTS_MAX: usize = 64;

/// Questions that wait for the thread that reads.
const ASKS_MAX: usize = 64;

/// Answers that wait for the screen: pages of events.
const TOLD_MAX: usize = 4;

/// What follows Esc within this time is a part of it.
const SEQUENCE_MS: u16 = 50;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The person, or somebody for them, has seen enough.
    Asked,
    /// The terminal is gone.
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Key(Key),
    Signal(i32),
    Closed,
}

/// Shows a trail on the terminal until that is enough. `said` are remarks of others meanwhile, which the
/// screen would hide.
pub fn run(source: Source, at: At, style: Style, said: &Receiver<String>) -> io::Result<Ending> {
    let (ask, asked) = bounded(ASKS_MAX);
    let (tell, told) = bounded(TOLD_MAX);
    let (input, inputs) = bounded(INPUTS_MAX);
    listen(&input)?;
    feed::start(source, asked, tell)?;
    let mut run = Run {
        app: App::new(at, style, moment::now()),
        screen: Screen::open()?,
        ask,
        unasked: Vec::new(),
    };
    thread::named("keys").spawn(move || read_keys(&input))?;
    let ending = run.until_over(&inputs, &told, said);
    // Who closes the terminal makes every write fail; that is no failure of ours.
    match ending {
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(Ending::Closed),
        ending => ending,
    }
}

struct Run {
    app: App,
    screen: Screen,
    ask: Sender<Ask>,
    /// Questions there was no room for yet.
    unasked: Vec<Ask>,
}

impl Run {
    fn until_over(
        &mut self,
        inputs: &Receiver<Input>,
        told: &Receiver<Told>,
        said: &Receiver<String>,
    ) -> io::Result<Ending> {
        loop {
            let now = moment::now();
            self.screen.draw(|buffer| self.app.draw(buffer, now))?;
            self.send_asks();
            select! {
                recv(inputs) -> input => {
                    if let Ok(input) = input
                        && let Some(ending) = self.input(input)?
                    {
                        return Ok(ending);
                    }
                }
                recv(told) -> told => {
                    if let Ok(told) = told {
                        self.app.told(told);
                    }
                }
                default(until_next_second(now)) => {}
            }
            // What is there already needs no picture of its own.
            for input in inputs.try_iter().take(INPUTS_MAX) {
                if let Some(ending) = self.input(input)? {
                    return Ok(ending);
                }
            }
            told.try_iter()
                .take(TOLD_MAX)
                .for_each(|told| self.app.told(told));
            said.try_iter().for_each(|said| self.app.notice(said));
            if self.app.is_over() {
                return Ok(Ending::Asked);
            }
        }
    }

    fn input(&mut self, input: Input) -> io::Result<Option<Ending>> {
        match input {
            Input::Key(Key::Ctrl('z')) | Input::Signal(SIGTSTP) => self.screen.stop()?,
            Input::Key(Key::Ctrl('l')) | Input::Signal(SIGCONT) => self.screen.reopen()?,
            Input::Key(key) => self.app.key(key, moment::now()),
            Input::Signal(SIGWINCH) => {}
            Input::Signal(SIGHUP) | Input::Closed => return Ok(Some(Ending::Closed)),
            Input::Signal(_) => return Ok(Some(Ending::Asked)),
        }
        Ok(None)
    }

    /// Asks without waiting; of what waits the last of each sort is enough.
    fn send_asks(&mut self) {
        self.unasked.extend(self.app.take_asks());
        while let Some(first) = self.unasked.first() {
            if self.ask.try_send(first.clone()).is_err() {
                break;
            }
            self.unasked.remove(0);
        }
        let overfull = self.unasked.len().saturating_sub(ASKS_MAX);
        self.unasked.drain(..overfull);
    }
}

/// The clock on the screen changes then.
fn until_next_second(now: Time) -> Duration {
    const SECOND_NS: u64 = 1_000_000_000;
    let past = now.0.unsigned_abs() % SECOND_NS;
    Duration::from_nanos(SECOND_NS - past)
}

/// Has signals come in turn with the keys.
fn listen(input: &Sender<Input>) -> io::Result<()> {
    let wanted = [SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH];
    let mut signals = Signals::new(wanted)?;
    let input = input.clone();
    thread::named("signals")
        .spawn(move || {
            for signal in signals.forever() {
                if input.send(Input::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map(drop)
}

/// Sends keys until the terminal is gone or nobody wants them.
fn read_keys(input: &Sender<Input>) {
    let mut keys = Keys::default();
    loop {
        let timeout = if keys.is_waiting() {
            PollTimeout::from(SEQUENCE_MS)
        } else {
            PollTimeout::NONE
        };
        let read = match wait(timeout) {
            Ok(false) => keys.finish().into_iter().collect(),
            Ok(true) => {
                let mut bytes = [0; 1_024];
                match io::stdin().lock().read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => keys.read(bytes.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => Vec::new(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
                    Err(_gone) => break,
                }
            }
            Err(_gone) => break,
        };
        for key in read {
            if input.send(Input::Key(key)).is_err() {
                return;
            }
        }
    }
    let _nobody = input.send(Input::Closed);
}

/// Waits for something to read, or the end of it; `false` when the time is over.
fn wait(timeout: PollTimeout) -> nix::Result<bool> {
    let stdin = io::stdin();
    let mut files = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut files, timeout) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(true),
        Err(error) => Err(error),
    }
}
