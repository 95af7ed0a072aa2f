//! The controlling terminal of a process.

use event::Place;

use super::{NOWHERE, Parameter, Pointer, TASK_SIGNAL, Task, field, probe};

parameters! {
    /// [`NOWHERE`] where the kernel has no terminals.
    SIGNAL_TTY = "signal_struct.tty";
    TTY_DRIVER = "tty_struct.driver";
    TTY_DRIVER_MAJOR = "tty_driver.major";
    TTY_DRIVER_MINOR_START = "tty_driver.minor_start";
    TTY_INDEX = "tty_struct.index";
}

impl Task {
    /// The device of its controlling terminal; 0 where it has none.
    #[inline(always)]
    pub(crate) fn terminal(self) -> u32 {
        let signal: Pointer = field(self.0, TASK_SIGNAL);
        if signal.is_null() || SIGNAL_TTY.value() == NOWHERE {
            return 0;
        }
        let tty: u64 = probe(signal, SIGNAL_TTY);
        if tty == 0 {
            return 0;
        }
        let driver: Pointer = probe(tty as Pointer, TTY_DRIVER);
        let major: u32 = probe(driver, TTY_DRIVER_MAJOR);
        let minor: u32 = probe(driver, TTY_DRIVER_MINOR_START);
        let index: u32 = probe(tty as Pointer, TTY_INDEX);
        // A terminal that hangs up is taken from its processes before it goes.
        if tty != probe::<u64>(signal, SIGNAL_TTY) {
            return 0;
        }
        Place::device_of(major, minor.wrapping_add(index))
    }
}
