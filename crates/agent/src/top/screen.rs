//! The terminal: taken over when the screen is opened, given back as it was however that ends: when it is
//! dropped, at Ctrl-Z, and when any thread panics.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError, TryLockError};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::{Buffer, Cell};
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use ratatui_core::terminal::Terminal;

/// The other screen, without a cursor, and its lines are not broken by the terminal.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What the terminal was set to before.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether the terminal is ours now. Whoever makes it false gives it back, so that happens once.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

static HOOK: Once = Once::new();

/// The terminal while it is ours.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<Ansi>,
}

impl Screen {
    /// Takes the terminal over. Standard input and output must be one.
    pub fn open() -> io::Result<Self> {
        give_back_at_panic();
        let terminal = Terminal::new(Ansi::default())?;
        enter()?;
        Ok(Self { terminal })
    }

    /// Draws what has changed.
    pub fn draw(&mut self, draw_fn: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.terminal.draw(|frame| draw_fn(frame.buffer_mut()))?;
        Ok(())
    }

    /// Takes the terminal over anew, whatever was done to it, and has everything drawn.
    pub fn reopen(&mut self) -> io::Result<()> {
        enter()?;
        self.terminal.clear()
    }

    /// Gives the terminal back and stops until somebody continues us.
    pub fn stop(&mut self) -> io::Result<()> {
        leave();
        // All that the terminal's own Ctrl-Z would stop. SIGTSTP would be dropped where nobody is left
        // to continue us.
        kill(Pid::from_raw(0), Signal::SIGSTOP)?;
        self.reopen()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    let input = io::stdin();
    let mut saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match saved.take() {
        Some(before) => before,
        None => tcgetattr(&input)?,
    };
    let mut raw = before.clone();
    *saved = Some(before);
    cfmakeraw(&mut raw);
    IS_OPEN.store(true, Ordering::SeqCst);
    tcsetattr(&input, SetArg::TCSANOW, &raw)?;
    write(ENTER)
}

/// Gives the terminal back, once.
fn leave() {
    if !IS_OPEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Nobody could be told that a terminal cannot be given back: it is gone.
    let _gone = write(LEAVE);
    // Who panics while the lock is held must not wait for it.
    let mut saved = match SAVED.try_lock() {
        Ok(saved) => saved,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    if let Some(before) = saved.take() {
        // Without waiting for what was written: a terminal may have been paused.
        let _gone = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
}

/// Has a panic of any thread give the terminal back before it says what it has to say.
fn give_back_at_panic() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            before(info);
        }));
    });
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Whether there is a terminal to show anything on, and to take keys from.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// What is drawn, as the sequences that every terminal since the VT100 knows; a frame is one write.
#[derive(Debug, Default)]
pub(super) struct Ansi {
    frame: Vec<u8>,
}

impl Ansi {
    fn push(&mut self, text: &str) {
        self.frame.extend_from_slice(text.as_bytes());
    }

    fn go_to(&mut self, x: u16, y: u16) {
        let place = format!("\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1);
        self.push(&place);
    }
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next = None;
        let mut look = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.go_to(x, y);
            }
            let wanted = (cell.fg, cell.modifier);
            if look != Some(wanted) {
                self.push(&sequence(cell.fg, cell.modifier));
                look = Some(wanted);
            }
            self.push(cell.symbol());
            // What is wider than a column says nothing of where the cursor is then.
            next = (cell.symbol().len() == 1).then(|| (x.saturating_add(1), y));
        }
        if look.is_some() {
            self.push("\x1b[0m");
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.push("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.push("\x1b[?25h");
        Ok(())
    }

    /// Not asked for: the answer would come among the keys.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.go_to(x, y);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.push(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = terminal_size::terminal_size_of(io::stdout());
        // A terminal that does not know its size is taken for the usual one.
        let size = size.filter(|(width, height)| width.0 > 0 && height.0 > 0);
        let (width, height) = size.map_or((80, 24), |(width, height)| (width.0, height.0));
        Ok(Size::new(width, height))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size()?,
            pixels: Size::ZERO,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.frame);
        if frame.is_empty() {
            return Ok(());
        }
        write(&frame)
    }
}

/// Sets colour and attributes anew.
fn sequence(colour: Color, modifier: Modifier) -> String {
    let mut sequence = "\x1b[0".to_owned();
    for (wanted, code) in [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::REVERSED, ";7"),
    ] {
        if modifier.contains(wanted) {
            sequence.push_str(code);
        }
    }
    sequence.push_str(match colour {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        // No other is used.
        _ => "",
    });
    sequence.push('m');
    sequence
}
