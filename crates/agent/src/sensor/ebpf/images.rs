//! Image loads from perf events, where the kernel takes no program for them or does not run it.

use event::Kind;

use super::object::Waiting;
use super::reading_images;
use crate::sensor::perf_buffer::{Records, Rings, RingsSettings};
use crate::sensor::{Batch, Error, Settings};
use crate::sys::{pid_namespace, proc};

/// Whether the kernel was told to run no programs on its functions.
pub(super) fn is_tracing_off() -> bool {
    // A kernel without function tracing does not have the setting.
    proc::kernel_setting("ftrace_enabled").is_ok_and(|value| value == "0")
}

/// The perf events.
pub(super) struct Images {
    pub(super) rings: Rings,
    /// Every record before this time was read.
    pub(super) read_until: u64,
}

impl Images {
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        if !pid_namespace::is_initial() {
            return Err(Error::Unavailable {
                cause:
                    "this kernel takes no program for image loads, and its perf events know the \
                        ids of this pid namespace alone"
                        .to_owned(),
                cure: "run it in the host's pid namespace (--pid=host), or without image loads \
                       (--events process,thread)"
                    .to_owned(),
            });
        }
        let rings = Rings::open(RingsSettings {
            records: Records::Images,
            buffer_size: settings.event_buffer_size as usize,
            lost_kind: Kind::IMAGE_LOAD,
        })?;
        Ok(Self {
            rings,
            read_until: 0,
        })
    }

    /// Begins at that time, in the middle of the stream.
    pub(super) fn begin(&mut self, time: u64) -> Result<(), Error> {
        self.read_until = time;
        self.rings.enable().map_err(reading_images)
    }

    /// Whether the caller can rely on being woken by the next record.
    pub(super) fn arm(&mut self, waiting_for: Waiting) -> bool {
        match waiting_for {
            Waiting::ForMany => {
                self.rings.mute();
                true
            }
            Waiting::ForAny => self.rings.arm(),
        }
    }

    /// Appends what is in the rings, up to a limit. Whether they are empty then.
    pub(super) fn drain(&mut self, now: u64, batch: &mut Batch) -> Result<bool, Error> {
        let drained = self.rings.drain(batch).map_err(reading_images)?;
        self.read_until = drained.incomplete_after.unwrap_or(now);
        Ok(drained.incomplete_after.is_none())
    }
}
