//! SysTrail's Windows sensor: what the kernel's notify routines tell goes as records into a ring,
//! and from there, in batches, into the reads that the agent keeps pending.
//!
//! This is the driver's whole logic, in safe Rust; `nt` lands the kernel's calls here. It decodes
//! nothing but control requests, formats nothing, waits for nobody, and allocates at its start only.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod account;
mod control;
mod delivery;
mod image;
mod process;
mod queue;
mod read;
mod sensor;
mod settings;
mod start_failure;
mod text;
mod thread;
mod unconfirmed;

use event::control::{DEVICE_NAME, LINK_NAME, StartStep};
use nt::Status;
use nt::device::{Device, SymbolicLink};
use nt::driver::{DriverObject, RegistryPath, StartError};
use nt::notify::{ImageRegistration, ProcessRegistration, ThreadRegistration};
use nt::pool::Region;
use nt::timer::Attached;
use sensor::Sensor;
use settings::Settings;

const DEVICE: [u16; DEVICE_NAME.len() + 1] = nt::string::utf_16(DEVICE_NAME);
static LINK: [u16; LINK_NAME.len() + 1] = nt::string::utf_16(LINK_NAME);

/// Names the step that failed.
fn at(step: StartStep) -> impl FnOnce(Status) -> StartError {
    move |status| StartError {
        step: step.0,
        status,
    }
}

/// The driver while it is loaded. The fields go from the first to the last, the reverse of the
/// start: requests stop, then events, then what serves both.
#[derive(Debug)]
pub struct Driver {
    _link: SymbolicLink,
    _device: Device,
    _images: ImageRegistration,
    _threads: ThreadRegistration,
    _processes: ProcessRegistration,
    _flush: Attached,
    _start: unconfirmed::Start,
}

impl nt::driver::Driver for Driver {
    fn start(
        object: &DriverObject<'_>,
        region: &Region,
        registry_path: RegistryPath<'_>,
    ) -> Result<Self, StartError> {
        start_failure::forget(registry_path);
        let start = unconfirmed::Start::count(registry_path).map_err(at(StartStep::UNCONFIRMED))?;
        let settings = Settings::read(registry_path);
        let sensor = Sensor::place(region, settings).map_err(at(StartStep::QUEUE))?;
        let flush = sensor.attach_flush();
        let processes =
            ProcessRegistration::register(sensor).map_err(at(StartStep::PROCESS_ROUTINE))?;
        let threads =
            ThreadRegistration::register(sensor).map_err(at(StartStep::THREAD_ROUTINE))?;
        let images = ImageRegistration::register(sensor).map_err(at(StartStep::IMAGE_ROUTINE))?;
        let device = Device::create(object, &DEVICE, sensor).map_err(at(StartStep::DEVICE))?;
        let link = SymbolicLink::create(&LINK, &DEVICE).map_err(at(StartStep::SYMBOLIC_LINK))?;
        Ok(Self {
            _link: link,
            _device: device,
            _images: images,
            _threads: threads,
            _processes: processes,
            _flush: flush,
            _start: start,
        })
    }
    fn start_failed(registry_path: RegistryPath<'_>, error: StartError) {
        start_failure::tell(registry_path, error);
    }
}
