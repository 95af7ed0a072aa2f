//! The Windows driver as its reader knows it: by a trait, so that the sensor is built and tested on
//! every system. `sys/windows/device.rs` is the device.

pub mod counted;

use std::io;
use std::time::Duration;

use event::control::Welcome;

pub use counted::Counted;

/// What a wait for the device brought.
#[derive(Debug)]
pub enum Next<'a> {
    /// A read was completed with these bytes.
    Batch(&'a [u8]),
    /// A read failed, or waiting for one did.
    Failed(io::Error),
    /// The waker was woken.
    Woken,
    /// Nothing came in time.
    TimedOut,
}

/// The driver's device, open to read the stream.
pub trait Device: Send {
    /// The version handshake.
    fn handshake(&mut self) -> io::Result<Welcome>;

    /// The counters.
    fn counters(&mut self) -> io::Result<Counted>;

    /// Has the driver complete reads with what it has queued now.
    fn flush(&mut self) -> io::Result<()>;

    /// Has every buffer that is free wait in the driver.
    fn pend(&mut self) -> io::Result<()>;

    /// Waits for a read to be completed; without a timeout until the waker is woken.
    fn next(&mut self, timeout: Option<Duration>) -> Next<'_>;

    /// Takes back every read that waits; each still comes out of [`next`](Device::next).
    fn cancel(&mut self) -> io::Result<()>;

    /// Says, where the next start of the driver finds it, that this one went well.
    fn confirm(&mut self) -> io::Result<()>;

    /// How many reads wait in the driver.
    fn pended(&self) -> usize;
}
